"""Maps of where a network looks: gates are read exactly, Grad-CAM is the published formula, nothing is left changed."""

from __future__ import annotations

import pytest
import torch

from nas.errors import SpaceError
from nas.networks import block_maps, build_network, grad_cam

SIZE = (64, 32)


def images(number: int = 2) -> torch.Tensor:
    return torch.rand(number, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def test_the_gate_of_a_channel_wise_block_is_its_map() -> None:
    network = build_network("resnet18(width=0.125)+se@4", input_size=SIZE, seed=0).eval()
    (found,) = block_maps(network, images())
    seen: list[torch.Tensor] = []
    block = network.blocks["4"]
    handle = block.register_forward_hook(lambda _m, inputs, output: seen.extend([inputs[0], output]))
    with torch.inference_mode():
        network(images())
    handle.remove()
    before, after = seen
    gate = after.sum((2, 3)) / before.sum((2, 3))  # the same factor at every position
    alive = before.square().sum((2, 3)) > 1e-9
    assert found.channels[alive].numpy() == pytest.approx(gate[alive].numpy(), abs=1e-4)
    assert found.positions.shape == (2, *before.shape[2:])
    assert (found.site, found.block) == (4, "se")


def test_an_identity_block_has_gain_one() -> None:
    network = build_network("resnet18(width=0.125)+agw@4,8", input_size=SIZE, seed=0)
    for found in block_maps(network, images()):
        assert torch.allclose(found.positions, torch.ones_like(found.positions), atol=1e-5)


def test_grad_cam_is_the_published_formula() -> None:
    network = build_network("resnet18(width=0.125)", num_classes=5, input_size=SIZE, seed=0).eval()
    found = grad_cam(network, images())
    with torch.enable_grad():
        last = network.feature_map(images().requires_grad_())
        last.retain_grad()
        network.classifier(network.bnneck(network.pool(last))).amax(1).sum().backward()  # type: ignore[misc]
    weighted = (last.grad.mean((2, 3), keepdim=True) * last).sum(1, keepdim=True).clamp_min(0)
    small = torch.nn.functional.interpolate(weighted, SIZE, mode="bilinear", align_corners=False)[:, 0]
    top = small.amax((1, 2), keepdim=True).clamp_min(1e-12)
    assert torch.allclose(found, (small / top).detach(), atol=1e-5)


def test_any_site_can_be_looked_at_and_the_network_is_left_as_it_was() -> None:
    network = build_network("resnet18(width=0.125)+hac@3", input_size=SIZE, seed=0).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for site in (1, 3, 9):
        found = grad_cam(network, images(), site)
        assert found.shape == (2, *SIZE)
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with pytest.raises(SpaceError, match="no site 12"):
        grad_cam(network, images(), 12)
