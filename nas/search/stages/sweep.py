"""`sweep`: random, stratified or exhaustive candidates with replicates - the samples statistics use."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nas.errors import StudyError
from nas.search.context import StudyContext, StudyParts
from nas.search.cost_model import DRAW_ATTEMPTS, Limits
from nas.search.definition import MOST, SweepStage
from nas.search.proposals.base import random_draws
from nas.search.stages.base import (
    CANDIDATE,
    Preview,
    Wish,
    ask_missing,
    beside,
    elsewhere,
    epochs_of,
    replicated,
    stage_rows,
    started,
)
from nas.search.stages.rungs import promote, rung_preview
from nas.search.starts import CONTROL
from nas.spaces import Candidate, DesignSpace, EmptySpaceError

if TYPE_CHECKING:
    from nas.storage import StageInfo

ANCHOR_BATCH, DRAWN_BATCH = 0, 1
"""In a sweep's first plan each seed has a batch of what stands beside the candidates, and one of these."""


class Sweep:
    """Handler of `sweep` stages."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: SweepStage) -> bool:
        """Asks for everything at once; for more where rungs promote, or the study has grown."""
        if settings.rungs:
            promote(context, stage, settings)
        if context.repository.has_open_trainings(stage.id):
            return False
        space = _within(context.space_of(stage), settings)
        rows = stage_rows(context, stage)
        kept = [Candidate.parse(str(n)) for n in rows.loc[rows["role"] == CANDIDATE, "notation"].drop_duplicates()]
        drawn = draw(context, stage, space, settings, kept) if settings.draws else []
        fidelity, stop = settings.fidelity, first_rung(settings)
        wishes = [
            Wish(candidate=c, batch=DRAWN_BATCH, sampler=settings.design, fidelity=fidelity, stop_epoch=stop)
            for c in drawn
        ]
        if settings.baselines:
            count = len(drawn) or len(settings.named)
            plain = beside(context, space, settings, count, batch=ANCHOR_BATCH, fidelity=fidelity, stop_epoch=stop)
            wishes = [*plain, *wishes]
        wishes = [replace(w, batch=2 * w.replicate + w.batch) for w in replicated(wishes, settings.seeds)]
        ask_missing(context, stage, started(context, settings, wishes))
        return not context.repository.has_open_trainings(stage.id)

    def preview(self, context: StudyParts, space: DesignSpace, settings: SweepStage) -> Preview:
        """Trainings: candidates and what stands beside them, times the seeds."""
        space = _within(space, settings)
        count = sweep_size(space, settings)
        extra = beside(context, space, settings, count or len(settings.named)) if settings.baselines else []
        kind = "all" if settings.design == "exhaustive" else settings.design
        names = "controls" if any(wish.role == CONTROL for wish in extra) else "networks without attention"
        note = f"{kind} {count} candidates and {len(extra)} {names} x {settings.seeds} seeds"
        on, networks = elsewhere(context, extra, settings.seeds), _several(space, settings, count)
        if settings.rungs:
            seed = rung_preview(count, settings.rungs, settings.keep, always=len(extra))
            return replace(seed, trainings=seed.trainings * settings.seeds, on=on, networks=networks)
        epochs = epochs_of(context, settings, settings.fidelity)
        return Preview((count + len(extra)) * settings.seeds, epochs, note=note, on=on, networks=networks)


def _held(space: DesignSpace, blocks: int | None) -> dict[int, int]:
    """How many candidates a space has with each number of blocks, or with the one that is asked for."""
    return {b: n for b, n in space.size_by_blocks().items() if b > 0 and blocks in (None, b)}


def _several(space: DesignSpace, settings: SweepStage, count: int) -> int:
    """Of so many candidates, those with several blocks on average: single placements are timed by a profile."""
    placed = _held(space, settings.blocks)
    return round(count * sum(n for blocks, n in placed.items() if blocks > 1) / max(1, sum(placed.values())))


def first_rung(settings: SweepStage) -> int | None:
    """Where all of a sweep's trainings stop first: what its candidates are compared at."""
    return settings.rungs[0] if settings.rungs else None


