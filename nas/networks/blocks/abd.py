"""ABD: attention between positions (PAM) and between channels (CAM) (Chen et al., ABD-Net, ICCV 2019).

Both are softmax attentions, so the fast form hands them to `scaled_dot_product_attention`, which never stores the
N x N (or C x C) matrix. The orthogonality regularisers of the paper are losses of training,
off unless a recipe asks for them.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nas.networks.blocks.attention import attend, attend_plain
from nas.networks.blocks.base import AttentionBlock, Form, as_map, at_least_single, hidden_channels, no_autocast
from nas.networks.shapes import FeatureShape
from nas.spaces.blocks import BLOCKS, BlockSpec

_REDUCTION = 8


class DualAttention(AttentionBlock):
    """out = x + gamma_p (v A_p^T) + gamma_c (A_c X), both gammas 0 at first: the identity at insertion.

    PAM: q, k = 1x1 C -> C/8, v = 1x1 C -> C, with bias; A_p = softmax over keys of q^T k, without scaling.
    CAM: E = X X^T, A_c = softmax(rowmax(E) - E); no convolutions. `mode: pam|cam|pam+cam`.
    """

    spec: ClassVar[BlockSpec] = BLOCKS["abd"]
    params_text = "PAM 1.25C² + 1.25C + 1, CAM 1"
    macs_text = "PAM 1.25C²N + 1.125CN², CAM 2C²N"
    forms: ClassVar[tuple[Form, ...]] = ("fast", "plain")

    def __init__(self, shape: FeatureShape, *, mode: str) -> None:
        super().__init__()
        self.positions = PositionAttention(shape.channels) if "pam" in mode else None
        self.channels = ChannelAttention() if "cam" in mode else None

    def forward(self, x: Tensor) -> Tensor:
        """Adds to (B, C, H, W) what its positions, its channels, or both attend to."""
        flat = x.flatten(2)
        out = x
        for branch in (self.positions, self.channels):
            if branch is not None:
                out = out + as_map(branch(x, flat, self.form), x)
        return out

    @classmethod
    def params_formula(cls, shape: FeatureShape, **params: Any) -> int:
        """PAM 2(Cd + d) + C² + C + 1 with d = C/8; CAM 1."""
        mode, c, d = cls.complete(params)["mode"], shape.channels, hidden_channels(shape.channels, _REDUCTION)
        return ("pam" in mode) * (2 * (c * d + d) + c * c + c + 1) + ("cam" in mode)

    @classmethod
    def macs_formula(cls, shape: FeatureShape, form: Form = "plain", **params: Any) -> int:
        """PAM (2Cd + C²)N + (d + C)N² with d = C/8; CAM 2C²N."""
        mode, c, n = cls.complete(params)["mode"], shape.channels, shape.positions
        d = hidden_channels(c, _REDUCTION)
        return ("pam" in mode) * ((2 * c * d + c * c) * n + (d + c) * n * n) + ("cam" in mode) * 2 * c * c * n


class PositionAttention(nn.Module):
    """PAM: gamma (v A^T), A = softmax over keys of q^T k."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = hidden_channels(channels, _REDUCTION)
        self.query = nn.Conv2d(channels, hidden, 1)
        self.key = nn.Conv2d(channels, hidden, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, flat: Tensor, form: Form) -> Tensor:
        """(B, C, H, W) to (B, C, N); `flat` is not used."""
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        attended = attend(query, key, value) if form == "fast" else attend_plain(query, key, value)
        return self.gamma * attended.transpose(1, 2)


class ChannelAttention(nn.Module):
    """CAM: gamma (A X), A = softmax(rowmax(E) - E), E = X X^T; in fp32 at least, as E overflows fp16."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, flat: Tensor, form: Form) -> Tensor:
        """(B, C, N) in `flat` to (B, C, N); `x` is not used."""
        with no_autocast(flat):
            rows = at_least_single(flat)
            # softmax(rowmax(E) - E) = softmax(-E): a softmax does not see a shift of its row.
            attended = attend(-rows, rows, rows) if form == "fast" else _channels_plain(rows)
        return self.gamma * attended.to(flat.dtype)


def _channels_plain(rows: Tensor) -> Tensor:
    energy = rows @ rows.transpose(1, 2)
    return torch.softmax(energy.amax(-1, keepdim=True) - energy, dim=-1) @ rows
