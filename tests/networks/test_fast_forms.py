"""Fast forms return what plain forms return, forward and backward, and need the memory they promise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from block_builders import SITE_SHAPES, case_id, cases, features, make, randomised
from torch import Tensor

from nas.networks.blocks import FeatureShape, get_block
from nas.networks.blocks.cnl import relate

FAST = [(name, settings) for name, settings in cases() if "fast" in get_block(name).forms]
AT_SITES = [
    ("agw", {}),
    ("agw", {"inner": "one"}),
    ("raga", {"mode": "s"}),
    ("raga", {"mode": "c"}),
    ("abd", {"mode": "pam"}),
    ("abd", {"mode": "cam"}),
    ("cnl", {}),
    ("cnl", {"norm": "dot"}),
    ("cnl", {"qk_norm": True, "fuse": "add"}),
]


def both_forms(name: str, shape: FeatureShape, dtype: torch.dtype, training: bool, **settings: Any) -> list[Any]:
    """(output, gradient of the input, gradients of the parameters) of the fast and the plain form."""
    results = []
    for form in ("fast", "plain"):
        block = randomised(make(name, shape, form=form, **settings)).to(dtype).train(training)  # type: ignore[arg-type]
        x = features(shape, 2, dtype=dtype).requires_grad_()
        out = block(x)
        weights = features(shape, 2, seed=5, dtype=dtype)
        (out * weights).mean().backward()
        results.append((out.detach(), x.grad, [p.grad for p in block.parameters()]))
    return results


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max().clamp(min=1e-30)).item()


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("name", "settings"), FAST, ids=case_id)
def test_equal_in_double_precision(name: str, settings: dict[str, Any], training: bool) -> None:
    (out, dx, dp), (out2, dx2, dp2) = both_forms(name, FeatureShape(24, 6, 5), torch.float64, training, **settings)
    assert relative(out, out2) < 1e-10
    assert relative(dx, dx2) < 1e-10
    whole = torch.cat([p.flatten() for p in dp2])
    assert (torch.cat([p.flatten() for p in dp]) - whole).abs().max() < 1e-10 * whole.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("shape", SITE_SHAPES, ids=str)
@pytest.mark.parametrize(("name", "settings"), AT_SITES, ids=case_id)
def test_equal_at_the_sites(name: str, settings: dict[str, Any], shape: FeatureShape, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = features(shape, 2, dtype=dtype)
    plain = spread_out(make(name, shape, form="plain", **settings)).to(dtype).eval()
    fast = make(name, shape, form="fast", **settings).to(dtype).eval()
    fast.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert relative(fast(x), plain(x)) < (1e-10 if dtype is torch.float64 else 1e-4)


def spread_out(block: Any) -> Any:
    """Zero-initialised scales get a value, so that the attention reaches the output."""
    for name, parameter in block.named_parameters():
        if name.endswith(("norm.weight", "gamma")):
            torch.nn.init.constant_(parameter, 0.7)
    return block


def test_state_dictionaries_of_both_forms_are_the_same() -> None:
    for name, settings in FAST:
        fast, plain = make(name, form="fast", **settings), make(name, form="plain", **settings)
        assert list(fast.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("norm", ["softmax", "dot"])
def test_extreme_affinities_agree(norm: str) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, 40, generator=generator, dtype=torch.float64) for _ in range(3))
    fast, plain = (relate(q * 300, k * 300, v, norm, form) for form in ("fast", "plain"))  # type: ignore[arg-type]
    assert torch.isfinite(fast).all()
    assert relative(fast, plain) < 1e-10


class LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[misc]
    """Remembers the largest tensor that any operation returned, in elements."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.mark.parametrize(
    ("name", "settings", "shape", "limit"),
    [
        ("cnl", {}, FeatureShape(512, 4, 2), 3 * 512),
        ("cnl", {"norm": "dot"}, FeatureShape(512, 4, 2), 3 * 512),
        ("agw", {}, FeatureShape(32, 32, 16), 32 * 512),
        ("raga", {"mode": "s"}, FeatureShape(32, 32, 16), 65 * 512),
        ("raga", {"mode": "c"}, FeatureShape(512, 8, 4), 65 * 512),
    ],
    ids=str,
)
def test_no_square_matrix_is_stored(name: str, settings: dict[str, Any], shape: FeatureShape, limit: int) -> None:
    block = make(name, shape, **settings).train()
    x = features(shape, 2, dtype=torch.float32).requires_grad_()
    with LargestTensor() as largest:
        block(x).sum().backward()
    weights = max(parameter.numel() for parameter in block.parameters())
    assert largest.elements <= max(2 * limit, weights, x.numel())
