"""Center loss: features near a learned centre of their identity, centres moved by an optimiser of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def center_loss(features: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """Mean over the batch of the squared distance |f_i - c_{y_i}|^2.

    Args:
        features: (B, D), not normalised; fp32.
        labels: (B,), indices into centres.
        centres: (C, D).

    Source: Wen et al. 2016, without the factor 1/2, as the strong baseline (Luo et al. 2019) uses it.
    """
    return (features - centres[labels]).square().sum(dim=1).mean()


class Centres(nn.Module):
    """The centres of all identities, (C, D) in fp32, drawn from N(0, 1)."""

    def __init__(self, num_classes: int, dim: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_classes, dim, generator=generator))

    @property
    def has_gradient(self) -> bool:
        """Whether the last backward reached the centres."""
        return self.weight.grad is not None

    def divide_gradient(self, weight: float) -> None:
        """Undoes the loss weight in the centres' gradient, so that the centres' own learning rate sets their speed."""
        if self.weight.grad is not None:
            self.weight.grad.div_(weight)
