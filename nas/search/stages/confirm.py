"""`confirm`: the front and the baselines at the full recipe; the test split is read here, once, or at each rung."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from nas.errors import StudyError
from nas.search.context import FINAL, StudyContext, StudyParts, reference_candidate
from nas.search.cost_model import Limits, paid
from nas.search.definition import ConfirmStage
from nas.search.history import front, observations, spread_over_cost
from nas.search.stage_results import ConfirmResult
from nas.search.stages.base import (
    BASELINE,
    CANDIDATE,
    GIVEN,
    REFERENCE,
    Common,
    Preview,
    Wish,
    all_terminal,
    apart,
    ask_missing,
    beside,
    elsewhere,
    epochs_of,
    replicated,
    results_before,
    stage_rows,
    started,
)
from nas.search.stages.rungs import promote_ranks, rung_preview
from nas.search.starts import CONTROL
from nas.spaces import Candidate, DesignSpace

if TYPE_CHECKING:
    from nas.storage import StageInfo


CONFIRM_SEEDS = 900
"""Replicates of a warm confirmation begin here: its schedule is the sweep's, so its seeds must be others."""


class Confirm:
    """Handler of `confirm` stages."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: ConfirmStage) -> bool:
        """Chooses on what was selected on, then asks for full trainings read on the test split."""
        if stage.result is None:
            wishes = started(context, settings, replicated(self._wishes(context, stage, settings), settings.seeds))
            if any(wish.start.is_warm for wish in wishes):
                # What was chosen by some trainings is not confirmed by the same ones.
                wishes = started(
                    context, settings, apart(context, wishes, CONFIRM_SEEDS, results_before(context, stage))
                )
            ask_missing(context, stage, wishes)
            context.repository.set_stage(stage.id, result=ConfirmResult().to_dict())
        return all_terminal(stage_rows(context, stage)) and not promote_ranks(context, stage, settings)

    def preview(self, context: StudyParts, space: DesignSpace, settings: ConfirmStage) -> Preview:
        """At most: the front's largest number, the given candidates and the baselines."""
        front_count = settings.max_candidates if settings.front else 0
        named = len({*settings.candidates, *settings.named})
        chosen = front_count + named
        fixed = self._beside(context, space, settings, chosen)
        epochs, on = epochs_of(context, settings, settings.fidelity), elsewhere(context, fixed, settings.seeds)
        run = Preview(chosen + len(fixed), epochs)
        if settings.rungs is not None:
            run = rung_preview(chosen, settings.rungs, settings.keep, whole=len(fixed))
        note = f"at most {chosen + len(fixed)} networks x {settings.seeds} seeds, test split"
        note += f"; {run.note}" if run.note else ""
        return Preview(run.trainings * settings.seeds, run.epochs, note=note, on=on, networks=named)

    def _wishes(self, context: StudyContext, stage: StageInfo, settings: ConfirmStage) -> list[Wish]:
        chosen = [Candidate.parse(text) for text in (*settings.candidates, *settings.named)]
        if settings.front:
            chosen += self._front(context, settings)
        fixed = self._beside(context, context.space_of(stage), settings, len(chosen))
        taken = {wish.candidate.id for wish in fixed}
        fresh = [c for c in dict.fromkeys(chosen) if c.id not in taken]
        common: Common = {"batch": 1, "fidelity": settings.fidelity, "view": FINAL}
        common["stop_epoch"] = settings.rungs[0] if settings.rungs else None
        return fixed + [Wish(candidate=c, sampler="front", **common) for c in fresh]

    def _front(self, context: StudyContext, settings: ConfirmStage) -> list[Candidate]:
        rows = deepest(context.results())
        cost, *more = (model.cost for model in paid(context))
        found = observations(rows[rows["role"].isin([CANDIDATE, GIVEN])], cost, more=more)
        if (limits := Limits.of(context, settings)) is not None:
            found = [o for o in found if limits.admit(o.candidate)]
        return [o.candidate for o in spread_over_cost(front(found), settings.max_candidates)]

    def _beside(self, context: StudyParts, space: DesignSpace, settings: ConfirmStage, candidates: int) -> list[Wish]:
        """The controls of a warm start, and the networks without attention that are wanted besides."""
        common: Common = {"fidelity": settings.fidelity, "view": FINAL}
        plain = beside(context, space, settings, candidates, **common)
        if settings.baselines is None:
            return plain
        taken = {wish.candidate.id for wish in plain if wish.role == CONTROL}
        fixed = self._named(context, settings, common)
        return [*(w for w in plain if w.role == CONTROL), *(w for w in fixed if w.candidate.id not in taken)]

    def _named(self, context: StudyParts, settings: ConfirmStage, common: Common) -> list[Wish]:
        return [
            Wish(candidate=c, role=BASELINE if i == 0 else REFERENCE, sampler="fixed", **common)
            for i, c in enumerate(_network(text, context) for text in settings.baselines or ())
        ]


def _network(text: str, context: StudyParts) -> Candidate:
    candidate = reference_candidate(text, context.baselines[0])
    if candidate.placements:
        raise StudyError(f"confirm: baselines holds {text!r}, which has blocks", "list it under `candidates`")
    return candidate


def deepest(results: pd.DataFrame) -> pd.DataFrame:
    """Finished validation rows at the fidelity with most epochs that candidates reached.

    A study may select on the test split; then its search rows are `test` rows of earlier stages.
    """
    rows = results[(results["status"] == "finished") & ~results["stage_kind"].isin(["confirm", "tune"])]
    candidates = rows[rows["role"].isin([CANDIDATE, GIVEN])]
    if candidates["epochs"].isna().all():  # none, or values of a table, which have no length
        return rows
    deepest_rows: pd.DataFrame = rows[rows["epochs"] == candidates["epochs"].max()]
    return deepest_rows
