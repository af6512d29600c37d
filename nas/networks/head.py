"""The head of a re-identification network: pooling, BNNeck, classifier (Luo et al., Bag of Tricks, CVPRW 2019).

Losses use what comes out here; they live in `nas.training`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nas.networks.blocks.base import PooledNorm, at_least_single, no_autocast, pool


class ReidOutputs(NamedTuple):
    """What a network returns in training mode.

    Attributes:
        pooled: (B, D), before BNNeck: for triplet and center losses.
        embedding: (B, D), after BNNeck: for classification and circle losses, and for retrieval.
        logits: (B, C), or None for a network without classifier.
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
