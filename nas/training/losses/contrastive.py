"""Contrastive loss: pairs of one identity near each other, others at least a margin apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nas.training.losses.pairs import pair_masks, pairwise_euclidean


def contrastive(features: Tensor, labels: Tensor, margin: float = 1.0) -> Tensor:
    """Mean of d^2 over the positive pairs plus mean of max(0, m - d)^2 over the negative ones; no such pairs give 0.

    Each kind has a mean of its own: a batch of P identities has far more negative pairs than positive ones.

    Args:
        features: (B, D), normalised here, so that distances d go from 0 to 2; fp32.

    Source: Hadsell et al., CVPR 2006, equation 4, without its factor 1/2.
    """
    distances = pairwise_euclidean(functional.normalize(features, dim=1))
    positive, negative = pair_masks(labels)
    apart = functional.relu(margin - distances).square()
    return _mean(distances.square(), positive) + _mean(apart, negative)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)
