"""Circle loss, pairwise form: positives and negatives of an anchor re-weighted by how far they are from their goal."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nas.training.losses.pairs import EXCLUDED, mean_over_anchors, pair_masks


def pairwise_circle(features: Tensor, labels: Tensor, margin: float = 0.25, gamma: float = 128.0) -> Tensor:
    """Mean over anchors of softplus(logsumexp_n(gamma a_n (s_n - m)) + logsumexp_p(-gamma a_p (s_p - 1 + m))).

    s are cosines, a_p = max(0, 1 + m - s_p) and a_n = max(0, s_n + m) without gradient.

    Args:
        features: (B, D), normalised here; fp32.
        labels: (B,). Anchors without a positive or a negative in the batch do not count.

    Source: Sun et al. 2020, equation 6, an anchor at a time.
    """
    unit = functional.normalize(features, dim=1)
    cosines = unit @ unit.T
    positive, negative = pair_masks(labels)
    fixed = cosines.detach()
    pull = -gamma * (1.0 + margin - fixed).clamp(min=0.0) * (cosines - (1.0 - margin))
    push = gamma * (fixed + margin).clamp(min=0.0) * (cosines - margin)
    both = _masked_logsumexp(pull, positive) + _masked_logsumexp(push, negative)
    return mean_over_anchors(functional.softplus(both), positive, negative)


def _masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    return torch.logsumexp(values.masked_fill(~mask, -EXCLUDED), dim=1)
