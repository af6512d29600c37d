"""The loss a recipe asks for: its terms, weighted and summed, computed in fp32 inside any autocast."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.training.losses.center import Centres, center_loss
from nas.training.losses.circle_softmax import circle_softmax
from nas.training.losses.cross_entropy import cross_entropy
from nas.training.losses.orthogonality import feature_orthogonality, weight_orthogonality
from nas.training.losses.pairwise_circle import pairwise_circle
from nas.training.losses.triplet import batch_hard_triplet
from nas.training.losses.weighted_triplet import weighted_triplet
from nas.training.recipe import Recipe


@dataclass(frozen=True)
class LossInputs:
    """What the terms look at, for a batch of B images, D feature dimensions and C identities.

    Attributes:
        pooled: (B, D) before the BNNeck.
        embedding: (B, D) after it.
        logits: (B, C).
        labels: (B,) int64.
        classifier: the bias-free linear layer behind `logits`.
        network: the whole network, for terms on weights.
        feature_map: (B, D, H, W) before pooling, only when `TotalLoss.needs_feature_map`.
    """

    pooled: Tensor
    embedding: Tensor
    logits: Tensor
    labels: Tensor
    classifier: nn.Linear
    network: nn.Module
    feature_map: Tensor | None = None

    def feature_map_or_fail(self) -> Tensor:
        """The feature map in fp32; a missing one is a programming error."""
        if self.feature_map is None:
            raise RuntimeError("the feature map was not captured")
        return self.feature_map.float()


Term = Callable[[LossInputs, Recipe], Tensor]

TERMS: Mapping[str, Term] = {
    "cross_entropy": lambda i, r: cross_entropy(i.logits.float(), i.labels, r.cross_entropy.label_smoothing),
    "triplet": lambda i, r: batch_hard_triplet(
        i.pooled.float(), i.labels, r.triplet.margin, soft_margin=r.triplet.soft_margin
    ),
    "weighted_triplet": lambda i, r: weighted_triplet(i.pooled.float(), i.labels, r.weighted_triplet.form),
    "pairwise_circle": lambda i, r: pairwise_circle(
        getattr(i, r.pairwise_circle.feature).float(), i.labels, r.pairwise_circle.margin, r.pairwise_circle.gamma
    ),
    "circle_softmax": lambda i, r: circle_softmax(
        i.embedding.float(), i.classifier.weight.float(), i.labels, r.circle_softmax.scale, r.circle_softmax.margin
    ),
    "feature_orthogonality": lambda i, r: feature_orthogonality(i.feature_map_or_fail(), r.feature_orthogonality.form),
    "weight_orthogonality": lambda i, r: weight_orthogonality(i.network, r.weight_orthogonality.form),
}
"""Every term but `center`, which has centres of its own to learn."""


class TotalLoss(nn.Module):
    """Sum of a recipe's weighted terms.

    Args:
        recipe: `loss` names the terms, the section of each its numbers.
        num_classes: identities C, for the centres.
        dim: feature dimension D.
        generator: draws the centres' first positions.
    """

    def __init__(self, recipe: Recipe, num_classes: int, dim: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self.weights = {name: float(getattr(recipe, name).weight) for name in recipe.terms}
        self.centres = Centres(num_classes, dim, generator) if "center" in self.weights else None

    @property
    def needs_feature_map(self) -> bool:
        """Whether `LossInputs.feature_map` must be given."""
        return "feature_orthogonality" in self.weights

    def forward(self, inputs: LossInputs, only: Collection[str] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum (scalar, with gradient) and the unweighted terms (scalars, without).

        `only` leaves out all terms that it does not name.
        """
        with torch.autocast(inputs.pooled.device.type, enabled=False):
            terms = {name: self._term(name, inputs) for name in self.weights if only is None or name in only}
            total = torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()
        return total, {name: value.detach() for name, value in terms.items()}

    def _term(self, name: str, inputs: LossInputs) -> Tensor:
        if self.centres is not None and name == "center":
            return center_loss(inputs.pooled.float(), inputs.labels, self.centres.weight)
        return TERMS[name](inputs, self.recipe)

    def rescale_centre_gradient(self) -> None:
        """To be called between backward and the centres' optimiser step."""
        if self.centres is not None:
            self.centres.divide_gradient(self.weights["center"])
