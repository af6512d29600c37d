"""A recipe: every number of a training, with the published strong baseline as the default.

Torch-free and frozen; equal recipes have equal ids. What the numbers do is left to the trainer. Defaults are the
published configuration of Luo et al. 2019 (Bag of Tricks), not its code's defaults.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, reduce
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from nas.data.augmentation import Augmentation
from nas.errors import SourceError, TrainingError, closest, unknown_name
from nas.files.hashes import hash_of_text, sha256_of
from nas.files.needed import needed
from nas.spaces.candidate import Candidate
from nas.spaces.plugins import code_names, is_part, unknown_part
from nas.spaces.sites import BACKBONES, is_foreign
from nas.training.fidelity import FINE_TUNING_EPOCHS, Fidelity, Pixels
from nas.training.named import NAMED
from nas.training.settings import (
    HEAD_SETTINGS,
    ArcFace,
    Center,
    CircleSoftmax,
    Contrastive,
    CosFace,
    CrossEntropy,
    Distillation,
    NonNegative,
    Orthogonality,
    PairwiseCircle,
    Positive,
    SettingsSection,
    Share,
    Transfer,
    Triplet,
    WeightedTriplet,
)

if TYPE_CHECKING:
    from nas.files.model_errors import Location
    from nas.files.yaml_source import YamlSource

SAMPLERS = ("pk",)
LOSS_TERMS = (
    "cross_entropy",
    "triplet",
    "weighted_triplet",
    "center",
    "pairwise_circle",
    "circle_softmax",
    "arcface",
    "cosface",
    "contrastive",
    "feature_orthogonality",
    "weight_orthogonality",
)
"""Terms a loss can be made of; each has a section of the same name in the recipe."""

IDENTITY_TERMS = frozenset({"cross_entropy", "circle_softmax", "arcface", "cosface"})
"""Terms with a gradient for the classifier; transfer's first step has only these."""

LOSS_SETUPS: Mapping[str, tuple[str, ...]] = {
    "ce": ("cross_entropy", "triplet", "center"),  # the strong baseline
    "circle": ("circle_softmax", "triplet", "center"),  # only the identity loss changes: one factor at a time
    "circle_pairwise": ("cross_entropy", "pairwise_circle"),
    "agw": ("cross_entropy", "weighted_triplet", "center"),
}
"""Named loss set-ups; anything else is written as terms joined by `+`."""

NOT_IN_ID = frozenset({"name", "keep", "evaluate_every", "checkpoint_seconds"})
"""Fields that leave the result as it is: where files stay, when the network is looked at."""

LATER = (
    "compile",
    "capture",
    "evaluation_precision",
    "distil",
    "head",
    "arcface",
    "cosface",
    "contrastive",
    "own_losses",
    "sampler",
    "begins",
)
"""Fields that came after the first recipes were stored: part of the id where they are not at their default, so that
ids of recipes of before these fields stay."""

FINE_TUNING_RATE = 0.3
"""A fine-tuning's rate as a share of the full recipe's: 3e-3 for the quickstart's 1e-2."""

MOST_FEATURES = 65_536
"""Features, or parts, of a head: thirty times what networks have; more would take the memory of the machine."""

Count = Annotated[int, Field(ge=1)]
Settings = dict[str, bool | int | float | str | None]
"""What a head or a loss takes, by name."""


