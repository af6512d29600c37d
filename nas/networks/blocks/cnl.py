"""C-NL: a non-local block over channels, after pooling (Eisenbach et al. 2023) - a **reconstruction**.

The paper has neither code nor a readable figure of the block. Its text fixes: global average pooling first; query,
key and value after it; an affinity between channels; designed like HAC; between residual blocks. Everything else is a
switch of this class, with defaults that fit the paper's cost pattern best.

q k^T has rank 1, which the fast form uses: with `dot`, y = q (k.v)/D costs O(D); with `softmax`, rows of the D x D
affinity are made and used up one tile at a time and never stored.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.networks.blocks.attention import attend
from nas.networks.blocks.base import (
    AttentionBlock,
    Form,
    PooledNorm,
    at_least_single,
    hidden_channels,
    no_autocast,
    over_map,
    pool,
)
from nas.networks.shapes import FeatureShape
from nas.spaces.blocks import BLOCKS, BlockSpec


class ChannelNonLocal(AttentionBlock):
    """q, k, v = linear C -> D of p; y = norm(q k^T) v; z = BN(W y); out = fuse(x, z).

    Attributes:
        norm: `softmax` over the last dimension, or `dot` (divide by D).
        fuse: `gate` x*s(z), `gate2` 2*s(z)*x, `add` x + z.
    """

    spec: ClassVar[BlockSpec] = BLOCKS["cnl"]
    params_text = "4CD + 3D + 2C, and 4D with qk_norm  (D = C: 4C² + 5C)"
    macs_text = "4CD + 2D², or 4CD + D for norm=dot in the fast form"
    forms: ClassVar[tuple[Form, ...]] = ("fast", "plain")

    def __init__(
        self,
        shape: FeatureShape,
        *,
        width: str,
        norm: str,
        fuse: str,
        zero_init: bool,
        qk_norm: bool,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        self.norm, self.fuse = norm, fuse
        self.width = inner_width(shape.channels, width, reduction)
        # One product for query, key and value: the pooled vectors are too small to fill a device three times.
        self.query_key_value = nn.Linear(shape.channels, 3 * self.width)
        self.query_key_norm = PooledNorm(2 * self.width) if qk_norm else None
        self.output = nn.Linear(self.width, shape.channels, bias=False)
        self.output_norm = PooledNorm(shape.channels)
        if zero_init:
            nn.init.zeros_(self.output_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Gates (or shifts) each channel of (B, C, H, W) by what its pooled value means beside the others."""
        gate = self.gate(x)
        return x + self._meaning(x) if gate is None else x * gate

    def gate(self, x: Tensor) -> Tensor | None:
        """(B, C, 1, 1): s(z) or 2*s(z); None for `add`."""
        if self.fuse == "add":
            return None
        gate = torch.sigmoid(self._meaning(x))
        return 2 * gate if self.fuse == "gate2" else gate

    def _meaning(self, x: Tensor) -> Tensor:
        """z, (B, C, 1, 1)."""
        query, key, value = self._project(pool(x))
        with no_autocast(x):
            full = [at_least_single(t) for t in (query, key, value)]
            related = relate(full[0], full[1], full[2], self.norm, self.form)
        return over_map(self.output_norm(self.output(related.to(query.dtype))))

    def _project(self, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        projected = self.query_key_value(pooled)
        if self.query_key_norm is None:
            query, key, value = projected.split(self.width, 1)
            return query, key, value
        query_key, value = projected.split((2 * self.width, self.width), 1)
        query, key = self.query_key_norm(query_key).split(self.width, 1)
        return query, key, value

    @classmethod
    def params_formula(cls, shape: FeatureShape, **params: Any) -> int:
        """4CD + 3D + 2C, and 4D with qk_norm."""
        values = cls.complete(params)
        c, d = shape.channels, inner_width(shape.channels, values["width"], values.get("reduction", 16))
        return 4 * c * d + 3 * d + 2 * c + (4 * d if values["qk_norm"] else 0)

    @classmethod
    def macs_formula(cls, shape: FeatureShape, form: Form = "plain", **params: Any) -> int:
        """4CD + 2D²; the fast form of `dot` needs D instead of 2D²."""
        values = cls.complete(params)
        c, d = shape.channels, inner_width(shape.channels, values["width"], values.get("reduction", 16))
        return 4 * c * d + (d if (values["norm"], form) == ("dot", "fast") else 2 * d * d)


def inner_width(channels: int, width: str, reduction: int) -> int:
    """D: C, C/2 or C/r."""
    return hidden_channels(channels, {"full": 1, "half": 2}.get(width, reduction))


def relate(query: Tensor, key: Tensor, value: Tensor, norm: str, form: Form) -> Tensor:
    """y = norm(q k^T) v for vectors (B, D) each."""
    return _RELATIONS[norm, form](query, key, value)


def _dot_plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    affinity = torch.bmm(query[:, :, None], key[:, None, :]) / query.shape[1]
    return torch.bmm(affinity, value[:, :, None])[:, :, 0]


def _dot_fast(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    agreement = torch.bmm(key[:, None, :], value[:, :, None])[:, 0]
    return query * (agreement / query.shape[1])


def _softmax_plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    affinity = torch.softmax(torch.bmm(query[:, :, None], key[:, None, :]), dim=-1)
    return torch.bmm(affinity, value[:, :, None])[:, :, 0]


def _softmax_fast(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention with one head of size 1 over D "tokens": tiled by PyTorch, nothing of size D x D is stored."""
    return attend(_as_tokens(query), _as_tokens(key), _as_tokens(value))[:, :, 0]


def _as_tokens(vector: Tensor) -> Tensor:
    """(B, D) to (B, D, 1), or (B, D, 8) on CUDA, whose tiled kernels want heads of a multiple of 8."""
    tokens = vector[:, :, None]
    return F.pad(tokens, (0, 7)) if vector.is_cuda else tokens


_RELATIONS = {
    ("dot", "plain"): _dot_plain,
    ("dot", "fast"): _dot_fast,
    ("softmax", "plain"): _softmax_plain,
    ("softmax", "fast"): _softmax_fast,
}