def _within(space: DesignSpace, settings: SweepStage) -> DesignSpace:
    """The part of a space that a sweep draws from."""
    space = space.restrict(settings.rules) if settings.rules else space
    return preferred(space, settings.blocks) if settings.prefer else space


def preferred(space: DesignSpace, blocks: int | None) -> DesignSpace:
    """What follows all preferences of a space; the whole space where nothing (with so many blocks) does."""
    hard = [rule.model_copy(update={"strength": "hard"}) for rule in space.rules if not rule.is_hard]
    try:
        child = space.restrict(hard) if hard else space
    except EmptySpaceError:
        return space
    return child if any(_held(child, blocks).values()) else space


def check_sweep(space: DesignSpace, settings: SweepStage, name: str) -> None:
    """Refuses a sweep of more trainings than a stage has.

    Raises:
        StudyError: names the stage and says what to do.
    """
    _check_size(_within(space, settings), settings, name)


def _check_size(space: DesignSpace, settings: SweepStage, name: str) -> None:
    if (size := sweep_size(space, settings) * settings.seeds) > MOST:
        raise StudyError(
            f"stage {name!r} would train {size:,} networks; a stage trains {MOST:,} at most",
            "draw some: design: stratified, candidates: N; or narrow the space",
        )


def sweep_size(space: DesignSpace, settings: SweepStage) -> int:
    """Number of candidates of a sweep: never more than the space holds."""
    if not settings.draws:
        return 0
    held = sum(_held(space, settings.blocks).values())
    return held if settings.candidates is None else min(held, settings.candidates)


def draw(
    context: StudyContext, stage: StageInfo, space: DesignSpace, settings: SweepStage, kept: Sequence[Candidate] = ()
) -> list[Candidate]:
    """The candidates of a sweep, fixed by the study's seed and the stage's place.

    Args:
        context: the study.
        stage: where they are trained.
        space: what they are drawn from.
        settings: how, and how many.
        kept: those that the stage has already: they stay and come first.

    Raises:
        StudyError: the space has no such candidate, or none inside the stage's limits.
    """
    counts = _held(space, settings.blocks)
    _check_size(space, settings, stage.name)
    if not any(counts.values()):
        wanted = "a block" if settings.blocks is None else f"{settings.blocks} blocks"
        raise StudyError(f"stage {stage.name!r}: the space {space.name!r} has no candidate with {wanted}")
    limits = Limits.of(context, settings)
    admits = limits.admit if limits is not None else lambda candidate: True
    if settings.design == "exhaustive":
        found = [c for blocks in sorted(counts) for c in space.enumerate(blocks) if admits(c)]
    else:
        found = _drawn(context, stage, space, settings, kept, counts, admits)
    if not found:
        raise StudyError(f"stage {stage.name!r}: no candidate was found inside its limits", "widen them")
    return found


def _drawn(
    context: StudyContext,
    stage: StageInfo,
    space: DesignSpace,
    settings: SweepStage,
    kept: Sequence[Candidate],
    counts: dict[int, int],
    admits: Callable[[Candidate], bool],
) -> list[Candidate]:
    """What the stage has, and draws for what is missing; draws over a limit are drawn again."""
    wanted, found = sweep_size(space, settings), dict.fromkeys(kept)
    for attempt in range(DRAW_ATTEMPTS if kept or settings.band else 1):
        if len(found) >= wanted:
            break
        purpose = "sweep" if not kept and not attempt else f"sweep-{len(kept)}-{attempt}"
        rng = random_draws(context.definition.seed, stage.position, purpose)
        found |= dict.fromkeys(c for c in _sample(space, wanted, settings, counts, rng) if admits(c))
    return list(found)[: max(wanted, len(kept))]


def _sample(
    space: DesignSpace, total: int, settings: SweepStage, counts: dict[int, int], rng: random.Random
) -> list[Candidate]:
    if settings.design == "random":
        return space.sample(total, rng, blocks=settings.blocks)
    drawn = space.stratified(total, rng, sorted(counts))
    rng.shuffle(drawn)
    return drawn
