"""The loss a recipe asks for: its terms, weighted and summed, computed in fp32 inside any autocast."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.training.losses.center import Centres, center_loss
from nas.training.losses.circle_softmax import circle_softmax
from nas.training.losses.cross_entropy import cross_entropy
from nas.training.losses.distillation import distil_features, distil_logits, distil_relations
from nas.training.losses.orthogonality import feature_orthogonality, weight_orthogonality
from nas.training.losses.pairwise_circle import pairwise_circle
from nas.training.losses.triplet import batch_hard_triplet
from nas.training.losses.weighted_triplet import weighted_triplet
from nas.training.recipe import Recipe


@dataclass(frozen=True)
class Taught:
    """What one teacher says of a batch.

    Attributes:
        embedding: (B, E) after its BNNeck.
        logits: (B, C); None for a teacher without classifier.
    """

    embedding: Tensor
    logits: Tensor | None


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
        taught: what each teacher of a distillation says.
    """

    pooled: Tensor
    embedding: Tensor
    logits: Tensor
    labels: Tensor
    classifier: nn.Linear
    network: nn.Module
    feature_map: Tensor | None = None
    taught: tuple[Taught, ...] = ()

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
    "distil_relations": lambda i, r: distil_relations(i.embedding.float(), [t.embedding.float() for t in i.taught]),
    "distil_logits": lambda i, r: distil_logits(
        i.logits.float(),
        [t.logits.float() for t in i.taught if t.logits is not None],
        r.distil.temperature if r.distil else 1.0,
    ),
}
"""Every term but `center` and `distil_features`, which have centres and maps of their own to learn."""


def _new_map(dim: int, taught_dim: int, generator: torch.Generator | None) -> nn.Linear:
    found = nn.Linear(dim, taught_dim, bias=False)
    nn.init.normal_(found.weight, std=dim**-0.5, generator=generator)  # keeps the length of an embedding
    return found


class TotalLoss(nn.Module):
    """Sum of a recipe's weighted terms.

    Args:
        recipe: `loss` names the terms, the section of each its numbers.
        num_classes: identities C, for the centres.
        dim: feature dimension D.
        generator: draws the centres' first positions.
        taught_dims: feature dimension E of each teacher; where it is not D, `features` learn a linear map to it.
    """

    def __init__(
        self,
        recipe: Recipe,
        num_classes: int,
        dim: int,
        generator: torch.Generator | None = None,
        taught_dims: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.weights = {name: float(getattr(recipe, name).weight) for name in recipe.terms}
        self.centres = Centres(num_classes, dim, generator) if "center" in self.weights else None
        if recipe.distil is not None:
            self.weights |= {f"distil_{name}": recipe.distil.weight for name in recipe.distil.loss}
        mapped = taught_dims if "distil_features" in self.weights else ()
        self.maps = nn.ModuleList([nn.Identity() if e == dim else _new_map(dim, e, generator) for e in mapped])

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
        if name == "distil_features":
            own = [to(inputs.embedding.float()) for to in self.maps]
            return distil_features(own, [one.embedding.float() for one in inputs.taught])
        return TERMS[name](inputs, self.recipe)

    def rescale_centre_gradient(self) -> None:
        """To be called between backward and the centres' optimiser step."""
        if self.centres is not None:
            self.centres.divide_gradient(self.weights["center"])
