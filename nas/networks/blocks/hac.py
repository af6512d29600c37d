"""HAC: the channel branch of harmonious attention (Li et al., CVPR 2018), two normalised layers on pooled features."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nas.networks.blocks.base import AttentionBlock, Form, PooledNorm, hidden_channels, over_map, pool
from nas.networks.shapes import FeatureShape
from nas.spaces.blocks import BLOCKS, BlockSpec


class HarmoniousChannelAttention(AttentionBlock):
    """h = ReLU(BN(W1 p)); u = ReLU(BN(W2 h)); out = x * sigmoid(u).

    As published, the second ReLU keeps the gate at 0.5 or above. Batch statistics come from the samples alone, so
    training needs at least two images a batch.
    """

    spec: ClassVar[BlockSpec] = BLOCKS["hac"]
    params_text = "2C²/r + 3C/r + 3C"
    macs_text = "2C²/r"

    def __init__(self, shape: FeatureShape, *, reduction: int) -> None:
        super().__init__()
        hidden = hidden_channels(shape.channels, reduction)
        self.squeeze = nn.Linear(shape.channels, hidden)
        self.squeeze_norm = PooledNorm(hidden)
        self.excite = nn.Linear(hidden, shape.channels)
        self.excite_norm = PooledNorm(shape.channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scales each channel of (B, C, H, W) by a gate in [0.5, 1)."""
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, 1, 1)."""
        hidden = torch.relu(self.squeeze_norm(self.squeeze(pool(x))))
        logits = self.excite_norm(self.excite(hidden))
        # An opened gate can move both ways only without the second ReLU.
        return over_map(self.to_gate(torch.relu(logits) if self.gate_scale == 1.0 else logits))

    def open_gates(self) -> None:
        """The last normalisation starts at scale 0, and the second ReLU is left out."""
        super().open_gates()
        nn.init.zeros_(self.excite_norm.weight)

    @classmethod
    def params_formula(cls, shape: FeatureShape, **params: Any) -> int:
        """2Ch + 3h + 3C, h = C/r."""
        c, h = shape.channels, hidden_channels(shape.channels, cls.complete(params)["reduction"])
        return 2 * c * h + 3 * h + 3 * c

    @classmethod
    def macs_formula(cls, shape: FeatureShape, form: Form = "plain", **params: Any) -> int:
        """2Ch, h = C/r."""
        return 2 * shape.channels * hidden_channels(shape.channels, cls.complete(params)["reduction"])
