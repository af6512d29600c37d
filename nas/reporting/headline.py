"""The answer in one sentence: the candidate to take, what it gains and what it costs, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from nas.reporting.comparison import Level, baseline_row, pooled_sd, reference_row, summarise_candidates, trusted_level
from nas.reporting.study_data import StudyData


@dataclass(frozen=True)
class Gain:
    """Difference of two candidates' means with its 95 % interval (pooled seed sd), and of their costs."""

    map: float
    low: float
    high: float
    cost: float
    relative_cost: float


@dataclass(frozen=True)
class Headline:
    """The recommended candidate, how it stands to the networks without attention, and to the most accurate one.

    `cost` is the column that all of them are paid in.
    """

    cost: str
    best: pd.Series
    most_accurate: pd.Series
    over_most_accurate: Gain
    level: Level
    over_baseline: Gain | None
    baseline: pd.Series | None
    over_reference: Gain | None
    reference: pd.Series | None


def gain(best: pd.Series, other: pd.Series, sd: float, freedom: int, cost: str) -> Gain:
    """best - other, paid in that column; NaN without replicates.

    The interval is difference +- t(0.975, d) s sqrt(1/n1 + 1/n2).
    """
    difference = float(best["map_mean"]) - float(other["map_mean"])
    error = sd * math.sqrt(1 / int(best["seeds"]) + 1 / int(other["seeds"])) if freedom else math.nan
    half = float(stats.t.ppf(0.975, freedom)) * error if freedom else math.nan
    paid, theirs = float(best[cost]), float(other[cost])
    return Gain(difference, difference - half, difference + half, paid - theirs, (paid - theirs) / theirs)


def headline(data: StudyData) -> Headline | None:
    """The cheapest candidate on the front whose mAP cannot be told from the most accurate one's.

    Cost is what the study pays with: time, unless it says memory or energy. Considered are front members with blocks
    that cost no more than the reference network (all, when none does or there is no reference). "Cannot be told" means
    that the 95 % interval of the difference holds zero, so without replicated seeds the most accurate itself is
    recommended. None before there is a front.
    """
    level = trusted_level(data)
    summary = summarise_candidates(data, level)
    front = summary[summary["on_front"].astype(bool) & (summary["n_blocks"] > 0)] if len(summary) else summary
    if level is None or front.empty:
        return None
    base, reference = baseline_row(summary, data.backbone), reference_row(summary, data.backbone)
    allowed = front if reference is None else front[front[data.cost] <= reference[data.cost]]
    allowed = (allowed if len(allowed) else front).sort_values(data.cost)
    sd, freedom = pooled_sd(level.rows(data.finished))
    most_accurate = allowed.sort_values("map_mean").iloc[-1]
    gaps = [gain(row, most_accurate, sd, freedom, data.cost) for _, row in allowed.iterrows()]
    equal = [i for i, gap in enumerate(gaps) if gap.high >= 0 or allowed.index[i] == most_accurate.name]
    best, gap = allowed.iloc[equal[0]], gaps[equal[0]]
    over = [None if row is None else gain(best, row, sd, freedom, data.cost) for row in (base, reference)]
    return Headline(data.cost, best, most_accurate, gap, level, over[0], base, over[1], reference)
