"""Weighted regularised triplet loss: all pairs of an anchor, weighted by how hard they are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nas.training.losses.pairs import EXCLUDED, mean_over_anchors, pair_masks, pairwise_euclidean


def weighted_triplet(features: Tensor, labels: Tensor) -> Tensor:
    """Mean over anchors of softplus(sum_p w_p d_p - sum_n w_n d_n), w_p = softmax(d_p), w_n = softmax(-d_n).

    Args:
        features: (B, D), not normalised; fp32.
        labels: (B,). Anchors without a positive or a negative in the batch do not count.

    The anchor itself is no positive of its own (its weight, exp(0) among exp(distances), would be next to nothing).
    Source: Ye et al. 2021 (AGW), equation 5.
    """
    distances = pairwise_euclidean(features)
    positive, negative = pair_masks(labels)
    gaps = _soft_mean(distances, positive, 1.0) - _soft_mean(distances, negative, -1.0)
    return mean_over_anchors(functional.softplus(gaps), positive, negative)


def _soft_mean(distances: Tensor, mask: Tensor, sign: float) -> Tensor:
    """An anchor's distances to its masked partners, averaged with softmax(sign * distance) as weights."""
    weights = torch.softmax((sign * distances).masked_fill(~mask, -EXCLUDED), dim=1)
    return (weights * distances).sum(dim=1)
