"""What every stage shares: asking for trainings, and knowing when they are done.

A stage has no memory of its own. `advance` looks at what the database holds, asks for what is
missing and says whether the stage is finished; it may be called by any worker, any number of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict, Unpack

from nas import data
from nas.errors import StudyError
from nas.files.plain import JsonDict
from nas.search.context import SOURCE, SPLITS, StudyContext, StudyParts
from nas.search.starts import (
    CONTROL,
    FROM_SCRATCH,
    SCRATCH,
    START_ROLE,
    FoundStart,
    Start,
    control_count,
    find_start,
    left_by,
    moved_start,
    split_start,
)
from nas.spaces import Candidate, DesignSpace
from nas.storage import TrainingRequest
from nas.training.fidelity import FINE_TUNING_EPOCHS, Fidelity
from nas.training.recipe import with_teachers, with_weights

if TYPE_CHECKING:
    import pandas as pd

    from nas.storage import StageInfo
    from nas.training import Recipe

TERMINAL = ("finished", "failed")
RUNG_BATCHES = 1_000_000
"""Batches of rung r are numbered from r times this."""
CANDIDATE, BASELINE, REFERENCE = "candidate", "baseline", "reference"
GIVEN = "given"
"""Role of networks that a stage's file names: nobody drew them, so they are no evidence for rules."""
TUNE = "tune"
"""Role of trainings that choose the recipe."""


@dataclass(frozen=True)
class Wish:
    """One training that a stage wants; equal wishes are one training.

    Attributes:
        candidate: what is trained.
        replicate: 0, 1, ...; the training's seed is the study's plus this.
        role: candidate, baseline, reference, or a role of the stage's own.
        sampler: who proposed the candidate; adaptive samples are no evidence for rules.
        batch: proposals made together share a batch.
        fidelity: cheaper training; default the full recipe.
        stop_epoch: train only to this epoch of the schedule (a rung).
        resume_from: training whose checkpoint is continued.
        start: the weights it starts from; several starts are dealt out to the replicates (`started`).
        moved: number of a control: the same network and seed, its first weights moved at rounding level.
        attrs: what the sampler wants to be reminded of.
    """

    candidate: Candidate
    replicate: int = 0
    role: str = CANDIDATE
    sampler: str = "uniform"
    batch: int = 0
    fidelity: Fidelity = field(default_factory=Fidelity)
    stop_epoch: int | None = None
    resume_from: int | None = None
    start: Start = FROM_SCRATCH
    moved: int = 0
    view: str | None = None
    attrs: JsonDict = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Names fidelity and rung in tables, and tells trainings apart."""
        fidelity = self.fidelity
        if self.start.is_warm and fidelity.epochs is None:
            fidelity = fidelity.model_copy(update={"epochs": FINE_TUNING_EPOCHS})
        return fidelity.label + (f"-to{self.stop_epoch}" if self.stop_epoch is not None else "")


class Common(TypedDict, total=False):
    """What wishes that are made together have in common; see `Wish`."""

    batch: int
    fidelity: Fidelity
    stop_epoch: int | None
    view: str | None


@dataclass(frozen=True)
class Preview:
    """What a stage will cost, as far as it is known before it runs.

    Attributes:
        trainings: number of trainings, at most.
        epochs: epochs a training.
        measurements: networks timed.
        note: one sentence.
        on: of the trainings, how many on other plain networks than the space's first.
        networks: networks that are timed because they were trained.
    """

    trainings: int = 0
    epochs: int = 0
    measurements: int = 0
    note: str = ""
    on: Mapping[Candidate, int] = field(default_factory=dict)
    networks: int = 0


class StageHandler(Protocol):
    """One kind of stage."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: Any) -> bool:
        """Asks for what is missing; True when the stage is finished."""
        ...

    def preview(self, context: StudyParts, space: DesignSpace, settings: Any) -> Preview:
        """What the stage will do, without doing it."""
        ...


def ask(context: StudyContext, stage: StageInfo, wishes: Sequence[Wish]) -> list[int]:
    """Stores wishes as trainings, in order; what exists already is linked, not repeated. Returns their ids."""
    if not wishes:
        return []
    wishes = [as_trained(context, wish) for wish in wishes if seed_of(context, wish) is not None]
    register_candidates(context, [w.candidate for w in wishes])
    sources = source_trainings(context) if context.pretraining is not None else None
    starts = found_starts(context, wishes)
    requests = [_request(context, wish, position, sources, starts) for position, wish in enumerate(wishes)]
    ids = context.repository.request_trainings(stage.id, requests)
    context.asked()
    return ids


