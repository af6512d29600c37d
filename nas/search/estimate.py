"""What a study will cost before it runs: stages, sizes of spaces, trainings, hours.

A training is its epochs over the images that are really drawn, at the speed of its own backbone and as much slower as a
few candidates of the space are, transfer's head epochs (no backward pass), and its evaluation; a latency is its builds,
warm-up and batches, in turns with the plain network. Speeds come from trainings of the same recipe in the database, or
from a few timed steps on this machine; both are estimates and say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nas import training
from nas.data.readers import PUBLISHED
from nas.errors import DataError
from nas.files.plain import JsonDict
from nas.search.context import SELECT, SOURCE, StudyParts
from nas.search.definition import StageDefinition
from nas.search.launchers.local import usable_cores
from nas.search.stages import HANDLERS, Preview
from nas.search.stages.shrink import fidelity_of
from nas.spaces import Candidate, DesignSpace
from nas.training.failures import fault_of, is_out_of_memory
from nas.training.fidelity import Fidelity

if TYPE_CHECKING:
    from nas.data import ReidDataset
    from nas.storage import Repository
    from nas.training import Recipe, Speed

MEASURE_OVERHEAD_S = 1.0
"""Building, folding and loading a network, a build."""
TRAINING_OVERHEAD_S = 1.0
"""Of a training beside its steps and its evaluation: planning, building, counting, first weights, checkpoint."""
PROBED = 4
"""Candidates whose steps are timed. In the quickstart blocks slow a training by 0 to 40 %: the mean of four is known to
about 5 %."""
WITH_BLOCKS = frozenset({"sweep", "shrink", "auto_shrink", "search", "confirm", "test_rules"})
"""Kinds of stages whose trainings are mostly of networks with blocks."""
FORWARD = 1 / 3
"""Share of a training step that a forward pass takes: a backward pass costs twice as much."""


@dataclass(frozen=True)
class StageEstimate:
    """One stage of a dry run; hours are None when nothing is known of the speed, `timing` are those of latencies."""

    name: str
    kind: str
    preview: Preview
    hours: float | None
    timing: float | None = 0.0


@dataclass(frozen=True)
class StudyEstimate:
    """A dry run.

    Attributes:
        space_size: exact number of candidates of the first space; shrinking makes it smaller.
        stages: in order.
        images: training images an epoch, at full fidelity, of what is selected on.
        workers: that train at the same time, as the study says.
        images_per_s: training speed; None when it could not be found.
        basis: where the speed comes from.
    """

    space_size: int
    stages: tuple[StageEstimate, ...]
    images: int | None
    images_per_s: float | None
    basis: str
    workers: int = 1

    @property
    def trainings(self) -> int:
        """Trainings of all stages, at most."""
        return sum(stage.preview.trainings for stage in self.stages)

    @property
    def hours(self) -> float | None:
        """Hours of all stages on one worker; None when a stage's is unknown."""
        known = [stage.hours for stage in self.stages]
        return None if any(h is None for h in known) else sum(h for h in known if h is not None)

    @property
    def hours_together(self) -> float | None:
        """Hours until the end where the study's workers share the trainings; latencies are timed one by one, and
        nothing trains meanwhile.

        What is left over keeps some workers idle: the one training of a start takes as long with two of them.
        """
        if self.hours is None:
            return None
        numbers = [stage.preview.trainings for stage in self.stages]
        shares = [math.ceil(n / self.workers) / n if n else 1.0 for n in numbers]
        timed = [stage.timing or 0.0 for stage in self.stages]
        trained = [(stage.hours or 0.0) - timing for stage, timing in zip(self.stages, timed, strict=True)]
        return sum(timed) + sum(hours * share for hours, share in zip(trained, shares, strict=True))

    def to_dict(self) -> JsonDict:
        """Plain data for `--json`."""
        stages = [
            {
                "stage": s.name,
                "kind": s.kind,
                "trainings": s.preview.trainings,
                "epochs": s.preview.epochs,
                "measurements": s.preview.measurements,
                "hours": s.hours,
                "note": s.preview.note,
            }
            for s in self.stages
        ]
        totals = {"space_size": str(self.space_size), "trainings": self.trainings, "hours": self.hours}
        totals |= {"workers": self.workers, "hours_together": self.hours_together}
        return {**totals, "images_per_s": self.images_per_s, "basis": self.basis, "stages": stages}


