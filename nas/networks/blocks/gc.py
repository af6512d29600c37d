"""GC: global context (Cao et al., GCNet, 2019), timm's layer as it is."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from nas.networks.blocks.base import AttentionBlock, Form, hidden_channels
from nas.networks.shapes import FeatureShape
from nas.networks.timm_package import timm_module
from nas.spaces.blocks import BLOCKS, BlockSpec


class GlobalContextBlock(AttentionBlock):
    """c = sum over positions of softmax(w^T x) x; m = W2 ReLU(LN(W1 c)); out = x * sigmoid(m) or x + m."""

    spec: ClassVar[BlockSpec] = BLOCKS["gc"]
    params_text = "2C²/r + 3C/r + 2C + 1"
    macs_text = "2CN + 2C²/r"

    def __init__(self, shape: FeatureShape, *, reduction: int, fuse: str) -> None:
        super().__init__()
        self.layer = timm_module("timm.layers.global_context", "block gc").GlobalContext(
            shape.channels,
            fuse_add=fuse == "add",
            fuse_scale=fuse == "scale",
            rd_channels=hidden_channels(shape.channels, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scales (or shifts) each channel of (B, C, H, W) by what the attended context says."""
        out: Tensor = self.layer(x)
        return out

    @classmethod
    def params_formula(cls, shape: FeatureShape, **params: Any) -> int:
        """2Ch + 3h + 2C + 1, h = C/r."""
        c, h = shape.channels, hidden_channels(shape.channels, cls.complete(params)["reduction"])
        return 2 * c * h + 3 * h + 2 * c + 1

    @classmethod
    def macs_formula(cls, shape: FeatureShape, form: Form = "plain", **params: Any) -> int:
        """2CN + 2Ch, h = C/r."""
        c, h = shape.channels, hidden_channels(shape.channels, cls.complete(params)["reduction"])
        return 2 * c * shape.positions + 2 * c * h
