"""Rungs: trainings stopped early, of which the better part goes on.

A sweep promotes asynchronously (ASHA, Li et al., MLSys 2020): nobody waits for a rung to fill. Arrivals are taken in
the order in which candidates were drawn, not in which they happened to end, so that promotions are the same whatever
ran where. What stands above the first rung was selected: effects are read at the first one, which all reached.
A search and a confirmation are about fronts: of a full rung the best by non-domination rank go on.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import count as counting
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd

from nas.search.context import OWN_VIEWS, StudyContext
from nas.search.cost_model import paid
from nas.search.definition import ConfirmStage, SearchStage, SweepStage
from nas.search.history import observations, promoted
from nas.search.stages.base import CANDIDATE, RUNG_BATCHES, TERMINAL, Preview, Wish, ask, stage_rows, started
from nas.search.starts import split_start
from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.storage import StageInfo

    WithRungs: TypeAlias = SweepStage | SearchStage | ConfirmStage


def rung_preview(count: int, rungs: Sequence[int], keep: float, *, always: int = 0, whole: int = 0) -> Preview:
    """Trainings and mean epochs of a seed; only the epochs beyond the rung before are trained at each rung.

    Args:
        count: candidates at the first rung.
        rungs: epochs.
        keep: share promoted.
        always: networks that go from rung to rung whatever they score.
        whole: networks that are trained to the last rung at once.
    """
    sizes = [count]
    for _ in rungs[1:]:
        sizes.append(max(1, math.ceil(sizes[-1] * keep)))
    steps = [b - a for a, b in zip([0, *rungs], rungs, strict=False)]
    total = sum((n + always) * e for n, e in zip(sizes, steps, strict=True)) + whole * rungs[-1]
    trainings = sum(sizes) + always * len(rungs) + whole
    note = "rungs " + " -> ".join(f"{n} to epoch {e}" for n, e in zip(sizes, rungs, strict=True))
    return Preview(trainings, max(1, round(total / trainings)), note=note)


def promotions(
    order: Sequence[str], score: Mapping[str, float], ended: Collection[str], keep: float, *, last: bool
) -> list[str]:
    """Who goes on, in the order in which that was decided.

    After each candidate in turn, the best `keep` of those so far. At least one goes on in the end.

    >>> promotions(["a", "b", "c", "d"], {"a": 0.1, "b": 0.3, "c": 0.2}, {"a", "b", "c"}, 0.5, last=True)
    ['b']
    >>> promotions(["a", "b", "c", "d"], {"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.4}, set("abcd"), 0.5, last=True)
    ['b', 'd']

    Args:
        order: candidates as they were drawn.
        score: of those that have one; a failed candidate has none, and counts.
        ended: whose trainings at this rung have all ended.
        keep: share promoted.
        last: whether nobody else will come.
    """
    chosen: dict[str, None] = {}
    for number, name in enumerate(order, 1):
        if name not in ended:
            break
        whole = last and number == len(order)
        count = max(1, math.ceil(number * keep)) if whole else math.floor(number * keep)
        ranked = sorted((n for n in order[:number] if n in score), key=lambda n: (-score[n], n))
        chosen |= dict.fromkeys(n for n in order[:number] if n in ranked[:count])
    return list(chosen)


def promote(context: StudyContext, stage: StageInfo, settings: SweepStage) -> None:
    """Asks for what a sweep's rungs promote now; what stands beside the candidates always goes on."""
    rungs = settings.rungs or []
    rows = stage_rows(context, stage)
    order = [str(n) for n in rows.loc[rows["role"] == CANDIDATE, "notation"].drop_duplicates()]
    last = True
    for rung in range(len(rungs) - 1):
        here = rows[rows["batch"] // RUNG_BATCHES == rung]
        own = here[here["role"] == CANDIDATE]
        open_ = set(own.loc[~own["status"].isin(TERMINAL), "notation"])
        ended = {name for name in own["notation"] if name not in open_}
        done = own[own["status"] == "finished"].groupby("notation")["map"].mean().dropna()
        order = promotions(order, {str(n): float(v) for n, v in done.items()}, ended, settings.keep, last=last)
        last = last and not open_ and len(ended) == len(set(own["notation"]))
        beside = here[here["role"].ne(CANDIDATE) & here["status"].eq("finished")]
        wanted = [*own[own["notation"].isin(order) & own["status"].eq("finished")].index, *beside.index]
        if _ask_on(context, stage, settings, rung + 1, here.loc[wanted]):
            rows = stage_rows(context, stage)


def promote_ranks(context: StudyContext, stage: StageInfo, settings: SearchStage | ConfirmStage) -> bool:
    """Asks for the next rung of a stage whose trainings have all ended; False when there is none left."""
    rows = stage_rows(context, stage)
    rows = rows[rows["role"] == CANDIDATE]
    cost, *more = (model.cost for model in paid(context))
    for rung in range(len(settings.rungs or ()) - 1):
        here = rows[rows["batch"] // RUNG_BATCHES == rung]
        found = observations(here, cost, more=more)
        best = {o.candidate.id for o in promoted(found, max(1, math.ceil(len(found) * settings.keep)))}
        on = here[here["candidate_id"].isin(best) & here["status"].eq("finished")]
        if _ask_on(context, stage, settings, rung + 1, on.sort_values("seed", kind="stable")):
            return True
    return False


def _ask_on(context: StudyContext, stage: StageInfo, settings: WithRungs, rung: int, rows: pd.DataFrame) -> bool:
    """Takes trainings on to a rung; False where all of them were asked for."""
    asked = stage_rows(context, stage)
    above = asked[asked["batch"] // RUNG_BATCHES == rung]
    known = set(zip(above["notation"], above["seed"], above["start"], strict=True))
    # A batch is planned once: who is promoted later is in one of his own.
    later = 0 if above.empty else int((above["batch"] % RUNG_BATCHES).max()) + 1
    # A confirmed training is a whole one, like any other of its recipe.
    whole = stage.kind == "confirm" and rung == len(settings.rungs or ()) - 1
    wishes = []
    for row in rows.itertuples():
        if (row.notation, row.seed, row.start) in known:
            continue
        candidate = Candidate.parse(str(row.notation))
        wish = Wish(
            candidate=candidate,
            replicate=next(r for r in counting() if context.seed(candidate, r) == row.seed),
            role=str(row.role),
            sampler=str(row.sampler),
            batch=rung * RUNG_BATCHES + later,
            fidelity=settings.fidelity,
            stop_epoch=None if whole else (settings.rungs or [])[rung],
            resume_from=int(row.training_id),  # type: ignore[arg-type]
            moved=split_start(str(row.start))[1],
            view=OWN_VIEWS.get(stage.kind),
        )
        wishes.append(wish)
    return bool(ask(context, stage, started(context, settings, wishes)))
