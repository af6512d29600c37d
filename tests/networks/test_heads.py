"""Heads: the parts of PCB against torch's adaptive pooling, sizes, export, and what a head that does not fit says."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from nas.errors import SpaceError
from nas.networks import ReidOutputs, build_network
from nas.networks.export import export_network
from nas.networks.folding import fold_batchnorm
from nas.networks.head import HEADS, POOLINGS, PartPool, make_head
from nas.networks.shapes import FeatureShape
from nas.training.settings import HEAD_SETTINGS

SMALL = "resnet18(width=0.25)"


def small(head: str, classes: int | None = 5, **settings: Any) -> Any:
    return build_network(SMALL, num_classes=classes, input_size=(64, 32), head=head, head_settings=settings, seed=0)


def test_the_settings_that_recipes_know_are_the_ones_that_heads_take() -> None:
    found = {name: tuple(inspect.signature(make).parameters)[2:] for name, make in HEADS.items()}
    assert found == dict(HEAD_SETTINGS)


@pytest.mark.parametrize(("height", "parts"), [(24, 6), (16, 6), (4, 4), (7, 3)])
def test_parts_are_those_of_adaptive_pooling(height: int, parts: int) -> None:
    x = torch.randn(2, 5, height, 3)
    expected = functional.adaptive_avg_pool2d(x, (parts, 1))[..., 0].mT.flatten(1)
    torch.testing.assert_close(PartPool(POOLINGS["gap"](), parts)(x), expected)


@pytest.mark.parametrize(
    ("head", "settings", "pooled", "embedding", "logits"),
    [
        ("bnneck", {}, 128, 128, (4, 5)),
        ("plain", {}, 128, 128, (4, 5)),
        ("fc", {"features": 32}, 128, 32, (4, 5)),
        ("pcb", {"parts": 3, "features": 8}, 384, 24, (4, 3, 5)),
    ],
)
def test_sizes_of_what_a_head_returns(
    head: str, settings: dict[str, int], pooled: int, embedding: int, logits: tuple[int, ...]
) -> None:
    network = small(head, **settings)
    images = torch.randn(4, 3, 64, 32)
    found = network.train()(images)
    assert isinstance(found, ReidOutputs)
    assert (found.pooled.shape, found.embedding.shape) == ((4, pooled), (4, embedding))
    assert found.logits is not None
    assert found.logits.shape == logits
    assert (network.pooled_dim, network.embedding_dim, network.num_classes) == (pooled, embedding, 5)
    assert network.eval()(images).shape == (4, embedding)


def test_a_part_is_classified_from_its_own_stripe() -> None:
    network = small("pcb", parts=2, features=8).eval()
    maps = torch.randn(2, 128, 4, 2, requires_grad=True)
    logits = network.classifier(network.bnneck(network.pool(maps)))
    logits[:, 1].sum().backward()
    assert maps.grad[:, :, :2].abs().max() == 0
    assert maps.grad[:, :, 2:].abs().min() > 0


def test_fc_is_the_layer_of_torchreid() -> None:
    """Its published size, of OSNet: 512 x 512 weights, a bias, scale and shift of the normalisation."""
    head = make_head("fc", FeatureShape(512, 16, 8))
    assert sum(p.numel() for p in head.neck.parameters()) == 512 * 512 + 3 * 512


@pytest.mark.parametrize("head", ["plain", "fc", "pcb"])
def test_folded_and_exported_networks_answer_alike(head: str, tmp_path: Path) -> None:
    network = small(head, None, **({"parts": 3, "features": 8} if head == "pcb" else {}))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(fold_batchnorm(network)(images), network.eval()(images), rtol=1e-4, atol=1e-5)
    if head == "pcb":
        assert export_network(network, tmp_path / "net.onnx").parity.min_cosine > 0.9999


def test_a_head_that_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(SpaceError, match=r"unknown head 'pbc'.*did you mean 'pcb'"):
        small("pbc")
    with pytest.raises(SpaceError, match="cannot cut a map of 4 rows into 6 parts"):
        small("pcb")
    with pytest.raises(SpaceError, match=r"head fc cannot be built: .*unexpected keyword argument 'size'"):
        small("fc", size=3)
