"""Distances within a batch, the masks of its positive and negative pairs, and means over its anchors; always fp32.

Anchors without a positive or a negative do not count. They are masked rather than picked out: picking would make the
GPU wait for the CPU to learn how many there are.
"""

from __future__ import annotations

import torch
from torch import Tensor

EXCLUDED = 1e9
"""Stands for infinity in masked values: large enough to lose every comparison, finite so that gradients stay so."""


def pairwise_euclidean(features: Tensor) -> Tensor:
    """Euclidean distances (B, B) of features (B, D), in fp32.

    Squared distances are clamped at 1e-12 before the root: the root's slope at 0 is infinite, and a row's distance
    to itself must not make a gradient NaN.
    """
    squares = features.square().sum(dim=1)
    squared = squares[:, None] + squares[None, :] - 2.0 * features @ features.T
    return squared.clamp(min=1e-12).sqrt()


def pair_masks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Positive pairs (same label, not the row itself) and negative pairs of labels (B,), both bool (B, B)."""
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return same & ~itself, ~same


def mean_over_anchors(losses: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean of losses (B,) over the anchors that have a positive and a negative; 0 when there is none."""
    counts = positive.any(dim=1) & negative.any(dim=1)
    return torch.where(counts, losses, 0.0).sum() / counts.sum().clamp(min=1)
