"""What every stage shares: asking for trainings, and knowing when they are done.

A stage has no memory of its own. `advance` looks at what the database holds, asks for what is
missing and says whether the stage is finished; it may be called by any worker, any number of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from nas.errors import StudyError
from nas.search.context import FINAL, SELECT, SOURCE, StudyContext
from nas.spaces import Candidate, DesignSpace
from nas.training.fidelity import Fidelity

if TYPE_CHECKING:
    import pandas as pd

    from nas.storage import StageInfo, TrainingRequest

TERMINAL = ("finished", "failed")
_SPLITS = {SELECT: "val", FINAL: "test", SOURCE: "transfer"}
CANDIDATE, BASELINE, REFERENCE = "candidate", "baseline", "reference"


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
        init_from: training whose weights are inherited.
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
    init_from: int | None = None
    view: str | None = None
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Names fidelity, rung and start in tables, and tells trainings apart."""
        parts = [self.fidelity.label]
        if self.stop_epoch is not None:
            parts.append(f"to{self.stop_epoch}")
        if self.init_from is not None:
            parts.append("inherit")
        return "-".join(parts)


@dataclass(frozen=True)
class Preview:
    """What a stage will cost, as far as it is known before it runs.

    Attributes:
        trainings: number of trainings, at most.
        epochs: epochs a training.
        measurements: networks timed.
        note: one sentence.
    """

    trainings: int = 0
    epochs: int = 0
    measurements: int = 0
    note: str = ""


class StageHandler(Protocol):
    """One kind of stage."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: Any) -> bool:
        """Asks for what is missing; True when the stage is finished."""
        ...

    def preview(self, context: StudyContext, space: DesignSpace, settings: Any) -> Preview:
        """What the stage will do, without doing it."""
        ...


def ask(context: StudyContext, stage: StageInfo, wishes: Sequence[Wish]) -> list[int]:
    """Stores wishes as trainings, in order; what exists already is linked, not repeated. Returns their ids."""
    if not wishes:
        return []
    register_candidates(context, [w.candidate for w in wishes])
    sources = source_trainings(context) if context.pretraining is not None else None
    requests = [_request(context, wish, position, sources) for position, wish in enumerate(wishes)]
    return context.repository.request_trainings(stage.id, requests)


def _request(context: StudyContext, wish: Wish, position: int, sources: pd.DataFrame | None) -> TrainingRequest:
    from nas.storage import TrainingRequest

    view = wish.view or context.search_view
    start = {} if wish.init_from is None else {"init": "inherit"}
    recipe = context.recipe_of(view).with_overrides({**start, **dict(wish.candidate.recipe)}).at(wish.fidelity)
    init_from = wish.init_from
    if sources is not None and recipe.transfer is not None and recipe.transfer.from_pretraining:
        init_from = source_training(sources, wish)
    return TrainingRequest(
        candidate_id=wish.candidate.id,
        code=context.code_of(wish.candidate),
        recipe_id=recipe.id,
        recipe=recipe.to_dict(),
        dataset_id=register_dataset(context, view),
        fidelity=wish.fidelity.model_dump(mode="json", exclude_none=True),
        fidelity_label=wish.label,
        seed=context.definition.seed + wish.replicate,
        role=wish.role,
        sampler=wish.sampler,
        batch=wish.batch,
        position=position,
        sampler_attrs=wish.attrs,
        view=view,
        split=_SPLITS[view],
        epochs=wish.stop_epoch or recipe.total_epochs,
        stop_epoch=wish.stop_epoch,
        resume_from=wish.resume_from,
        init_from=init_from,
    )


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
    if context.replay is not None:
        name = f"table-{context.replay.id}-{view}"
        context.repository.ensure_dataset(name, "table", {"table": context.replay.name}, {})
        return name
    dataset = context.dataset(view)
    counts = {split: asdict(count) for split, count in dataset.counts().items()}
    context.repository.ensure_dataset(dataset.id, dataset.name, dict(dataset.spec), counts)
    return dataset.id


def stage_rows(context: StudyContext, stage: StageInfo) -> pd.DataFrame:
    """Results of one stage, all states, in the order in which they were asked for."""
    results = context.results()
    return results[results["stage"] == stage.name]


def all_terminal(rows: pd.DataFrame) -> bool:
    """Whether every training has finished or failed for good (true for none)."""
    return bool(rows["status"].isin(TERMINAL).all())


def replicated(wishes: Iterable[Wish], seeds: int) -> list[Wish]:
    """Each wish with every seed; the first seed of all comes first, so that a cut-off stage is balanced."""
    chosen = list(wishes)
    return [replace(wish, replicate=r) for r in range(seeds) for wish in chosen]


def anchors(context: StudyContext, space: DesignSpace, **common: Any) -> list[Wish]:
    """Wishes for the networks without attention: the space's baselines and the reference."""
    found = [Wish(candidate=c, role=BASELINE, sampler="fixed", **common) for c in space.baselines()]
    if context.reference.id not in {w.candidate.id for w in found}:
        found.append(Wish(candidate=context.reference, role=REFERENCE, sampler="fixed", **common))
    return found


def inherited(context: StudyContext, stage: StageInfo, wishes: Sequence[Wish]) -> list[Wish]:
    """Wishes that start from the trained baseline of the same backbone and seed, where it finished."""
    rows = stage_rows(context, stage)
    rows = rows[(rows["role"] == BASELINE) & (rows["status"] == "finished")]
    trained = dict(zip(zip(rows["notation"], rows["seed"], strict=True), rows["training_id"].tolist(), strict=True))
    return [
        replace(w, init_from=trained.get((w.candidate.baseline.notation, context.definition.seed + w.replicate)))
        for w in wishes
    ]
