"""Counts what a module costs by running it once on tensors without data.

Multiply-accumulates are those of convolutions and matrix products (the usual convention: normalisation, activation
and pooling are left out), by PyTorch's own table of operators. Closed formulas live with the blocks; tests hold them
against these counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class ImageCost:
    """What one image costs.

    Attributes:
        params: learned values.
        macs: multiply-accumulates of convolutions and matrix products.
        activation_elements: elements in the outputs of these (the "activations" of Radosavovic et al. 2020).
    """

    params: int
    macs: int
    activation_elements: int

    def __add__(self, other: ImageCost) -> ImageCost:
        return ImageCost(
            self.params + other.params, self.macs + other.macs, self.activation_elements + other.activation_elements
        )


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up operators while active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0
        self.activation_elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        operator = func._overloadpacket
        if operator in flop_registry:
            self.macs += flop_registry[operator](*args, **kwargs, out_val=out) // 2
            self.activation_elements += _first_tensor(out).numel()
        return out


def _first_tensor(out: Any) -> Tensor:
    first = out if isinstance(out, Tensor) else out[0]
    return first if isinstance(first, Tensor) else torch.empty(0)


def count_cost(module: nn.Module, x: Tensor) -> ImageCost:
    """Cost of `module(x)` for a batch of one; neither needs data (device `meta` will do).

    >>> count_cost(nn.Conv2d(3, 8, 1, bias=False, device="meta"), torch.empty(1, 3, 4, 4, device="meta"))
    ImageCost(params=24, macs=384, activation_elements=128)
    """
    with torch.no_grad(), _Counter() as counter:
        module(x)
    return ImageCost(count_params(module), counter.macs, counter.activation_elements)


def count_params(module: nn.Module) -> int:
    """Number of learned values."""
    return sum(parameter.numel() for parameter in module.parameters())
