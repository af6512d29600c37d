"""What candidates cost: the published figures, and counts against a network that really runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import SpaceError
from nas.networks import build_network, complexity
from nas.networks.counting import count_params
from nas.spaces.blocks import BLOCKS


@pytest.mark.parametrize(
    ("candidate", "params", "gmacs"),
    [
        ("resnet50", 23_508_032, 4.053),
        ("resnet50(last_stride=2)", 23_508_032, 2.669),
        ("resnet101", 42_500_160, 6.478),
    ],
)
def test_published_bodies_at_256x128(candidate: str, params: int, gmacs: float) -> None:
    found = complexity(candidate)
    assert found.body_params == params
    assert round(found.body_macs / 1e9, 3) == gmacs
    assert found.params == params + 2 * 2048
    assert found.macs == found.body_macs


def test_blocks_add_their_formulas() -> None:
    base, found = complexity("resnet50"), complexity("resnet50+cnl@8+agw@14")
    assert found.params - base.params == 1_051_136 + 2_101_760
    assert found.body_macs == base.body_macs
    # C-NL: 4C² + 2D² with C = D = 512; AGW: 4CC'N + 2C'N·N with C' = 512, N = 128
    assert found.macs - base.macs == (6 * 512**2) + (4 * 1024 * 512 * 128 + 2 * 512 * 128 * 128)


def test_forms_differ_where_one_computes_less() -> None:
    fast, plain = (complexity("resnet50+cnl(norm=dot)@17", form=form) for form in ("fast", "plain"))  # type: ignore[arg-type]
    assert plain.macs - fast.macs == 2 * 2048**2 - 2048
    assert fast.params == plain.params


@pytest.mark.parametrize("backbone", ["resnet18(width=0.25)", "mobilenet_v3_small", "shufflenet_v2_x1_0"])
def test_equal_to_what_a_real_forward_counts(backbone: str) -> None:
    sites = range(2, 2 + len(BLOCKS))
    placed = [f"+{name}@{site}" for name, site in zip(BLOCKS, sites, strict=True)]
    candidate = backbone + "".join(placed[:7])
    network = build_network(candidate, input_size=(64, 32), form="plain").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 64, 32))
    found = complexity(candidate, (64, 32), form="plain")
    assert found.macs == counter.get_total_flops() // 2
    assert found.params == count_params(network)


@pytest.mark.parametrize(
    "head",
    [
        {"head": "plain", "pooling": "gem"},
        {"head": "fc", "head_settings": {"features": 24}},
        {"head": "pcb", "head_settings": {"parts": 2, "features": 8}},
    ],
)
def test_the_head_counts_as_it_is_deployed(head: dict[str, Any]) -> None:
    network = build_network("resnet18(width=0.25)+se@3", input_size=(64, 32), **head).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 64, 32))
    found = complexity("resnet18(width=0.25)+se@3", (64, 32), **head)
    assert found.macs == counter.get_total_flops() // 2
    assert found.params == count_params(network)


def test_activations_of_a_stem() -> None:
    # resnet18 at width 1/16 and 32x32: 4 channels at 16x16 after conv1, then 4 convolutions of 4x8x8, ...
    found = complexity("resnet18(width=0.0625)", (32, 32))
    stem, layer1 = 4 * 16 * 16, 4 * (4 * 8 * 8)
    layer2, layer3 = 5 * (8 * 4 * 4), 5 * (16 * 2 * 2)
    layer4 = 5 * (32 * 2 * 2)
    assert found.activation_elements == stem + layer1 + layer2 + layer3 + layer4


def test_raga_depends_on_the_input_size() -> None:
    assert complexity("resnet50+raga@5", (128, 64)).params < complexity("resnet50+raga@5").params


def test_plain_data_and_errors() -> None:
    assert complexity("resnet18").to_dict().keys() == {
        "params",
        "macs",
        "activation_elements",
        "body_params",
        "body_macs",
    }
    with pytest.raises(SpaceError, match="no site 40"):
        complexity("resnet50+se@40")
