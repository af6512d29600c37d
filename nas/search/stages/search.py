"""`search`: adaptive multi-objective proposals in batches, with rungs.

A batch is planned once, from the results of all batches but the one before it, so that workers need
not wait for each other and the candidates are the same whatever was killed in between.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from nas.search.context import StudyContext, StudyParts
from nas.search.cost_model import Limits, paid
from nas.search.definition import SearchStage
from nas.search.history import observations, seed_noise, stagnant
from nas.search.proposals import Request, propose
from nas.search.stages.base import (
    BASELINE,
    CANDIDATE,
    GIVEN,
    RUNG_BATCHES,
    TERMINAL,
    Preview,
    Wish,
    alike,
    all_terminal,
    ask,
    ask_missing,
    controls,
    epochs_of,
    replicated,
    stage_rows,
    started,
)
from nas.search.stages.rungs import promote_ranks, rung_preview
from nas.search.starts import CONTROL
from nas.spaces import Candidate, DesignSpace

if TYPE_CHECKING:
    from nas.storage import StageInfo


class Search:
    """Handler of `search` stages."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: SearchStage) -> bool:
        """Plans the batches that can be planned now, then the next rung."""
        self._ask_controls(context, stage, settings)
        for _ in range(2):  # a third batch waits for the first
            rows = stage_rows(context, stage)
            planned = rows[(rows["role"] == CANDIDATE) & (rows["batch"] < RUNG_BATCHES)]
            batch = self._next_batch(context, planned, settings)
            if batch is None or not self._plan(context, stage, settings, planned, batch):
                break
        else:
            return False
        if not all_terminal(rows):
            return False
        return not promote_ranks(context, stage, settings)

    def preview(self, context: StudyParts, space: DesignSpace, settings: SearchStage) -> Preview:
        """Trainings at the first rung and the shares promoted from it."""
        count = min(settings.trainings, space.size())
        epochs = epochs_of(context, settings, settings.fidelity)
        plain = controls(context, settings, space.baselines(), settings.trainings)
        if not settings.rungs:
            note = f"{count} candidates proposed by {settings.sampler}" + (f", {len(plain)} controls" if plain else "")
            return Preview((count + len(plain)) * settings.seeds, epochs, note=note)
        seed = rung_preview(count, settings.rungs, settings.keep, whole=len(plain))
        return replace(seed, trainings=seed.trainings * settings.seeds)

    def _ask_controls(self, context: StudyContext, stage: StageInfo, settings: SearchStage) -> None:
        """From a warm start: the plain networks, trained on as the candidates are, to the last rung."""
        stop, plain = settings.rungs[-1] if settings.rungs else None, context.space_of(stage).baselines()
        wishes = controls(context, settings, plain, settings.trainings, fidelity=settings.fidelity, stop_epoch=stop)
        ask_missing(context, stage, started(context, settings, replicated(wishes, settings.seeds)))

    def _next_batch(self, context: StudyContext, planned: pd.DataFrame, settings: SearchStage) -> int | None:
        """Number of the batch that may be planned now, or None; sees what its proposals see."""
        count = planned["candidate_id"].nunique()
        if count >= settings.trainings:
            return None
        batch = 0 if planned.empty else int(planned["batch"].max()) + 1
        before = planned[planned["batch"] <= batch - 2]
        if not bool(before["status"].isin(TERMINAL).all()):
            return None
        if settings.stagnation is None:
            return batch
        cost, *more = (model.cost for model in paid(context))
        return None if stagnant(before, settings.stagnation, cost, more) else batch

    def _plan(
        self, context: StudyContext, stage: StageInfo, settings: SearchStage, planned: pd.DataFrame, batch: int
    ) -> bool:
        wanted = min(settings.batch, settings.trainings - planned["candidate_id"].nunique())
        proposals = propose(settings.sampler, request_for(context, stage, settings, planned, batch, wanted))
        wishes = [
            Wish(
                candidate=p.candidate,
                sampler=settings.sampler,
                batch=batch,
                fidelity=settings.fidelity,
                stop_epoch=settings.rungs[0] if settings.rungs else None,
                attrs=dict(p.attrs),
            )
            for p in proposals
        ]
        return bool(ask(context, stage, started(context, settings, replicated(wishes, settings.seeds))))


def request_for(
    context: StudyContext, stage: StageInfo, settings: SearchStage, planned: pd.DataFrame, batch: int, count: int
) -> Request:
    """What a sampler is told for one batch: results of all but the batch before it, which counts as pending."""
    (cost, *more), limits = [model.cost for model in paid(context)], Limits.of(context, settings)
    results = context.results()
    elsewhere = results[(results["stage"] != stage.name) & results["role"].isin([CANDIDATE, GIVEN, BASELINE, CONTROL])]
    here, waiting = planned[planned["batch"] <= batch - 2], planned[planned["batch"] > batch - 2]
    known = pd.concat([comparable(elsewhere, here, planned, settings, context), here])
    return Request(
        space=context.space_of(stage),
        history=observations(known, cost, context.sampler_attrs(), more),
        count=count,
        seed=context.definition.seed * 1000 + stage.position,
        batch=batch,
        cost=cost,
        costs=1 + len(more),
        admits=None if limits is None else limits.admit,
        taken=frozenset(planned["candidate_id"]),
        noise=seed_noise(known),
        pending=tuple(Candidate.parse(str(notation)) for notation in dict.fromkeys(waiting["notation"])),
    )


def comparable(
    elsewhere: pd.DataFrame, here: pd.DataFrame, planned: pd.DataFrame, settings: SearchStage, context: StudyContext
) -> pd.DataFrame:
    """Earlier results at this stage's fidelity, start and split; mAP at another fidelity is another quantity."""
    if settings.rungs:
        return elsewhere.iloc[:0]
    (start, *_) = context.definition.starts_of(settings)
    return alike(context, elsewhere, Wish(candidate=context.baselines[0], fidelity=settings.fidelity, start=start))
