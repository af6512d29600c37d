"""AGW: the non-local block of the AGW baseline (Ye et al., TPAMI 2021), dot products between positions, no softmax.

Without a softmax the product of three matrices may be taken in either order: (theta^T phi) g^T needs the N x N
affinity, theta^T (phi g^T) only a C' x C' matrix. The fast form takes the cheaper order.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from nas.networks.blocks.base import AttentionBlock, Form, as_map
from nas.networks.shapes import FeatureShape
from nas.spaces.blocks import BLOCKS, BlockSpec


class NonLocal(AttentionBlock):
    """f = theta^T phi / N; out = x + BN(W(f g)), with BN's scale 0 at first: the identity at insertion.

    theta, phi, g are 1x1 convolutions C -> C' with bias. `inner: half` is C' = C/2; `inner: one` is the one channel
    that the released code computes by a slip (`reduc_ratio // reduc_ratio`).
    """

    spec: ClassVar[BlockSpec] = BLOCKS["agw"]
    params_text = "4CC' + 3C' + 3C  (C' = C/2: 2C² + 4.5C; C' = 1: 7C + 3)"
    macs_text = "4CC'N + 2C'N·N plain, 4CC'N + 2C'N·min(N, C') fast"
    forms: ClassVar[tuple[Form, ...]] = ("fast", "plain")

    def __init__(self, shape: FeatureShape, *, inner: str) -> None:
        super().__init__()
        channels, hidden = shape.channels, inner_channels(shape.channels, inner)
        self.theta = nn.Conv2d(channels, hidden, 1)
        self.phi = nn.Conv2d(channels, hidden, 1)
        self.value = nn.Conv2d(channels, hidden, 1)
        self.output = nn.Conv2d(hidden, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Adds to each position of (B, C, H, W) a sum over all positions, weighted by dot products."""
        theta, phi, value = (layer(x).flatten(2) for layer in (self.theta, self.phi, self.value))
        related = self._relate(theta, phi / theta.shape[2], value)
        added: Tensor = self.norm(self.output(as_map(related, x)))
        return x + added

    def _relate(self, theta: Tensor, phi: Tensor, value: Tensor) -> Tensor:
        """(B, C', N) each to (B, C', N)."""
        if self.form == "fast" and theta.shape[1] < theta.shape[2]:
            return value @ phi.transpose(1, 2) @ theta
        return value @ (phi.transpose(1, 2) @ theta)

    @classmethod
    def params_formula(cls, shape: FeatureShape, **params: Any) -> int:
        """4CC' + 3C' + 3C."""
        c, h = shape.channels, inner_channels(shape.channels, cls.complete(params)["inner"])
        return 4 * c * h + 3 * h + 3 * c

    @classmethod
    def macs_formula(cls, shape: FeatureShape, form: Form = "plain", **params: Any) -> int:
        """4CC'N and two products over the smaller (fast) or the N x N (plain) matrix."""
        n, h = shape.positions, inner_channels(shape.channels, cls.complete(params)["inner"])
        middle = min(n, h) if form == "fast" else n
        return 4 * shape.channels * h * n + 2 * h * n * middle


def inner_channels(channels: int, inner: str) -> int:
    """C' for `half` or `one`."""
    return 1 if inner == "one" else max(1, channels // 2)
