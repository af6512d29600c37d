"""Cross entropy with label smoothing, in fp32 whatever the autocast."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.1) -> Tensor:
    """Mean cross entropy of logits (B, C) against labels (B,) smoothed to (1 - eps) one-hot + eps / C.

    Logits (B, parts, C) of a head with parts give the sum over the parts, as Sun et al. 2018 add them up.

    Source: Szegedy et al. 2016; the eps/C form, which is torch's own.
    """
    if logits.dim() == 2:
        return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    targets = labels[:, None].expand(-1, logits.shape[1])
    total = functional.cross_entropy(logits.mT, targets, label_smoothing=label_smoothing, reduction="sum")
    return total / len(labels)
