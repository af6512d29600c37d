"""Cross entropy over cosines with a margin for the own class: ArcFace adds it to the angle, CosFace to the cosine."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def arcface(
    features: Tensor, class_weights: Tensor, labels: Tensor, scale: float = 64.0, margin: float = 0.5
) -> Tensor:
    """Cross entropy of s cos(theta + m) for the own class and s cos(theta) for the others.

    Past theta = pi - m, where the cosine would rise again, the own class has cos(theta) - m sin(m), as in the authors'
    code.

    Args:
        features: (B, D), normalised here; fp32.
        class_weights: (C, D), normalised here; fp32.
        labels: (B,).
        margin: m, in radians.

    Source: Deng et al., CVPR 2019, equation 3.
    """
    cosines = _cosines(features, class_weights)
    sines = (1.0 - cosines.square()).clamp(min=1e-12).sqrt()  # the root's slope at 0 is infinite
    turned = cosines * math.cos(margin) - sines * math.sin(margin)
    own = torch.where(cosines >= -math.cos(margin), turned, cosines - margin * math.sin(margin))
    return _softmax(own, cosines, labels, scale)


def cosface(
    features: Tensor, class_weights: Tensor, labels: Tensor, scale: float = 64.0, margin: float = 0.35
) -> Tensor:
    """Cross entropy of s (cos(theta) - m) for the own class and s cos(theta) for the others; arguments as `arcface`.

    Source: Wang et al., CVPR 2018, equation 4.
    """
    cosines = _cosines(features, class_weights)
    return _softmax(cosines - margin, cosines, labels, scale)


def _cosines(features: Tensor, class_weights: Tensor) -> Tensor:
    return functional.normalize(features, dim=1) @ functional.normalize(class_weights, dim=1).T


def _softmax(own: Tensor, other: Tensor, labels: Tensor, scale: float) -> Tensor:
    is_own = labels[:, None] == torch.arange(other.shape[1], device=labels.device)
    return functional.cross_entropy(scale * torch.where(is_own, own, other), labels)
