"""Circle loss, class-level form ("circle softmax"): the pairs are a feature and the weight vectors of the classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def circle_softmax(
    features: Tensor, class_weights: Tensor, labels: Tensor, scale: float = 64.0, margin: float = 0.35
) -> Tensor:
    """Cross entropy over circle-weighted cosines.

    The own class gets s * max(0, 1 + m - cos) * (cos - 1 + m), every other s * max(0, cos + m) * (cos - m); the
    weighting factors have no gradient.

    Args:
        features: (B, D), normalised here; fp32.
        class_weights: (C, D), normalised here; fp32.
        labels: (B,).

    Source: Sun et al. 2020, section 3.3 with class-level labels.
    """
    cosines = functional.normalize(features, dim=1) @ functional.normalize(class_weights, dim=1).T
    fixed = cosines.detach()
    own = (1.0 + margin - fixed).clamp(min=0.0) * (cosines - (1.0 - margin))
    other = (fixed + margin).clamp(min=0.0) * (cosines - margin)
    is_own = labels[:, None] == torch.arange(class_weights.shape[0], device=labels.device)
    return functional.cross_entropy(scale * torch.where(is_own, own, other), labels)
