"""Weighted regularised triplet loss: all pairs of an anchor, weighted by how hard they are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nas.training.losses.pairs import EXCLUDED, mean_over_anchors, pair_masks, pairwise_euclidean
from nas.training.settings import LossForm

_RELEASED_FLOOR = 1e-6
"""What the authors' code adds to each sum of weights; copied, it decides that form's behaviour at large distances."""


def weighted_triplet(features: Tensor, labels: Tensor, form: LossForm = "paper") -> Tensor:
    """Mean over anchors of softplus(sum_p w_p d_p - sum_n w_n d_n), w_p = softmax(d_p), w_n = softmax(-d_n).

    Args:
        features: (B, D), not normalised; fp32.
        labels: (B,). Anchors without a positive or a negative in the batch do not count.
        form: `paper` is the formula (Ye et al. 2021, AGW, equation 5), where the anchor is no positive of its own.
            `released` is what the authors' code computes: the anchor counts as its own positive, exponents are taken
            against the largest of the masked values *and zeros*, and 1e-6 is added to each sum. For negatives that
            largest value is 0, so their weights add up to less than 1 and vanish at distances past about 15.
    """
    distances = pairwise_euclidean(features)
    positive, negative = pair_masks(labels)
    if form == "released":
        positive = ~negative
    mean = _soft_mean if form == "paper" else _released_mean
    gaps = mean(distances, positive, 1.0) - mean(distances, negative, -1.0)
    return mean_over_anchors(functional.softplus(gaps), positive, negative)


def _soft_mean(distances: Tensor, mask: Tensor, sign: float) -> Tensor:
    """An anchor's distances to its masked partners, averaged with softmax(sign * distance) as weights."""
    weights = torch.softmax((sign * distances).masked_fill(~mask, -EXCLUDED), dim=1)
    return (weights * distances).sum(dim=1)


def _released_mean(distances: Tensor, mask: Tensor, sign: float) -> Tensor:
    """The same as the authors' code weighs it: zeros of the mask take part in the maximum, a floor in the sum."""
    masked = sign * distances * mask
    weights = torch.exp(masked - masked.amax(dim=1, keepdim=True)) * mask
    weights = weights / (weights.sum(dim=1, keepdim=True) + _RELEASED_FLOOR)
    return (weights * distances * mask).sum(dim=1)