def _request(
    context: StudyContext,
    wish: Wish,
    position: int,
    sources: pd.DataFrame | None,
    starts: Mapping[StartKey, FoundStart],
) -> TrainingRequest:
    view = wish.view or context.search_view
    recipe = recipe_of(context, wish, view)
    found, seed = starts[_start_key(context, wish)], seed_of(context, wish) or 0
    init_from = found.training
    if sources is not None and recipe.transfer is not None and recipe.transfer.from_pretraining:
        init_from = source_training(sources, wish)
        recipe = recipe.with_overrides({"begins": left_by(context.repository.training(init_from)) or ""})
    return TrainingRequest(
        candidate_id=wish.candidate.id,
        code=context.code_of(wish.candidate, recipe),
        recipe_id=recipe.id,
        recipe=recipe.to_dict(),
        dataset_id=register_dataset(context, view),
        fidelity=wish.fidelity.model_dump(mode="json", exclude_none=True),
        fidelity_label=wish.label,
        start=moved_start(_start_id(context, found, seed), wish.moved),
        seed=seed,
        role=wish.role,
        sampler=wish.sampler,
        batch=wish.batch,
        position=position,
        sampler_attrs=wish.attrs,
        view=view,
        split=SPLITS[view],
        epochs=wish.stop_epoch or (recipe.total_epochs if context.trains else None),
        stop_epoch=wish.stop_epoch,
        resume_from=wish.resume_from,
        init_from=init_from,
    )


def _start_id(context: StudyContext, found: FoundStart, seed: int) -> str:
    """The start as it is stored: a table that says where its trainings started is believed."""
    return found.id if context.replay is None else context.replay.starts.get(seed, found.id)


StartKey: TypeAlias = tuple[Start, str, str, Fidelity]


def _start_key(context: StudyContext, wish: Wish) -> StartKey:
    """What a wish's start depends on."""
    return wish.start, wish.candidate.baseline.notation, wish.view or context.search_view, wish.fidelity.of_data


def found_starts(context: StudyContext, wishes: Iterable[Wish]) -> dict[StartKey, FoundStart]:
    """The weights behind the starts of wishes."""
    wanted = {_start_key(context, wish): wish for wish in wishes}
    return {
        key: find_start(context, wish.start, wish.candidate, wish.view or context.search_view, wish.fidelity)
        for key, wish in wanted.items()
    }


def recipe_of(context: StudyContext, wish: Wish, view: str) -> Recipe:
    """The recipe a wish is trained with: the candidate's own values, then the fidelity."""
    tuned = {} if wish.role == TUNE else context.tuned(view)
    own = context.recipe_of(view).with_overrides(tuned).with_overrides(dict(wish.candidate.recipe))
    final = own.fine_tuned(wish.fidelity) if wish.start.is_warm else own.at(wish.fidelity)
    if not context.trains:
        return final
    here = with_teachers(context.here(final, wish.candidate))
    here = here if wish.start.is_warm else with_weights(here, wish.candidate)
    # The content as it is here, the paths as they are written: workers elsewhere have other places for them.
    taught = {} if here.distil is None else {"distil": {"sha256": here.distil.sha256}}
    return final.with_overrides({"begins": here.begins, **taught})


def epochs_of(context: StudyParts, settings: object, fidelity: Fidelity) -> int:
    """Epochs of a training of a stage."""
    (start, *_) = context.definition.starts_of(settings)
    return (context.recipe.fine_tuned(fidelity) if start.is_warm else context.recipe.at(fidelity)).epochs


def as_trained(context: StudyContext, wish: Wish) -> Wish:
    """The wish as it can be fulfilled: tables and own trainers have one view, tables one fidelity, too."""
    if context.trains:
        return wish
    if context.trainer is not None:
        return replace(wish, view=None)
    return replace(wish, fidelity=Fidelity(), view=SOURCE if wish.view == SOURCE else None)