class Recipe(SettingsSection):
    """Everything that decides how a candidate is trained. Frozen; unknown keys are refused.

    >>> Recipe().epochs, Recipe().base_lr, Recipe().batch
    (120, 0.00035, 64)
    """

    name: str = Field("strong_baseline", description="shown in tables; not part of the id")
    # The network's start
    weights: str | dict[str, str | None] | None = Field(
        "IMAGENET1K_V1", description="torchvision weights, a file, null for random, or one of these a backbone"
    )
    begins: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = Field(
        "", description="SHA-256 of the file that first weights come from; written by the program"
    )
    zero_residual: bool = Field(False, description="random ResNets only: residual branches start at zero")
    pooling: Literal["gap", "gem"] = Field("gap", description="global average or generalised mean pooling")
    head: str | dict[str, Settings] = Field(
        "bnneck", description="pcb, fc, plain or module:name; with settings {pcb: {parts: 6, features: 256}}"
    )
    classifier_std: Positive = Field(0.001, description="deviation of the classifier's initial weights")
    input: tuple[Pixels, Pixels] = Field((256, 128), description="image height and width in pixels")
    # Schedule: the learning rate of an epoch (or of a step, see `per`)
    epochs: Count = Field(120, description="of the whole schedule; a fidelity shrinks warm-up and milestones with it")
    base_lr: Positive = Field(3.5e-4, description="learning rate after the warm-up")
    schedule: Literal["steps", "cosine", "constant"] = Field(
        "steps", description="how the rate falls after the warm-up"
    )
    milestones: tuple[Count, ...] = Field((40, 70), description="epochs from which the rate is multiplied by `decay`")
    decay: Positive = Field(0.1, description="steps only: factor at each milestone")
    final_lr_factor: Share = Field(0.01, description="cosine only: the last rate as a share of base_lr")
    warmup_epochs: Annotated[int, Field(ge=0)] = Field(10, description="epochs in which the rate rises linearly")
    warmup_factor: Share = Field(0.01, description="where the linear warm-up starts, as a share of base_lr")
    per: Literal["epoch", "step"] = Field("epoch", description="whether the rate changes every epoch or every step")
    # Optimiser
    optimiser: Literal["adam", "adamw", "sgd"] = Field("adam", description="sgd has momentum, the others betas and eps")
    block_lr_factor: Positive = Field(1.0, description="factor of the learning rate of the blocks")
    weight_decay: NonNegative = Field(5e-4, description="on every trained parameter")
    betas: tuple[Share, Share] = Field((0.9, 0.999), description="adam and adamw only")
    eps: Positive = Field(1e-8, description="adam and adamw only")
    momentum: Share = Field(0.9, description="sgd only")
    clip_norm: Positive | None = Field(None, description="largest norm of the gradient; null for no clipping")
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        None, description="averaged weights are the ones evaluated and kept; null for none"
    )
    # Batches: P identities x K images
    identities: Annotated[int, Field(ge=2)] = Field(16, description="P: persons a batch")
    images: Annotated[int, Field(ge=2, le=1_024)] = Field(4, description="K: images a person")
    camera_aware: bool = Field(False, description="the K images of an identity prefer different cameras")
    sampler: str = Field("pk", description="what puts batches together: P x K, or module:name of one's own")
    augmentation: Augmentation = Augmentation()
    # Loss: a set-up (ce, circle, ...) or terms joined by +, and one section of numbers a term
    loss: str = Field("ce", description="a set-up, or terms joined by +; see losses")
    cross_entropy: CrossEntropy = CrossEntropy()
    triplet: Triplet = Triplet()
    weighted_triplet: WeightedTriplet = WeightedTriplet()
    center: Center = Center()
    pairwise_circle: PairwiseCircle = PairwiseCircle()
    circle_softmax: CircleSoftmax = CircleSoftmax()
    arcface: ArcFace = ArcFace()
    cosface: CosFace = CosFace()
    contrastive: Contrastive = Contrastive()
    own_losses: dict[str, Settings] = Field(
        default={}, description="settings of losses of one's own, by name: weight (1), and what they take"
    )
    feature_orthogonality: Orthogonality = Orthogonality(weight=1e-6)
    weight_orthogonality: Orthogonality = Orthogonality(weight=1e-3)
    # Numerics
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where it is faster, fp16 on older GPUs, else fp32, which is without TF32"
    )
    channels_last: bool = Field(True, description="activations stored channels last")
    compile: bool = Field(False, description="torch.compile the network; pays off in long trainings")
    capture: bool = Field(False, description="GPU only: each step replays one recorded CUDA graph")
    evaluation_precision: Literal["fp32", "training"] = Field(
        "fp32", description="training: embeddings in autocast, as trained"
    )
    deterministic: bool = Field(
        True, description="deterministic algorithms on a GPU too; own blocks without any warn, and may differ"
    )
    # Transfer, evaluation and files
    transfer: Transfer | None = None
    distil: Distillation | None = None
    rerank: bool = Field(False, description="k-reciprocal re-ranking (20, 6, 0.3) in the evaluation; always named")
    evaluate_every: Count | None = Field(None, description="also evaluate every n epochs; the last epoch is the score")
    keep: Literal["last", "best", "none"] = Field("last", description="which weights stay on disk afterwards")
    checkpoint_seconds: NonNegative = Field(60.0, description="least time between two checkpoints in a training")

    @field_validator("weights", mode="before")
    @classmethod
    def _no_weights(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return {name: _none_if_none(source) for name, source in value.items()}
        return _none_if_none(value)

    @field_validator("weights")
    @classmethod
    def _known_backbones(cls, value: object) -> object:
        for name in value if isinstance(value, dict) else ():
            if not (name in BACKBONES or is_foreign(name)):
                raise ValueError(unknown_name("backbone", name, BACKBONES))
        return value

    @field_validator("sampler")
    @classmethod
    def _known_sampler(cls, value: str) -> str:
        if not is_part("sampler", value, SAMPLERS):
            raise ValueError(unknown_part("sampler", value, SAMPLERS))
        return value

    @field_validator("head")
    @classmethod
    def _known_head(cls, value: str | dict[str, Settings]) -> str | dict[str, Settings]:
        if isinstance(value, dict) and len(value) != 1:
            raise ValueError("give one head, as {pcb: {parts: 6}}")
        name, settings = _head(value)
        if not is_part("head", name, HEAD_SETTINGS):
            raise ValueError(unknown_part("head", name, HEAD_SETTINGS))
        for key, given in settings.items() if name in HEAD_SETTINGS else ():
            if key not in HEAD_SETTINGS[name]:
                raise ValueError(unknown_name(f"setting of {name}", key, HEAD_SETTINGS[name]))
            if type(given) is not int or not 1 <= given <= MOST_FEATURES:
                raise ValueError(f"{key} of {name} must be a whole number from 1 to {MOST_FEATURES}")
        return value if settings else name

    @field_validator("own_losses")
    @classmethod
    def _known_weights(cls, value: dict[str, Settings]) -> dict[str, Settings]:
        for name, settings in value.items():
            weight = settings.get("weight", 1.0)
            if type(weight) not in (int, float) or not 0 <= weight < math.inf:  # type: ignore[operator]
                raise ValueError(f"weight of {name} must be a number of at least 0, not {weight!r}")
        return value

    @field_validator("loss", mode="before")
    @classmethod
    def _join_terms(cls, value: object) -> object:
        return "+".join(map(str, value)) if isinstance(value, (list, tuple)) else value

    @field_validator("loss")
    @classmethod
    def _known_terms(cls, value: str) -> str:
        loss_terms(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.keep == "best" and self.evaluate_every is None:
            raise ValueError("keep: best needs evaluate_every, or no epoch is ever known to be best")
        if self.head_epochs and not IDENTITY_TERMS & set(self.terms):
            known = ", ".join(sorted(IDENTITY_TERMS))
            raise ValueError(f"transfer trains the classifier first, which needs one of {known}")
        if unused := sorted(set(self.own_losses) - set(self.own_terms)):
            raise ValueError(f"own_losses has settings of {unused[0]}, which loss does not name")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        return self

    def weights_of(self, backbone: str) -> str | None:
        """Where the pretrained weights of a backbone come from; None for random ones.

        Raises:
            TrainingError: when the recipe lists weights for other backbones only.
        """
        if not isinstance(self.weights, dict):
            return self.weights
        if backbone not in self.weights:
            raise TrainingError(
                f"the recipe's weights name {', '.join(self.weights)}, but not {backbone}",
                f"add {backbone}: a file or torchvision's name, or null to train it from random weights",
            )
        return self.weights[backbone]

    @property
    def batch(self) -> int:
        """Images a step: P x K."""
        return self.identities * self.images

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the loss terms in use."""
        return loss_terms(self.loss)

    @property
    def own_terms(self) -> tuple[str, ...]:
        """The terms that are losses of one's own."""
        return tuple(term for term in self.terms if term not in LOSS_TERMS)

    def loss_weight(self, term: str) -> float:
        """Factor of a term in the loss."""
        if term in LOSS_TERMS:
            return float(getattr(self, term).weight)
        return float(self.own_losses.get(term, {}).get("weight", 1.0))  # type: ignore[arg-type]

    def loss_settings(self, term: str) -> Settings:
        """What a loss of one's own takes."""
        return {key: value for key, value in self.own_losses.get(term, {}).items() if key != "weight"}

    @property
    def head_name(self) -> str:
        """The head, without its settings."""
        return _head(self.head)[0]

    @property
    def head_settings(self) -> Settings:
        """What the head takes, where it is not at its default."""
        return _head(self.head)[1]

    @property
    def own_code(self) -> frozenset[str]:
        """The `module:name` of head, losses, sampler and augmentations that do not ship with this package."""
        return (
            code_names("head", [self.head_name], HEAD_SETTINGS)
            | code_names("sampler", [self.sampler], SAMPLERS)
            | code_names("loss", self.own_terms, ())
            | code_names("augmentation", self.augmentation.own, ())
        )

    @property
    def head_epochs(self) -> int:
        """Epochs of transfer's first step; they come before `epochs`."""
        return self.transfer.head_epochs if self.transfer else 0

    @property
    def total_epochs(self) -> int:
        """All epochs of a training, transfer's first step included."""
        return self.head_epochs + self.epochs

    @property
    def id(self) -> str:
        """16 hex digits, equal for equal trainings (see `NOT_IN_ID`, `LATER`).

        Teachers and first weights whose content is known (`with_weights`) count by it, not by where they lie.
        """
        usual = {name for name in LATER if getattr(self, name) == type(self).model_fields[name].default}
        content = self.model_dump(mode="json", by_alias=True, exclude=set(NOT_IN_ID | usual))
        if self.distil is not None and self.distil.sha256:
            del content["distil"]["teacher"]
        if self.begins and self.transfer is None:
            del content["weights"]
        elif self.begins:
            del content["transfer"]["from"]
        return hash_of_text(json.dumps(content, sort_keys=True))

    def to_dict(self) -> dict[str, object]:
        """JSON data that `load_recipe` turns back into an equal recipe."""
        return self.model_dump(mode="json", by_alias=True)

    def with_overrides(self, overrides: Mapping[str, object]) -> Recipe:
        """A copy with some fields changed; `a.b` reaches into a section.

        >>> Recipe().with_overrides({"base_lr": 1e-3, "triplet.margin": 0.5}).triplet.margin
        0.5

        Raises:
            TrainingError: naming the key that is unknown or has a value that cannot be.
        """
        return _validated(_merged(self.to_dict(), overrides)) if overrides else self

    def at(self, fidelity: Fidelity | None) -> Recipe:
        """The recipe at a fidelity: fewer epochs shrink warm-up and milestones with them.

        >>> Recipe().at(Fidelity(epochs=60)).milestones
        (20, 35)
        """
        if fidelity is None:
            return self
        changes: dict[str, object] = {} if fidelity.input is None else {"input": fidelity.input}
        if fidelity.epochs is not None and fidelity.epochs != self.epochs:
            changes |= self._shrunk_schedule(fidelity.epochs)
        given = {"base_lr": fidelity.base_lr, "warmup_epochs": fidelity.warmup_epochs}
        changes |= {key: value for key, value in given.items() if value is not None}
        return self.with_overrides(changes)

    def fine_tuned(self, fidelity: Fidelity | None = None) -> Recipe:
        """The recipe of a short training that goes on from a trained network, which a transfer may have led to.

        What the fidelity leaves open: four epochs, the first of them warm-up, a third of the rate. The rate falls to
        nothing by cosine from step to step, whatever the recipe's own schedule. Measured on generated pedestrians: one
        epoch tells nothing, four have a noise of .002 to .0026 mAP between networks of one seed, eight no less.

        >>> short = Recipe().fine_tuned()
        >>> short.epochs, short.warmup_epochs, f"{short.base_lr:.3g}", short.schedule
        (4, 1, '0.000105', 'cosine')
        """
        given = fidelity or Fidelity()
        epochs = given.epochs or FINE_TUNING_EPOCHS
        schedule = {"schedule": "cosine", "per": "step", "final_lr_factor": min(self.final_lr_factor, 0.01)}
        own = {"base_lr": FINE_TUNING_RATE * self.base_lr, "warmup_epochs": int(epochs > 1)}
        return self.with_overrides(schedule | {"epochs": epochs, "transfer": None} | own).at(given)

    def _shrunk_schedule(self, epochs: int) -> dict[str, object]:
        share = epochs / self.epochs
        return {
            "epochs": epochs,
            "warmup_epochs": round(self.warmup_epochs * share),
            "milestones": sorted({max(1, round(m * share)) for m in self.milestones}),
        }

    @classmethod
    def named(cls, name: str) -> Recipe:
        """A recipe by its name; the known ones are in `nas.training.named`."""
        if name not in NAMED:
            raise RecipeError(unknown_name("recipe", name, NAMED))
        return _validated({"name": name, **NAMED[name]})


def with_paths(recipe: Recipe, find: Callable[[Path], Path], candidate: Candidate | None = None) -> Recipe:
    """The recipe with the paths of teachers, first weights and transfer as they are on this machine.

    Args:
        find: gives the place of what a path names.
        candidate: whose transfer is meant where its path holds `{id}`.
    """
    changes: dict[str, object] = {}
    if recipe.distil is not None:
        changes["distil"] = {"teacher": [str(find(path)) for path in recipe.distil.teacher]}
    if recipe.transfer is not None and not recipe.transfer.from_pretraining:
        source = recipe.transfer.source if candidate is None else recipe.transfer.file_of(candidate.architecture.id)
        changes["transfer"] = {"from": str(find(source))}
    elif isinstance(recipe.weights, dict):
        changes["weights"] = {name: source and str(find(Path(source))) for name, source in recipe.weights.items()}
    elif recipe.weights is not None:
        changes["weights"] = str(find(Path(recipe.weights)))
    return recipe.with_overrides(changes)


def with_teachers(recipe: Recipe) -> Recipe:
    """The recipe with the SHA-256 of its teachers' files in it: its id then names them by content, wherever they lie.

    Raises:
        SourceError: a teacher is missing, or is not the file that the recipe was planned with.
    """
    if recipe.distil is None:
        return recipe
    found = []
    for path in recipe.distil.teacher:
        if not path.is_file():
            raise SourceError(f"distil: there is no teacher {path}", "Train it first, or name its checkpoint.")
        at = path.stat()
        found.append(_hash(path, at.st_mtime_ns, at.st_size))
    if recipe.distil.sha256 not in ((), tuple(found)):
        raise SourceError(
            "distil: a teacher's file is not the one that this training was planned with",
            "Bring the old file back, or plan anew in a study of another name.",
        )
    return recipe.with_overrides({"distil": {"sha256": found}})


def files_of(recipe: Recipe) -> dict[str, list[str]]:
    """SHA-256 of the files here that trainings begin from or learn of, by name; not those that each candidate has."""
    sources = recipe.weights.values() if isinstance(recipe.weights, dict) else [recipe.weights]
    paths = [Path(source).expanduser() for source in sources if source is not None]
    if recipe.transfer is not None:
        paths = [] if recipe.transfer.from_pretraining else [recipe.transfer.source]
    paths += [] if recipe.distil is None else recipe.distil.teacher
    found: dict[str, list[str]] = {}
    for path in filter(Path.is_file, dict.fromkeys(paths)):
        at = path.stat()
        found.setdefault(path.name, []).append(_hash(path, at.st_mtime_ns, at.st_size))
    return found


def with_weights(recipe: Recipe, candidate: Candidate) -> Recipe:
    """The recipe with the SHA-256 of the file that a candidate's first weights, or its transfer, come from.

    Published weights count by their name, sources that a study pretrains by the file that it left.

    Raises:
        SourceError: the file is missing, cannot be read, or is not the one that the recipe was planned with.
    """
    if recipe.transfer is not None:
        path = None if recipe.transfer.from_pretraining else recipe.transfer.file_of(candidate.architecture.id)
    else:
        source = recipe.weights_of(candidate.backbone)
        path = None if source is None else Path(source).expanduser()
    if path is None:
        return recipe
    if not path.is_file():
        is_name = recipe.transfer is None and not path.suffix and len(path.parts) == 1
        if is_name or recipe.begins:
            return recipe
        what = "weights file at" if recipe.transfer is None else "checkpoint"
        raise SourceError(f"there is no {what} {path}", "Put it there, or give the path of another.")
    try:
        at = path.stat()
        found = _hash(path, at.st_mtime_ns, at.st_size)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}", "Look at its permissions.") from error
    if recipe.begins not in ("", found):
        raise SourceError(
            f"{path} is not the file that this training was planned with",
            "Bring the old file back, or plan anew in a study of another name.",
        )
    return recipe.with_overrides({"begins": found})


@lru_cache
def _hash(path: Path, changed: int, size: int) -> str:
    return sha256_of(path)


def _head(value: str | Mapping[str, Settings]) -> tuple[str, Settings]:
    """Name and settings of a head."""
    return (value, {}) if isinstance(value, str) else next(iter(value.items()))


def _none_if_none(value: object) -> object:
    return None if value in ("none", "null", "") else value


def loss_terms(loss: str) -> tuple[str, ...]:
    """The terms of a loss, given as a set-up or as terms joined by `+`.

    >>> loss_terms("ce"), loss_terms("cross_entropy+pairwise_circle")
    (('cross_entropy', 'triplet', 'center'), ('cross_entropy', 'pairwise_circle'))

    Raises:
        ValueError: for an unknown or repeated term.
    """
    terms = LOSS_SETUPS.get(loss) or tuple(loss.split("+"))
    for term in terms:
        if term in LOSS_SETUPS and len(terms) > 1:
            raise ValueError(f"loss {term!r} is a whole set-up; in a sum write {'+'.join(LOSS_SETUPS[term])} for it")
        if not is_part("loss", term, LOSS_TERMS):
            raise ValueError(unknown_part("loss", term, [*LOSS_SETUPS, *LOSS_TERMS]))
    if len(set(terms)) < len(terms):
        raise ValueError(f"loss {loss!r} names a term twice")
    return terms


class RecipeError(TrainingError):
    """A key or value of a recipe is not valid; `location` are the keys that lead to it."""

    location: Location = ()


def recipe_in(source: YamlSource, at: Location = ()) -> Recipe:
    """The recipe that a YAML file is, or that stands in it; a `TrainingError` with file, line and column."""
    try:
        return load_recipe(reduce(getitem, at, source.data))
    except RecipeError as error:
        raise RecipeError(f"{source.where((*at, *error.location))}: {error.message}", error.hint) from error


def load_recipe(spec: str | Mapping[str, object] | Recipe) -> Recipe:
    """A recipe from its name, from `{extends: NAME, key: value, ...}`, or itself.

    >>> load_recipe({"extends": "strong_baseline", "epochs": 60}).epochs
    60

    Raises:
        TrainingError: for an unknown name or key, or a value that cannot be; the sentence names it.
    """
    if isinstance(spec, Recipe):
        return spec
    if isinstance(spec, str):
        return Recipe.named(spec)
    if not isinstance(spec, Mapping) or not all(isinstance(key, str) for key in spec):
        raise TrainingError("a recipe is a name, or keys with their values like {extends: strong_baseline, epochs: 60}")
    changes = dict(spec)
    base = Recipe.named(str(changes.pop("extends", "strong_baseline")))
    return base.with_overrides(changes)


def _merged(base: dict[str, object], overrides: Mapping[str, object]) -> dict[str, object]:
    """`base` with overrides laid over it, section by section; a head comes whole, in the place of another."""
    for key, value in overrides.items():
        step, rest = _first_step(str(key), base)
        inner = base.get(step)
        if rest:
            base[step] = _merged(dict(inner) if isinstance(inner, dict) else {}, {rest: value})
        elif isinstance(value, Mapping) and isinstance(inner, dict) and step != "head":
            base[step] = _merged(dict(inner), value)
        else:
            base[step] = value
    return base


def _first_step(path: str, known: Mapping[str, object]) -> tuple[str, str]:
    """The first key of a path `a.b`, and the rest; `package.module:name` is one key.

    >>> _first_step("own_losses.my.parts:focal.weight", {"own_losses": {}})
    ('own_losses', 'my.parts:focal.weight')
    >>> _first_step("my.parts:focal.weight", {})
    ('my.parts:focal', 'weight')
    """
    first, _, rest = path.partition(".")
    named = re.match(r"[\w.]+:\w+", path)
    if named is None or first in known:
        return first, rest
    return named[0], path[named.end() :].removeprefix(".")


def _validated(data: Mapping[str, object]) -> Recipe:
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        refused = RecipeError(_sentence(error))
        refused.location = error.errors()[0]["loc"]
        raise refused from error


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _known_keys(first["loc"][:-1])
        guess = closest(str(first["loc"][-1]), known)
        return f"recipe: unknown key {path!r}; " + (f"did you mean {guess!r}?" if guess else f"known: {known}")
    what = needed(first)
    return f"recipe: {what}" if not path else f"recipe: {path}: {what} (it is {first['input']!r})"


_OPTIONAL: Mapping[str, type[SettingsSection]] = {"transfer": Transfer, "distil": Distillation}


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    if not path:
        return list(Recipe.model_fields)
    kind = _OPTIONAL.get(str(path[0])) or type(Recipe.model_fields[str(path[0])].default)
    return [field.alias or name for name, field in kind.model_fields.items()]
