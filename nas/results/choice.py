"""Which candidate for my robot: the most accurate one that may cost so much, or the knee of the front.

Both come with the runners-up that the same intervals do not tell apart from it: whoever must choose may take the
cheapest of them. Only candidates to quote, with a known cost and without failed trainings, are chosen from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nas.results.columns import MAP, Metric
from nas.results.differences import compare_all
from nas.results.fronts import on_front
from nas.results.levels import Level, candidates


@dataclass(frozen=True)
class Choice:
    """A candidate and those that are not told apart from it.

    Attributes:
        best: notation.
        cost: of the best.
        equal: runners-up whose difference to it may be 0 (95 %, for all of them together), the cheapest first.
        cheapest: the cheapest of all these, the best among them.
    """

    best: str
    cost: float
    equal: tuple[str, ...]
    cheapest: str


def most_accurate(
    table: pd.DataFrame, level: Level, costs: Mapping[str, float], at_most: float = math.inf, metric: Metric = MAP
) -> Choice | None:
    """The best candidate with blocks or without whose cost is within a limit; None where there is none.

    Args:
        table: a results table.
        level: of it.
        costs: of candidates by notation, less is better; NaN or absent where not known.
        at_most: the largest cost allowed.
        metric: what is best.
    """
    allowed = _allowed(table, level, costs, metric)
    allowed = allowed[allowed["cost"] <= at_most]
    if allowed.empty:
        return None
    best = (metric.sign * allowed.set_index("notation")[f"{metric.column}_adjusted"].astype(float)).idxmax()
    return _with_equals(table, level, allowed, str(best), metric)


def knee(table: pd.DataFrame, level: Level, costs: Mapping[str, float], metric: Metric = MAP) -> Choice | None:
    """The member of the front farthest above the line between its ends; None for fewer than three members.

    Cost and score are scaled to the ends first (Das, Structural Optimization 1999).
    """
    allowed = _allowed(table, level, costs, metric)
    score = (metric.sign * allowed[f"{metric.column}_adjusted"]).to_numpy(dtype=np.float64)
    front = allowed[on_front(np.column_stack([score, allowed["cost"]]))].sort_values("cost")
    if len(front) < 3:
        return None
    x, y = (
        front["cost"].to_numpy(dtype=np.float64),
        metric.sign * front[f"{metric.column}_adjusted"].to_numpy(np.float64),
    )
    height = (y - y[0]) / (y[-1] - y[0]) - (x - x[0]) / (x[-1] - x[0])
    return _with_equals(table, level, allowed, str(front["notation"].iloc[int(height.argmax())]), metric)


def _allowed(table: pd.DataFrame, level: Level, costs: Mapping[str, float], metric: Metric) -> pd.DataFrame:
    found = candidates(table, level, metric)
    found = found.assign(cost=found["notation"].map(dict(costs)).astype(float))
    usable = found["quoted"].astype(bool) & found["failed"].eq(0) & found[f"{metric.column}_mean"].notna()
    chosen: pd.DataFrame = found[usable & found["cost"].notna()]
    return chosen


def _with_equals(table: pd.DataFrame, level: Level, allowed: pd.DataFrame, best: str, metric: Metric) -> Choice:
    costs = dict(zip(allowed["notation"].astype(str), allowed["cost"].astype(float), strict=True))
    others = {name: best for name in costs if name != best}
    gaps = compare_all(level.rows(table), others, metric) if others else pd.DataFrame({"notation": [], "verdict": []})
    # An unknown interval tells nothing apart.
    near = gaps["notation"][~gaps["verdict"].isin(["worse"])]
    equal = tuple(sorted((str(name) for name in near), key=lambda name: (costs[name], name)))
    return Choice(best, costs[best], equal, min((best, *equal), key=lambda name: (costs[name], name != best)))
