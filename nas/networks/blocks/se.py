"""SE: squeeze-and-excitation (Hu et al., CVPR 2018), a gate a channel from two linear layers on pooled features."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nas.networks.blocks.base import AttentionBlock, Form, hidden_channels, over_map, pool
from nas.networks.shapes import FeatureShape
from nas.spaces.blocks import BLOCKS, BlockSpec


class SqueezeExcitation(AttentionBlock):
    """out = x * sigmoid(W2 ReLU(W1 p)), p the global average of x; both layers with bias."""

    spec: ClassVar[BlockSpec] = BLOCKS["se"]
    params_text = "2C²/r + C/r + C"
    macs_text = "2C²/r"

    def __init__(self, shape: FeatureShape, *, reduction: int) -> None:
        super().__init__()
        hidden = hidden_channels(shape.channels, reduction)
        self.squeeze = nn.Linear(shape.channels, hidden)
        self.excite = nn.Linear(hidden, shape.channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scales each channel of (B, C, H, W) by a gate in (0, 1)."""
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, 1, 1)."""
        return over_map(self.to_gate(self.excite(torch.relu(self.squeeze(pool(x))))))

    def open_gates(self) -> None:
        """The last layer starts at 0."""
        super().open_gates()
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    @classmethod
    def params_formula(cls, shape: FeatureShape, **params: Any) -> int:
        """2Ch + h + C, h = C/r."""
        c, h = shape.channels, hidden_channels(shape.channels, cls.complete(params)["reduction"])
        return 2 * c * h + h + c

    @classmethod
    def macs_formula(cls, shape: FeatureShape, form: Form = "plain", **params: Any) -> int:
        """2Ch, h = C/r."""
        return 2 * shape.channels * hidden_channels(shape.channels, cls.complete(params)["reduction"])
