"""The heads of re-identification networks: from the last feature map to the embedding that images are found by.

`bnneck` is the strong baseline's (Luo et al., Bag of Tricks, CVPRW 2019), `pcb` looks at horizontal parts (Sun et al.,
ECCV 2018), `fc` and `plain` are those of torchreid's networks. Losses use what comes out here; they live in
`nas.training`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nas.errors import SpaceError, unknown_name
from nas.networks.blocks.base import PooledNorm, at_least_single, no_autocast, pool
from nas.networks.shapes import FeatureShape
from nas.spaces.plugins import find_part


class ReidOutputs(NamedTuple):
    """What a network returns in training mode.

    Attributes:
        pooled: (B, P), before the neck: for triplet and center losses.
        embedding: (B, D), after it: for classification and circle losses, and for retrieval.
        logits: (B, C), of a head with parts (B, parts, C), or None for a network without classifier.
    """

    pooled: Tensor
    embedding: Tensor
    logits: Tensor | None


class GlobalAveragePool(nn.Module):
    """(B, C, H, W) to (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean over positions."""
        return pool(x)


class GeneralizedMeanPool(nn.Module):
    """GeM (Radenovic et al., TPAMI 2018): (mean x^p)^(1/p), p learned from 3; (B, C, H, W) to (B, C)."""

    def __init__(self, exponent: float = 3.0, floor: float = 1e-6) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor([exponent]))
        self.floor = floor

    def forward(self, x: Tensor) -> Tensor:
        """The generalised mean over positions; powers are taken in fp32 at least."""
        with no_autocast(x):
            powered = at_least_single(x).clamp(min=self.floor).pow(self.exponent)
            return pool(powered).pow(1.0 / self.exponent).to(x.dtype)


POOLINGS: Mapping[str, type[nn.Module]] = MappingProxyType({"gap": GlobalAveragePool, "gem": GeneralizedMeanPool})
"""Pooling layers by name."""


class BNNeck(PooledNorm):
    """Batch normalisation between the pooled and the retrieval feature; its bias stays 0 and is never trained."""

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.bias.requires_grad_(False)


def make_classifier(features: int, classes: int) -> nn.Linear:
    """A bias-free classifier, initialised from N(0, 0.001)."""
    classifier = nn.Linear(features, classes, bias=False)
    nn.init.normal_(classifier.weight, std=0.001)
    return classifier


@dataclass(frozen=True)
class Head:
    """What a head is made of. One's own is a callable `(shape, pooling, **settings) -> Head`, `pooling` a module.

    Attributes:
        pool: the last feature map (B, C, H, W) to (B, pooled_dim).
        neck: (B, pooled_dim) to the embedding (B, embedding_dim).
        pooled_dim, embedding_dim: sizes of the two.
        classifier: makes the module from the embedding to logits for so many classes; its `weight` is (C, D), or
            (parts, C, D / parts) where each part of the embedding has a classifier of its own.
    """

    pool: nn.Module
    neck: nn.Module
    pooled_dim: int
    embedding_dim: int
    classifier: Callable[[int], nn.Module]


def bnneck_head(shape: FeatureShape, pooling: nn.Module) -> Head:
    """Pooling, batch normalisation without bias, one classifier."""
    c = shape.channels
    return Head(pooling, BNNeck(c), c, c, partial(make_classifier, c))


def plain_head(shape: FeatureShape, pooling: nn.Module) -> Head:
    """Pooling alone: the pooled features are the embedding."""
    c = shape.channels
    return Head(pooling, nn.Identity(), c, c, partial(make_classifier, c))


def fc_head(shape: FeatureShape, pooling: nn.Module, features: int = 512) -> Head:
    """Pooling, a linear layer to `features`, normalisation, ReLU: the head of OSNet and of torchreid's `_fc512`."""
    neck = nn.Sequential(nn.Linear(shape.channels, features), PooledNorm(features), nn.ReLU(inplace=True))
    return Head(pooling, neck, shape.channels, features, partial(make_classifier, features))


def pcb_head(shape: FeatureShape, pooling: nn.Module, parts: int = 6, features: int = 256) -> Head:
    """Part-based convolutional baseline: horizontal stripes, each pooled, reduced and classified for itself.

    The embedding is the `parts` vectors of `features` one after the other. Stripes are those of adaptive pooling: where
    `parts` does not divide the height, neighbours share a row.

    Raises:
        SpaceError: the map has fewer rows than there are parts.
    """
    if shape.height < parts:
        raise SpaceError(
            f"head pcb cannot cut a map of {shape.height} rows into {parts} parts", "Set parts, or a higher input."
        )
    neck = PartNeck(shape.channels, parts, features)
    classifier = partial(PartClassifier, parts, features)
    return Head(PartPool(pooling, parts), neck, parts * shape.channels, parts * features, classifier)


class PartPool(nn.Module):
    """(B, C, H, W) to (B, parts * C): each horizontal stripe pooled."""

    def __init__(self, pooling: nn.Module, parts: int) -> None:
        super().__init__()
        self.pooling, self.parts = pooling, parts

    def forward(self, x: Tensor) -> Tensor:
        """The pooled stripes from top to bottom."""
        height, n = x.shape[2], self.parts
        stripes = [x[:, :, i * height // n : -(-(i + 1) * height // n)] for i in range(n)]
        return torch.cat([self.pooling(stripe) for stripe in stripes], 1)


class PartNeck(nn.Module):
    """(B, parts * C) to (B, parts * features): a linear layer, normalisation and ReLU a part."""

    def __init__(self, channels: int, parts: int, features: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Linear(channels, features, bias=False), PooledNorm(features), nn.ReLU(inplace=True))
            for _ in range(parts)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The reduced parts, one after the other."""
        pieces = x.chunk(len(self.parts), 1)
        return torch.cat([reduce(piece) for reduce, piece in zip(self.parts, pieces, strict=True)], 1)


class PartClassifier(nn.Module):
    """(B, parts * features) to (B, parts, classes), bias-free, initialised from N(0, 0.001)."""

    def __init__(self, parts: int, features: int, classes: int) -> None:
        super().__init__()
        self.out_features = classes
        self.weight = nn.Parameter(torch.empty(parts, classes, features).normal_(std=0.001))

    def forward(self, x: Tensor) -> Tensor:
        """The logits of each part."""
        parts, _, features = self.weight.shape
        return torch.einsum("bpd,pcd->bpc", x.reshape(len(x), parts, features), self.weight)


HEADS: Mapping[str, Callable[..., Head]] = MappingProxyType(
    {"bnneck": bnneck_head, "plain": plain_head, "fc": fc_head, "pcb": pcb_head}
)
"""The shipped heads, by name; `nas.spaces.plugins` finds others."""


def make_head(name: str, shape: FeatureShape, pooling: str = "gap", settings: Mapping[str, Any] | None = None) -> Head:
    """A head for feature maps of a shape.

    Raises:
        SpaceError: head or pooling are unknown, a setting is none of the head's, or the head does not fit the map.
    """
    if pooling not in POOLINGS:
        raise SpaceError(unknown_name("pooling", pooling, POOLINGS))
    build = find_part("head", name, HEADS)
    try:
        head = build(shape, POOLINGS[pooling](), **(settings or {}))
    except TypeError as error:
        raise SpaceError(f"head {name} cannot be built: {error}") from error
    if not isinstance(head, Head):
        raise SpaceError(f"head {name} must return a nas.networks.Head, not {type(head).__name__}")
    return head