def seed_of(context: StudyContext, wish: Wish) -> int | None:
    """The seed of a wish: the study's and the replicate, or a table's own; None where the table has no more of them.

    Plain networks have seeds of their own, shared by studies. A control that the table does not have is left out: its
    value given twice would be less noise than there is.
    """
    if wish.role == START_ROLE:
        return wish.replicate
    seed = context.seed(wish.candidate, wish.replicate, source=wish.view == SOURCE)
    if context.replay is None or seed is None or not wish.moved:
        return seed
    return None if context.replay.lookup(wish.candidate, seed, wish.moved) is None else seed


def apart(context: StudyContext, wishes: Sequence[Wish], first: int, known: pd.DataFrame) -> list[Wish]:
    """Wishes for results that are not among the known ones: what was chosen on these is judged by others.

    Args:
        context: the study.
        wishes: with replicates from 0.
        first: replicate number that no other stage reaches; the wishes' are counted from it.
        known: results that were looked at. Of a table, values are read in seeds that none of them has; from scratch,
            where there are no such seeds, also others that were not read of the candidate itself. Wishes that the
            table has no value left for are dropped.
    """
    if context.replay is None:
        return [replace(wish, replicate=first + wish.replicate) for wish in wishes]
    seen, read = set(known["seed"]), set(zip(known["candidate_id"], known["seed"], strict=True))
    left: dict[tuple[str, bool], list[int]] = {}
    for wish in wishes:
        seeds = dict(enumerate(context.replay.seeds(wish.candidate) or [0]))
        new = [number for number, seed in seeds.items() if seed not in seen]
        own = [n for n, seed in seeds.items() if seed in seen and (wish.candidate.id, seed) not in read]
        # Warm candidates are held against controls of their own seed, so all keep to the same new seeds.
        left[wish.candidate.id, wish.start.is_warm] = new if wish.start.is_warm else new + own
    return [
        replace(wish, replicate=numbers[wish.replicate])
        for wish in wishes
        if wish.replicate < len(numbers := left[wish.candidate.id, wish.start.is_warm])
    ]


def results_before(context: StudyContext, stage: StageInfo) -> pd.DataFrame:
    """Results of the stages before one."""
    names = [s.name for s in context.definition.named_stages() if s.position < stage.position]
    rows = context.results()
    return rows[rows["stage"].isin(names)]


def source_trainings(context: StudyContext) -> pd.DataFrame:
    """Finished trainings of the study's `pretrain` stage; empty where it has none."""
    rows = context.results()
    return rows[(rows["stage_kind"] == "pretrain") & (rows["status"] == "finished")]


def source_training(rows: pd.DataFrame, wish: Wish) -> int:
    """The training, of `source_trainings`, that a fine-tuning starts from.

    Raises:
        StudyError: the network was not pretrained.
    """
    rows = rows[rows["architecture_id"] == wish.candidate.architecture.id].sort_values("seed")
    if rows.empty:
        raise StudyError(
            f"{wish.candidate.architecture} is fine-tuned but was not pretrained",
            "list it under `candidates` of the pretrain stage",
        )
    return int(rows["training_id"].iloc[wish.replicate % len(rows)])


def register_candidates(context: StudyContext, candidates: Iterable[Candidate]) -> None:
    """Stores candidates that are new; the size of their networks is added by whoever builds them."""
    context.repository.ensure_candidates(
        [
            {
                "id": c.id,
                "architecture_id": c.architecture.id,
                "notation": c.notation,
                "backbone": c.backbone,
                "n_blocks": len(c.placements),
                "definition": c.to_dict(),
            }
            for c in dict.fromkeys(candidates)
        ]
    )


def register_dataset(context: StudyContext, view: str) -> str:
    """Stores the data set of a view if it is new; returns its id."""
    if not context.trains:
        return context.table_id if context.trainer is None else context.own_id
    dataset = context.dataset(view)
    counts = {split: asdict(count) for split, count in dataset.counts().items()}
    warnings = [{"fact": found.sentence, "consequence": found.advice} for found in data.warnings_of(dataset)]
    context.repository.ensure_dataset(dataset.id, dataset.name, dict(dataset.spec), counts, warnings)
    return dataset.id


def stage_rows(context: StudyContext, stage: StageInfo) -> pd.DataFrame:
    """Results of one stage, all states, in the order in which they were asked for; without networks given by name."""
    results = context.results()
    return results[(results["stage"] == stage.name) & (results["role"] != GIVEN)]


