"""Batch-hard triplet loss: each anchor against its farthest positive and its nearest negative."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from nas.training.losses.pairs import EXCLUDED, mean_over_anchors, pair_masks, pairwise_euclidean


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float = 0.3, *, soft_margin: bool = False) -> Tensor:
    """Mean over anchors of max(0, d_p - d_n + margin), or of softplus(d_p - d_n) with `soft_margin`.

    Args:
        features: (B, D), not normalised; fp32.
        labels: (B,). Anchors without a positive or a negative in the batch do not count.

    Source: Hermans et al. 2017, equations 5 and following.
    """
    distances = pairwise_euclidean(features)
    positive, negative = pair_masks(labels)
    farthest = distances.masked_fill(~positive, -EXCLUDED).max(dim=1).values
    nearest = distances.masked_fill(~negative, EXCLUDED).min(dim=1).values
    gaps = farthest - nearest
    losses = functional.softplus(gaps) if soft_margin else functional.relu(gaps + margin)
    return mean_over_anchors(losses, positive, negative)
