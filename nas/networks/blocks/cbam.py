"""CBAM: a channel gate, then a spatial gate (Woo et al., ECCV 2018), timm's layer as it is."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from nas.networks.blocks.base import AttentionBlock, Form
from nas.networks.shapes import FeatureShape
from nas.networks.timm_package import timm_module
from nas.spaces.blocks import BLOCKS, BlockSpec

_KERNEL_AREA = 7 * 7


class ConvolutionalBlockAttention(AttentionBlock):
    """y = x * s(mlp(mean x) + mlp(max x)); out = y * s(BN(conv7x7(mean and max over channels of y)))."""

    spec: ClassVar[BlockSpec] = BLOCKS["cbam"]
    params_text = "2C²/r + 100"
    macs_text = "4C²/r + 98N"

    def __init__(self, shape: FeatureShape, *, reduction: int) -> None:
        super().__init__()
        self.layer = timm_module("timm.layers.cbam", "block cbam").CbamModule(shape.channels, rd_ratio=1 / reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Scales channels, then positions, of (B, C, H, W) by gates in (0, 1)."""
        out: Tensor = self.layer(x)
        return out

    @classmethod
    def params_formula(cls, shape: FeatureShape, **params: Any) -> int:
        """2Ch, and 98 + 2 for the 7x7 convolution and its normalisation; h = C/r."""
        return 2 * shape.channels * _hidden(shape, params, cls) + 2 * _KERNEL_AREA + 2

    @classmethod
    def macs_formula(cls, shape: FeatureShape, form: Form = "plain", **params: Any) -> int:
        """4Ch + 98N, h = C/r."""
        return 4 * shape.channels * _hidden(shape, params, cls) + 2 * _KERNEL_AREA * shape.positions


def _hidden(shape: FeatureShape, params: dict[str, Any], block: type[AttentionBlock]) -> int:
    """timm rounds C/r to the nearest whole number."""
    return max(1, int(shape.channels / block.complete(params)["reduction"] + 0.5))