def asked_rows(context: StudyContext, stage: StageInfo) -> pd.DataFrame:
    """The same with the networks given by name."""
    results = context.results()
    return results[results["stage"] == stage.name]


def alike(context: StudyContext, results: pd.DataFrame, wish: Wish) -> pd.DataFrame:
    """Rows of a results table that may be compared with a wish's: fidelity, split and kind of start are the same."""
    wish = as_trained(context, wish)
    warm = results["start"] != SCRATCH
    split = SPLITS[wish.view or context.search_view]
    return results[(results["fidelity"] == wish.label) & (results["split"] == split) & (warm == wish.start.is_warm)]


def all_terminal(rows: pd.DataFrame) -> bool:
    """Whether every training has finished or failed for good (true for none)."""
    return bool(rows["status"].isin(TERMINAL).all())


def replicated(wishes: Iterable[Wish], seeds: int) -> list[Wish]:
    """Each wish with every seed; the first seed of all comes first, so that a cut-off stage is balanced."""
    chosen = list(wishes)
    return [replace(wish, replicate=r) for r in range(seeds) for wish in chosen]


def elsewhere(context: StudyParts, wishes: Iterable[Wish], seeds: int = 1) -> dict[Candidate, int]:
    """Trainings of wishes on other plain networks than the space's first, for a `Preview`."""
    found: dict[Candidate, int] = {}
    for wish in wishes:
        plain = wish.candidate.baseline
        if plain != context.baselines[0]:
            found[plain] = found.get(plain, 0) + seeds
    return found


def anchors(context: StudyParts, space: DesignSpace, **common: Unpack[Common]) -> list[Wish]:
    """Wishes for the networks without attention: the space's baselines and the reference, if a table has it."""
    found = [Wish(candidate=c, role=BASELINE, sampler="fixed", **common) for c in space.baselines()]
    is_known = context.replay is None or context.replay.seeds(context.reference)
    if is_known and context.reference.id not in {w.candidate.id for w in found}:
        found.append(Wish(candidate=context.reference, role=REFERENCE, sampler="fixed", **common))
    return found


def started(context: StudyParts, settings: object, wishes: Iterable[Wish]) -> list[Wish]:
    """Wishes with the starts of their stage, dealt out to the replicates."""
    starts = context.definition.starts_of(settings)
    return [replace(wish, start=starts[wish.replicate % len(starts)]) for wish in wishes]


def controls(
    context: StudyParts,
    settings: object,
    baselines: Sequence[Candidate],
    candidates: int,
    **common: Unpack[Common],
) -> list[Wish]:
    """Wishes for the plain networks, trained on as the candidates are: what these are held against; from scratch none.

    Args:
        context: the study.
        settings: of the stage, with its starts.
        baselines: the plain networks.
        candidates: how many candidates are trained beside them; the square root of it is the number of controls.
        common: of all wishes.
    """
    if not any(start.is_warm for start in context.definition.starts_of(settings)):
        return []
    count = control_count(round(candidates / max(1, len(baselines))))
    return [
        Wish(candidate=c, role=CONTROL, sampler="fixed", moved=number, **common)
        for c in baselines
        for number in range(count)
    ]


def beside(
    context: StudyParts, space: DesignSpace, settings: object, candidates: int, **common: Unpack[Common]
) -> list[Wish]:
    """What a stage trains beside its candidates: controls from a warm start, else the networks without attention."""
    return controls(context, settings, space.baselines(), candidates, **common) or anchors(context, space, **common)


def ask_missing(context: StudyContext, stage: StageInfo, wishes: Sequence[Wish]) -> None:
    """Asks for those of the wishes that the stage does not have yet, so that a stage can grow."""
    if not wishes:
        return
    rows = asked_rows(context, stage)
    moves = [split_start(str(start))[1] for start in rows["start"]]
    have = set(zip(rows["role"], rows["candidate_id"], rows["seed"], moves, strict=True))
    missing = [w for w in wishes if (w.role, w.candidate.id, seed_of(context, w), w.moved) not in have]
    # A batch is planned once; what comes later is in batches of its own.
    later = 0 if rows.empty else int((rows["batch"] % RUNG_BATCHES).max()) + 1
    ask(context, stage, [replace(wish, batch=wish.batch + later) for wish in missing])
