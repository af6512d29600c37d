"""Cross entropy with label smoothing, in fp32 whatever the autocast."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.1) -> Tensor:
    """Mean cross entropy of logits (B, C) against labels (B,) smoothed to (1 - eps) one-hot + eps / C.

    Source: Szegedy et al. 2016; the eps/C form, which is torch's own.
    """
    return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
