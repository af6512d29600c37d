"""What is timed: the deployed network, and the same batch every time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nas.latency import LatencyProtocol
from nas.latency.subject import as_subject
from nas.latency.torch_side import fold_any, sample_input

SMALL = LatencyProtocol(batch=2, input=(32, 16))


class Branching(nn.Module):
    """A network whose way depends on its input: it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x)) if x.sum() > 0 else x


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("fold", [True, False])
def test_normalisation_is_folded_as_the_protocol_says(fold: bool) -> None:
    protocol = LatencyProtocol(batch=2, input=(32, 16), fold_batchnorm=fold)
    network = as_subject("resnet18(width=0.125)+hac@4[loss=circle]").make(protocol)
    assert not network.training
    assert (norms(network) == 0) is fold


def test_a_network_of_ones_own_is_folded_where_it_can_be() -> None:
    straight = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    straight[1].running_mean.fill_(0.3)  # type: ignore[union-attr, operator]
    folded = fold_any(straight)
    assert (norms(folded), norms(straight)) == (0, 1)
    images = sample_input(SMALL)
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), straight(images))
    branching = Branching().eval()
    assert fold_any(branching) is branching


def test_the_head_is_the_protocols() -> None:
    fc = LatencyProtocol(batch=2, input=(64, 32), head={"name": "fc", "settings": {"features": 24}})  # type: ignore[arg-type]
    plain = LatencyProtocol(batch=2, input=(64, 32))
    found = [as_subject("resnet18(width=0.125)").make(one).embedding_dim for one in (fc, plain)]
    assert found == [24, 64]


def test_a_subject_is_named_after_its_network() -> None:
    assert as_subject("resnet50+cnl@14,8[loss=circle]").name == "resnet50+cnl@8,14"
    assert as_subject(Branching).name == "Branching"


def test_the_batch_is_always_the_same() -> None:
    torch.manual_seed(1)
    first = sample_input(SMALL)
    torch.manual_seed(2)
    assert torch.equal(first, sample_input(SMALL))
    assert first.shape == (2, 3, 32, 16)
    assert sample_input(LatencyProtocol(precision="bf16", batch=1, input=(8, 8))).dtype == torch.bfloat16
    assert sample_input(LatencyProtocol(channels_last=True, batch=1)).is_contiguous(memory_format=torch.channels_last)


def test_one_trunk_with_two_heads() -> None:
    """The first head's embedding is the network's own; the second head is another one."""
    own = as_subject("resnet18(width=0.125)+se@3").make(SMALL)
    both = as_subject("resnet18(width=0.125)+se@3").make(replace(SMALL, heads=2))
    images = sample_input(SMALL)
    with torch.inference_mode():
        one, two = own(images), both(images)
    assert two.shape == (2, 2 * one.shape[1])
    torch.testing.assert_close(two[:, : one.shape[1]], one)
    assert not torch.allclose(two[:, one.shape[1] :], one)
    assert LatencyProtocol(heads=2).id != LatencyProtocol().id
    assert "one trunk with 2 heads" in LatencyProtocol(heads=2).sentence()
