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
            ask(context, stage, inherited(context, stage, replicated(wishes, settings.seeds)))
            ask(context, stage, replicated(again, settings.seeds))
        else:
            ask(context, stage, replicated(wishes, settings.seeds))
        return all_terminal(stage_rows(context, stage))

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
        return [c for c in space.enumerate() if len(c.placements) in counts]
    total = sweep_size(space, settings)
    if settings.design == "random":
        return space.sample(total, rng, blocks=settings.blocks, distinct=True)
    drawn = [c for b, n in strata(counts, total).items() for c in space.sample(n, rng, blocks=b, distinct=True)]
    rng.shuffle(drawn)
    return drawn


def strata(counts: dict[int, int], total: int) -> dict[int, int]:
    """How many of `total` draws have how many blocks: as even as what there is allows.

    >>> strata({1: 68, 2: 1000}, 30)
    {1: 15, 2: 15}
    >>> strata({1: 2, 2: 1000}, 30)
    {1: 2, 2: 28}
    """
    shares = dict.fromkeys(sorted(b for b, n in counts.items() if n), 0)
    left = min(total, sum(counts.values()))
    while left:
        open_ = [b for b in shares if shares[b] < counts[b]]
        for b in open_:
            more = min(max(1, left // len(open_)), counts[b] - shares[b], left)
            shares[b] += more
            left -= more
    return shares
