"""Which network to put on a robot: the best one that costs little more than the plain network, in a sentence."""

from __future__ import annotations

from nas.reporting.numbers import fixed, plural
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
    found = most_accurate(data.results, level, costs, (1 + ALLOWED) * own, data.metric)
    if found is None:  # the plain network's own cost is not known
        return ""
    noun, control = COSTS[data.cost].noun, short_label(str(plain["notation"]))
    head = f"For a robot, at most {100 * ALLOWED:g} % more {noun} than plain {control}:"
    if found.best == plain["notation"]:
        return f"{head} no network with blocks has a higher mean."
    mean = fixed(table.set_index("notation").loc[found.best, "map_mean"], 4)
    said = f"{head} {short_label(found.best)} has the best mean ({mean} {data.metric.suffix})"
    if not found.equal:
        return f"{said}, told apart from all others within that."
    cheapest = "" if found.cheapest == found.best else f", the cheapest of them {short_label(found.cheapest)}"
    are = "is" if len(found.equal) == 1 else "are"
    return f"{said}; {plural(len(found.equal), 'other')} {are} not told apart from it{cheapest}."
