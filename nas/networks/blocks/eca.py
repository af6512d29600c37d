"""ECA: efficient channel attention (Wang et al., CVPR 2020), timm's layer as it is."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from nas.networks.blocks.base import AttentionBlock, Form
from nas.networks.shapes import FeatureShape
from nas.networks.timm_package import timm_module
from nas.spaces.blocks import BLOCKS, BlockSpec


class EfficientChannelAttention(AttentionBlock):
    """out = x * sigmoid(conv1d(p)) over neighbouring channels; the kernel's size k grows with log2 C."""

    spec: ClassVar[BlockSpec] = BLOCKS["eca"]
    params_text = "k  (odd, about (log2 C + 1)/2, at least 3)"
    macs_text = "kC"

    def __init__(self, shape: FeatureShape) -> None:
        super().__init__()
        self.layer = timm_module("timm.layers.eca", "block eca").EcaModule(shape.channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scales each channel of (B, C, H, W) by a gate in (0, 1)."""
        out: Tensor = self.layer(x)
        return out

    @classmethod
    def params_formula(cls, shape: FeatureShape, **params: Any) -> int:
        """k."""
        return kernel_size(shape.channels)

    @classmethod
    def macs_formula(cls, shape: FeatureShape, form: Form = "plain", **params: Any) -> int:
        """kC."""
        return kernel_size(shape.channels) * shape.channels


def kernel_size(channels: int) -> int:
    """The odd number at or above floor((log2 C + 1)/2), at least 3.

    >>> kernel_size(64), kernel_size(256), kernel_size(2048)
    (3, 5, 7)
    """
    # floor(log2 C) is enough: (log2 C + 1)/2 passes a whole number only where log2 C does.
    size = channels.bit_length() // 2
    return max(size + 1 - size % 2, 3)
