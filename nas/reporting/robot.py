"""Which network to put on a robot: the best one that costs little more than the plain network, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from nas.reporting.numbers import fixed, is_missing, plural
from nas.reporting.study_data import StudyData
from nas.results.choice import most_accurate
from nas.results.costs import COSTS
from nas.results.levels import plain_row
from nas.spaces.labels import short_label

ALLOWED = 0.05
"""Share of the plain network's cost that may come on top: what the paper calls hardly slower."""


def robot_words(data: StudyData) -> str:
    """The choice with those that are not told apart from it; empty where nothing may be quoted or no cost is known."""
    return data.once("robot", lambda: _words(data))


def _words(data: StudyData) -> str:
    level = data.quoted
    table = data.candidates(level)
    plain = plain_row(table, data.backbone) if len(table) else None
    if level is None or plain is None:
        return ""
    known = table[table["latency_measured"].astype(bool)] if data.cost.startswith("latency") else table
    costs = dict(zip(known["notation"].astype(str), known[data.cost].astype(float), strict=True))
    own = costs.get(str(plain["notation"]), float("nan"))
    limit = (1 + ALLOWED) * own
    found = most_accurate(data.results, level, costs, limit, data.metric)
    if found is None:  # the plain network's own cost is not known
        return ""
    noun, control = COSTS[data.cost].noun, short_label(str(plain["notation"]))
    head = f"For a robot, at most {100 * ALLOWED:g} % more {noun} than plain {control}:"
    scope, others = _looked_at(table, costs, limit, noun)
    yet = "" if level.confirmed else " (not confirmed)"
    if found.best == plain["notation"]:
        no = f"no network with blocks{scope}"
        return f"{head} {no} has a higher mean{yet}." if others else f"{head} {no} is within that."
    row = table.set_index("notation").loc[found.best]
    mean = f"{fixed(row['map_mean'], 4)} {data.metric.suffix}, "
    unknown = "one seed" if row["seeds"] == 1 else "interval not known"
    ends = f"[{fixed(row['map_low'], 4)}, {fixed(row['map_high'], 4)}]"
    mean += unknown if is_missing(row["map_low"]) else f"95 % interval {ends}"
    said = f"{head} {short_label(found.best)} has the best mean{scope} ({mean})"
    if not found.equal:
        return f"{said}{', told apart from all others within that' if others else ''}{yet}."
    cheapest = "" if found.cheapest == found.best else f", the cheapest of them {short_label(found.cheapest)}"
    are = "is" if len(found.equal) == 1 else "are"
    return f"{said}; {plural(len(found.equal), 'other')} {are} not told apart from it{cheapest}{yet}."


def _looked_at(table: pd.DataFrame, costs: Mapping[str, float], limit: float, noun: str) -> tuple[str, int]:
    """Of which networks the sentence is true, where not of all that finished; and how many of them are within the limit
    beside the best.
    """
    cost = table["notation"].astype(str).map(dict(costs)).astype(float)
    within, clean, quoted = cost <= limit, table["failed"].eq(0), table["quoted"].astype(bool)
    left_out = {
        "that are confirmed": within & ~quoted,
        f"whose {noun} is known": cost.isna() & quoted,
        "of which no training failed": within & quoted & ~clean,
    }
    true_of = [words for words, rows in left_out.items() if rows.any()]
    scope = f" of those {' and '.join(true_of)}" if true_of else ""
    return scope, int((within & clean & quoted).sum()) - 1
