"""The sections of a recipe: loss terms and transfer, every number with its published default.

Plain pydantic models without torch, so that study files can be checked on a machine that never trains. What the
numbers do is left to the modules of `nas.training.losses`; the section `augmentation` is `nas.data.augmentation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
LossForm = Literal["paper", "released"]
"""A loss as its paper states it, or as its authors' released code computes it, where the two differ."""


class SettingsSection(BaseModel):
    """Base of all sections: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class CrossEntropy(SettingsSection):
    """Identity classification on the feature after the BNNeck."""

    weight: NonNegative = Field(1.0, description="factor of the term in the loss")
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.1, description="eps/C form")


class Triplet(SettingsSection):
    """Batch-hard triplet on the feature before the BNNeck, Euclidean, not normalised."""

    weight: NonNegative = Field(1.0, description="factor of the term in the loss")
    margin: NonNegative = Field(0.3, description="least gap between the hardest negative and the hardest positive")
    soft_margin: bool = Field(False, description="softplus instead of the margin")


class WeightedTriplet(SettingsSection):
    """Weighted regularised triplet (AGW): no margin, no mining."""

    weight: NonNegative = Field(1.0, description="factor of the term in the loss")
    form: LossForm = Field("paper", description="released: as the authors' code computes it, see losses")


class Center(SettingsSection):
    """Center loss; its gradient on the centres is divided by the weight, so `lr` alone sets their speed."""

    weight: Positive = Field(5e-4, description="factor of the term in the loss")
    lr: Positive = Field(0.5, description="learning rate of plain SGD on the centres")


class PairwiseCircle(SettingsSection):
    """Circle loss, pairwise form, on L2-normalised features."""

    weight: NonNegative = Field(1.0, description="factor of the term in the loss")
    margin: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.25, description="relaxation m of the published loss")
    gamma: Positive = Field(128.0, description="scale of the published loss")
    feature: Literal["pooled", "embedding"] = Field("embedding", description="before or after the BNNeck")


class CircleSoftmax(SettingsSection):
    """Circle loss, class-level form, on the cosines between embedding and classifier weights."""

    weight: NonNegative = Field(1.0, description="factor of the term in the loss")
    scale: Positive = Field(64.0, description="scale s of the published loss")
    margin: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.35, description="relaxation m of the published loss")


class ArcFace(SettingsSection):
    """Additive angular margin on the cosines between embedding and classifier weights."""

    weight: NonNegative = Field(1.0, description="factor of the term in the loss")
    scale: Positive = Field(64.0, description="scale s of the published loss")
    margin: Annotated[float, Field(ge=0.0, lt=3.14)] = Field(0.5, description="angle m in radians")


class CosFace(SettingsSection):
    """Additive margin on the cosines between embedding and classifier weights."""

    weight: NonNegative = Field(1.0, description="factor of the term in the loss")
    scale: Positive = Field(64.0, description="scale s of the published loss")
    margin: Annotated[float, Field(ge=0.0, lt=2.0)] = Field(0.35, description="margin m of the published loss")


class Contrastive(SettingsSection):
    """Contrastive loss on L2-normalised features, over all pairs of a batch."""

    weight: NonNegative = Field(1.0, description="factor of the term in the loss")
    margin: Annotated[float, Field(gt=0.0, le=2.0)] = Field(1.0, description="least distance of other identities")
    feature: Literal["pooled", "embedding"] = Field("pooled", description="before or after the neck")


class Orthogonality(SettingsSection):
    """Spectral orthogonality: spread of the eigenvalues of F F^T (final feature map) or W W^T (convolutions)."""

    weight: NonNegative = Field(description="factor of the term in the loss")
    form: LossForm = Field("paper", description="released: with the strength of ABD-Net's code, see losses")


TeacherLoss = Literal["logits", "features", "relations"]


def _one_or_several(item: dict[str, object]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})


class Distillation(SettingsSection):
    """The network also learns what trained teachers say of the same images."""

    teacher: Annotated[tuple[Path, ...], _one_or_several({"type": "string"})] = Field(
        min_length=1, description="checkpoint of a trained network, or a list of them"
    )
    loss: Annotated[tuple[TeacherLoss, ...], _one_or_several({"enum": [*get_args(TeacherLoss)]})] = Field(
        ("logits",), min_length=1, description="what is learned of them; a list adds up"
    )
    weight: Positive = Field(1.0, description="factor of each of these terms in the loss")
    temperature: Positive = Field(4.0, description="logits only: what both sides' logits are divided by")
    sha256: tuple[str, ...] = Field((), description="of the teachers' files; written by the program")

    @field_validator("teacher", "loss", mode="before")
    @classmethod
    def _several(cls, given: object) -> object:
        return [given] if isinstance(given, (str, Path)) else given

    @field_validator("loss")
    @classmethod
    def _once(cls, loss: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(loss)) < len(loss):
            raise ValueError("a loss is named twice")
        return loss


HEAD_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "bnneck": (),
    "plain": (),
    "fc": ("features",),
    "pcb": ("parts", "features"),
}
"""The shipped heads of `nas.networks.head`, and what each takes."""
PRETRAINED = "pretrained"


class Transfer(SettingsSection):
    """Two-step fine-tuning: first the new classifier alone, then everything."""

    source: Path = Field(
        alias="from",
        description="checkpoint of the source network, {id} is the candidate's id; pretrained: the study's own",
    )
    head_epochs: Annotated[int, Field(ge=0)] = Field(10, description="epochs that train only the classifier")
    head_lr: Positive | None = Field(
        None, description="learning rate of that step; the recipe's base_lr when not given"
    )

    @property
    def from_pretraining(self) -> bool:
        """Whether the source is a study's own `pretrain` stage instead of a file."""
        return str(self.source) == PRETRAINED

    def file_of(self, network: str) -> Path:
        """The source of the network of that id: `{id}` in the path stands for it."""
        return Path(str(self.source).replace("{id}", network))
