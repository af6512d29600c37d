"""Maps stored channels last, save where oneDNN would write beyond its memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NARROW = 16
"""Channels below which a layer may be met: numbers in the widest register (AVX-512, fp32); with AVX2 it is below 8."""


def channels_last(network: nn.Module) -> None:
    """Stores weights channels last, in place; the maps that a network makes follow them.

    Strided 1 x 1 convolutions of few input channels stay as they were and take their maps so: with channels last the
    gradient of their weights is written beyond its memory on a CPU (oneDNN in torch 2.15), and the process dies, then
    or later. `MALLOC_CHECK_=3` with glibc's `libc_malloc_debug.so` shows it.
    """
    kept = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and _is_met(layer)]
    weights = [layer.weight.detach().clone(memory_format=torch.contiguous_format) for layer in kept]
    network.to(memory_format=torch.channels_last)
    for layer, weight in zip(kept, weights, strict=True):
        layer.weight.data = weight
        layer.register_forward_pre_hook(_as_usual)


def _is_met(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.in_channels < NARROW


def _as_usual(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(maps.contiguous() for maps in inputs)
