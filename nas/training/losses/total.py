"""The loss a recipe asks for: its terms, weighted and summed, computed in fp32 inside any autocast."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.errors import TrainingError
from nas.spaces.plugins import make_part
from nas.training.losses.center import Centres, center_loss
from nas.training.losses.circle_softmax import circle_softmax
from nas.training.losses.contrastive import contrastive
from nas.training.losses.cross_entropy import cross_entropy
from nas.training.losses.distillation import distil_features, distil_logits, distil_relations
from nas.training.losses.margin_softmax import arcface, cosface
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
        logits: (B, C), of a head with parts (B, parts, C); None for a teacher without classifier.
    """

    embedding: Tensor
    logits: Tensor | None


@dataclass(frozen=True)
class LossInputs:
    """What the terms look at, for a batch of B images, D feature dimensions and C identities.

    Attributes:
        pooled: (B, P) before the neck.
        embedding: (B, D) after it; P = D but for heads that change the size.
        logits: (B, C), of a head with parts (B, parts, C).
        labels: (B,) int64.
        classifier: the layer behind `logits`; its weight is (C, D), of a head with parts (parts, C, D / parts).
        network: the whole network, for terms on weights.
        feature_map: (B, K, H, W) before pooling, only when `TotalLoss.needs_feature_map`.
        taught: what each teacher of a distillation says.
    """

    pooled: Tensor
    embedding: Tensor
    logits: Tensor
    labels: Tensor
    classifier: nn.Module
    network: nn.Module
    feature_map: Tensor | None = None
    taught: tuple[Taught, ...] = ()

    def feature_map_or_fail(self) -> Tensor:
        """The feature map in fp32; a missing one is a programming error."""
        if self.feature_map is None:
            raise RuntimeError("the feature map was not captured")
        return self.feature_map.float()

    def over_parts(
        self, loss: Callable[[Tensor, Tensor, Tensor, float, float], Tensor], scale: float, margin: float
    ) -> Tensor:
        """A loss of features (B, D) and class weights (C, D), summed over the parts of the embedding; usually one."""
        weights: Tensor = self.classifier.weight.float()  # type: ignore[assignment]
        parts = weights if weights.dim() == 3 else weights[None]
        features = self.embedding.float().chunk(len(parts), 1)
        terms = [loss(one, weight, self.labels, scale, margin) for one, weight in zip(features, parts, strict=True)]
        return torch.stack(terms).sum()


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
    "contrastive": lambda i, r: contrastive(getattr(i, r.contrastive.feature).float(), i.labels, r.contrastive.margin),
    "circle_softmax": lambda i, r: i.over_parts(circle_softmax, r.circle_softmax.scale, r.circle_softmax.margin),
    "arcface": lambda i, r: i.over_parts(arcface, r.arcface.scale, r.arcface.margin),
    "cosface": lambda i, r: i.over_parts(cosface, r.cosface.scale, r.cosface.margin),
    "feature_orthogonality": lambda i, r: feature_orthogonality(i.feature_map_or_fail(), r.feature_orthogonality.form),
    "weight_orthogonality": lambda i, r: weight_orthogonality(i.network, r.weight_orthogonality.form),
    "distil_relations": lambda i, r: distil_relations(i.embedding.float(), [t.embedding.float() for t in i.taught]),
    "distil_logits": lambda i, r: distil_logits(
        i.logits.float(),
        [t.logits.float() for t in i.taught if t.logits is not None],
        r.distil.temperature if r.distil else 1.0,
    ),
}
"""Every shipped term but `center` and `distil_features`, which have centres and maps of their own to learn."""


def _new_map(dim: int, taught_dim: int, generator: torch.Generator | None) -> nn.Linear:
    found = nn.Linear(dim, taught_dim, bias=False)
    nn.init.normal_(found.weight, std=dim**-0.5, generator=generator)  # keeps the length of an embedding
    return found


def own_term(name: str, settings: Mapping[str, object]) -> Callable[[LossInputs], Tensor]:
    """A loss of one's own: an instance of its class, or its function, with the settings of the recipe.

    Raises:
        SpaceError: there is no such loss, no person has named it here, or it does not take these settings.
        TrainingError: it has parameters, which no optimiser would train.
    """
    made = make_part("loss", name, TERMS, settings, given=1)
    if isinstance(made, nn.Module) and any(True for _ in made.parameters()):
        raise TrainingError(f"loss {name} has parameters, which no optimiser trains", "Keep them in a head.")
    return made  # type: ignore[no-any-return]


class TotalLoss(nn.Module):
    """Sum of a recipe's weighted terms.

    Args:
        recipe: `loss` names the terms, the section of each its numbers.
        num_classes: identities C, for the centres.
        dim: size D of embeddings.
        taught_dims: feature dimension E of each teacher; where it is not D, `features` learn a linear map to it.
        pooled_dim: size P of pooled features, for the centres; None: D.
    """

    def __init__(
        self,
        recipe: Recipe,
        num_classes: int,
        dim: int,
        generator: torch.Generator | None = None,
        taught_dims: Sequence[int] = (),
        pooled_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.weights = {name: recipe.loss_weight(name) for name in recipe.terms}
        self._own = {name: own_term(name, recipe.loss_settings(name)) for name in recipe.own_terms}
        self.own_modules = nn.ModuleList(part for part in self._own.values() if isinstance(part, nn.Module))
        self.centres = Centres(num_classes, pooled_dim or dim, generator) if "center" in self.weights else None
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
        if name in self._own:
            return self._own[name](inputs)
        return TERMS[name](inputs, self.recipe)

    def rescale_centre_gradient(self) -> None:
        """To be called between backward and the centres' optimiser step."""
        if self.centres is not None:
            self.centres.divide_gradient(self.weights["center"])