def estimate(context: StudyParts, *, probe: bool = True) -> StudyEstimate:
    """Estimates a study without starting it.

    Args:
        context: the study; where it has begun in its database, its own trainings tell their speed.
        probe: time a few training steps when the database knows no speed. Nothing is timed where nothing
            trains, or where it is not known on how many images.
    """
    stages = context.definition.named_stages()
    previews = [HANDLERS[stage.kind].preview(context, space_at(context, stage), stage.settings) for stage in stages]
    trains = context.trains and any(preview.trainings for preview in previews)
    costs = _Costs(context)
    images = costs.images(context.search_view, context.recipe) if trains else None
    costs.may_probe = probe and images is not None
    found = tuple(
        StageEstimate(stage.name, stage.kind, preview, costs.hours(stage, preview), costs.timing(preview))
        for stage, preview in zip(stages, previews, strict=True)
    )
    speed = costs.speed(context.baselines[0], context.recipe) if trains else None
    basis = costs.basis if trains or not context.trains else costs.latency_basis
    told = None if speed is None else speed.train
    return StudyEstimate(context.space.size(), found, images, told, basis, context.definition.workers)


def space_at(context: StudyParts, stage: StageDefinition) -> DesignSpace:
    """The space that a stage works in, as far as it is known: what a shrink leaves is not."""
    return context.space if stage.kind in ("profile", "tune") else context.searched


