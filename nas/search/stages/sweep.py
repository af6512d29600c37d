"""`sweep`: random, stratified or exhaustive candidates with replicates - the samples statistics use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nas.errors import StudyError
from nas.search.context import StudyContext
from nas.search.definition import SweepStage
from nas.search.proposals.base import Request
from nas.search.stages.base import (
    Preview,
    Wish,
    all_terminal,
    anchors,
    ask,
    inherited,
    replicated,
    stage_rows,
)
from nas.spaces import Candidate, DesignSpace

if TYPE_CHECKING:
    from nas.storage import StageInfo

ANCHOR_BATCH, DRAWN_BATCH, SCRATCH_BATCH = 0, 1, 2


class Sweep:
    """Handler of `sweep` stages."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: SweepStage) -> bool:
        """Asks for everything at once; with `init: inherit` the baselines come first."""
        if context.repository.has_open_trainings(stage.id):
            return False
        space = context.space_of(stage)
        common = {"batch": ANCHOR_BATCH, "fidelity": settings.fidelity}
        first = anchors(context, space, **common)
        if settings.baselines or settings.init == "inherit":
            ask(context, stage, replicated(first, settings.seeds))
        drawn = draw(context, stage, space, settings)
        wishes = [
            Wish(candidate=c, batch=DRAWN_BATCH, sampler=settings.design, fidelity=settings.fidelity) for c in drawn
        ]
        if settings.init == "inherit":
            if not all_terminal(stage_rows(context, stage)):
                return False
            again = [replace(w, batch=SCRATCH_BATCH) for w in wishes[: settings.scratch_check]]
            ask(context, stage, replicated(again, settings.seeds))
            ask(context, stage, inherited(context, stage, replicated(wishes, settings.seeds)))
        else:
            ask(context, stage, replicated(wishes, settings.seeds))
        return not context.repository.has_open_trainings(stage.id)

    def preview(self, context: StudyContext, space: DesignSpace, settings: SweepStage) -> Preview:
        """Trainings: candidates and anchors, times the seeds."""
        count = sweep_size(space, settings)
        extra = len(anchors(context, space)) if settings.baselines or settings.init == "inherit" else 0
        trainings = (count + extra + min(settings.scratch_check, count)) * settings.seeds
        kind = "all" if settings.design == "exhaustive" else settings.design
        note = f"{kind} {count} candidates and {extra} networks without attention x {settings.seeds} seeds"
        return Preview(trainings, context.recipe.at(settings.fidelity).epochs, note=note)


def sweep_size(space: DesignSpace, settings: SweepStage) -> int:
    """Number of candidates of a sweep: never more than the space holds."""
    by_blocks = space.size_by_blocks()
    held = sum(n for blocks, n in by_blocks.items() if blocks > 0 and settings.blocks in (None, blocks))
    return held if settings.candidates is None else min(held, settings.candidates)


def draw(context: StudyContext, stage: StageInfo, space: DesignSpace, settings: SweepStage) -> list[Candidate]:
    """The candidates of a sweep, fixed by the study's seed and the stage's place."""
    counts = {b: n for b, n in space.size_by_blocks().items() if b > 0 and settings.blocks in (None, b)}
    if not any(counts.values()):
        wanted = "a block" if settings.blocks is None else f"{settings.blocks} blocks"
        raise StudyError(f"stage {stage.name!r}: the space {space.name!r} has no candidate with {wanted}")
    rng = Request(space, (), 0, context.definition.seed, stage.position).rng("sweep")
    if settings.design == "exhaustive":
        return [c for blocks in sorted(counts) for c in space.enumerate(blocks)]
    total = sweep_size(space, settings)
    if settings.design == "random":
        return space.sample(total, rng, blocks=settings.blocks)
    drawn = space.stratified(total, rng, sorted(counts))
    rng.shuffle(drawn)
    return drawn