@dataclass
class _Costs:
    """Seconds of trainings and of latencies, with what they rest on.

    Attributes:
        context: the study.
        may_probe: whether steps may be timed here.
    """

    context: StudyParts
    may_probe: bool = False
    _speeds: dict[str, Speed | None] = field(default_factory=dict)

    @cached_property
    def _database(self) -> Repository | None:
        """Where the study has begun; None before."""
        database, name = self.context.repository, self.context.definition.name
        return database if database and any(study.name == name for study in database.studies()) else None

    def hours(self, stage: StageDefinition, preview: Preview) -> float | None:
        """Of a stage; None when nothing is known of a speed that it needs."""
        if self.context.replay is not None:
            return 0.0
        if self.context.trainer is not None:
            return self._own_hours(preview)
        timing = self.timing(preview)
        parts = [None if timing is None else 3600 * timing]
        if preview.trainings:
            view, recipe = self._trained(stage, preview)
            first = preview.trainings - sum(preview.on.values())
            plain = {self.context.baselines[0]: first, **preview.on}
            share = self._fidelity(stage).identities_share * (self.slowdown if stage.kind in WITH_BLOCKS else 1.0)
            parts += [self._trainings(share * n, network, recipe, view) for network, n in plain.items() if n]
            parts.append(TRAINING_OVERHEAD_S * preview.trainings)
        known = [part for part in parts if part is not None]
        return sum(known) / 3600 if len(known) == len(parts) else None

    def timing(self, preview: Preview) -> float | None:
        """Hours of a stage's latencies; None when nothing is known of a batch's time."""
        count = preview.measurements + preview.networks if self.context.trains else 0
        each = self.latency_s if count else 0.0
        return None if each is None else count * each / 3600

    def _own_hours(self, preview: Preview) -> float | None:
        """From the median time that one's own trainer took so far; None before its first training."""
        if not preview.trainings or self._database is None:
            return None if preview.trainings else 0.0
        known = self._database.results(self.context.definition.name)["seconds"].dropna()
        return preview.trainings * float(known.median()) / 3600 if len(known) else None

    def _trained(self, stage: StageDefinition, preview: Preview) -> tuple[str, Recipe]:
        """The view of a stage's trainings, and its recipe with the preview's epochs."""
        view = self.context.view_of(stage)
        recipe = self.context.recipe_of(view)
        size = self._fidelity(stage).input or recipe.input
        warm = any(start.is_warm for start in self.context.definition.starts_of(stage.settings))
        changes = {"epochs": preview.epochs, "input": size} | ({"transfer": None} if warm else {})
        return view, recipe.with_overrides(changes)

    def _fidelity(self, stage: StageDefinition) -> Fidelity:
        if stage.kind == "shrink":
            return fidelity_of(self.context, stage.settings)
        return getattr(stage.settings, "fidelity", None) or Fidelity()

    def _trainings(self, number: float, network: Candidate, recipe: Recipe, view: str) -> float | None:
        """Seconds of so many trainings of a network."""
        speed, images = self.speed(network, self.context.recipe_of(view)), self.images(view, recipe)
        if speed is None or images is None:
            return None
        full = self.context.recipe_of(view).input
        pixels = recipe.input[0] * recipe.input[1] / (full[0] * full[1])
        looks = 1 + (recipe.epochs // recipe.evaluate_every if recipe.evaluate_every else 0)
        trained = images * recipe.epochs / speed.train
        passed = (images * recipe.head_epochs + looks * self._evaluated(view)) / speed.infer
        return number * pixels * (trained + passed)

    def speed(self, network: Candidate, recipe: Recipe) -> Speed | None:
        """Of a plain network; timed here where the database knows none of its trainings."""
        if network.notation not in self._speeds:
            self._speeds[network.notation] = self._known_speed(network) or self._probed(network, recipe)
        return self._speeds[network.notation]

    @cached_property
    def slowdown(self) -> float:
        """How many times as long a training takes with blocks, by the mean of some candidates; 1 where steps of
        candidates were not timed, or are in the speed already, as in that of this study's own trainings (before the
        first with blocks has ended they are not, and what is left is told too short).
        """
        plain, space = self.context.baselines[0], self.context.searched
        if self._known_speed(plain) is not None or (known := self.speed(plain, self.context.recipe)) is None:
            return 1.0
        drawn = space.sample(min(PROBED, space.size()), np.random.default_rng(self.context.definition.seed))
        drawn = [candidate for candidate in drawn if candidate.baseline == plain]
        found = [self._probed(candidate, self.context.recipe) for candidate in drawn]
        alike = [known.train / speed.train for speed in found if speed is not None and speed.batch == known.batch]
        return max(1.0, sum(alike) / len(alike)) if alike else 1.0

    def _known_speed(self, network: Candidate) -> Speed | None:
        known = self._stored.get(network.notation)
        if known is None:
            return None
        return training.Speed(known, known / FORWARD, self.context.recipe.batch)

    @cached_property
    def _stored(self) -> dict[str, float]:
        """Median images a second of the study's own trainings, by plain network."""
        if self._database is None or self.context.replay is not None:
            return {}
        rows = self._database.results(self.context.definition.name).dropna(subset=["images_per_s"])
        plain = rows["notation"].map(lambda text: Candidate.parse(text).baseline.notation)
        return {str(name): float(v) for name, v in rows["images_per_s"].groupby(plain).median().items()}

    def _probed(self, network: Candidate, recipe: Recipe) -> Speed | None:
        if not self.may_probe:
            return None
        workers = self.context.definition.workers
        threads = None if self.context.device.startswith("cuda") else max(1, usable_cores() // workers)
        try:
            return training.probe(network, recipe, self.context.device, threads)
        except Exception as error:  # of one's own block anything: the study books it as a failed training
            if not is_out_of_memory(error) and not (network.placements and fault_of(error) == "candidate"):
                raise
            return None  # or not even the smallest batch fits into this machine's memory

    @property
    def basis(self) -> str:
        """Where the speeds come from."""
        if self.context.replay is not None:
            return "results come from a table"
        if self.context.trainer is not None:
            return "trainings are one's own: the median of those that ended"
        if self._stored:
            return "median of the trainings of this study"
        timed = [name for name, speed in self._speeds.items() if speed is not None]
        if not timed:
            return "unknown"
        small = min(speed.batch for speed in self._speeds.values() if speed is not None)
        batch = "" if small >= self.context.recipe.batch else f" with batches of {small} images"
        slowdown = vars(self).get("slowdown", 1.0)  # known where a stage needed it; none is timed for these words
        slow = f"; with blocks {slowdown:.2f} times as long" if slowdown > 1.0 else ""
        return f"timed training steps of {', '.join(timed)} on this machine{batch}{slow}"

    @property
    def latency_basis(self) -> str:
        """What is known of a batch's time where nothing trains."""
        if self.latency_s is None:
            return "nothing trains; how long a batch takes on the latency device is not known before one was timed"
        return "nothing trains"

    @cached_property
    def latency_s(self) -> float | None:
        """Seconds of one latency: each build's warm-up and its batches, in turns with the plain network."""
        own = self.context.protocol.resolved()
        if own.batches is None:
            a_build: float | None = own.time_budget_s
        else:
            batch_s = self._batch_s()
            a_build = None if batch_s is None else 2 * own.batches * batch_s
        if a_build is None:
            return None
        return own.builds * (a_build + 2 * (own.warmup_s or 0.0) + MEASURE_OVERHEAD_S)

    def _batch_s(self) -> float | None:
        """Seconds of a timed batch of the plain network: as it was measured, else as fast as features are taken."""
        baseline = self.context.baselines[0]
        if self._database is not None:
            costs = self._database.costs(self.context.definition.name)
            known = costs.loc[costs["notation"] == baseline.notation, "latency_ms"].dropna()
            if len(known):
                return float(known.iloc[0]) / 1000
        speed = self.speed(baseline, self.context.recipe) if self.may_probe or self._stored else None
        return None if speed is None else self.context.protocol.batch / speed.infer

    def images(self, view: str, recipe: Recipe) -> int | None:
        """Images that an epoch draws: whole batches of the sampler, or the published number where no data are here."""
        dataset = self._dataset(view)
        if dataset is None:
            return self._published(view, ("train",))
        from nas.training.batches import sampler_of  # with torch, which a study of a table does without

        labels, cameras = (np.array([getattr(r, name) for r in dataset.train]) for name in ("identity", "camera"))
        try:
            return int(np.size(sampler_of(recipe, labels, cameras).plan(0)))
        except DataError:
            return len(dataset.train)

    def _evaluated(self, view: str) -> int:
        """Images of an evaluation; 0 where that is not known."""
        dataset = self._dataset(view)
        if dataset is None:
            return self._published(view, ("query", "gallery")) or 0
        return len(dataset.query) + len(dataset.gallery)

    def _dataset(self, view: str) -> ReidDataset | None:
        try:
            return self.context.dataset(view)
        except DataError:
            return None

    def _published(self, view: str, splits: tuple[str, ...]) -> int | None:
        """The published number of images; of what is selected on, without the share that is held out."""
        source = view == SOURCE and self.context.pretraining is not None and splits == ("train",)
        given = self.context.pretraining.data if source else self.context.definition.data  # type: ignore[union-attr]
        names = [str(name) for name in given] if isinstance(given, Mapping) else []
        sizes = next((PUBLISHED[name] for name in names if name in PUBLISHED), None)
        if sizes is None:
            return None
        total = sum(sizes[split][1] for split in splits)
        share = self.context.definition.validation.share
        if view != SELECT:
            return total
        return round(total * (1 - share)) if splits == ("train",) else round(sizes["train"][1] * share)
