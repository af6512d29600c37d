"""What a study may say in one sentence, and the numbers behind it: the same in report, dashboard, terminal and JSON.

A network is named as better only if the interval of its paired difference to the control, simultaneous over all
networks that were compared, excludes zero. Where none is, the sentence says how large a difference is still possible
and what it would take to see a smaller one. A network is never said to save time against one whose layers it contains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import pandas as pd

from nas.progress import duration
from nas.results.choice import most_accurate
from nas.results.columns import MAP, Metric, comparable, failed, finished, left_behind
from nas.results.cost_tables import time_quote
from nas.results.costs import COSTS, Quote, Ratio, ratio
from nas.results.differences import to_controls
from nas.results.levels import Level, candidates, controls_of, is_plain, levels, quoted_level
from nas.results.noise import noise_of
from nas.results.power import POWER, ComparisonDesign, blocks_needed, seen_by
from nas.spaces.labels import short_label

MOST_NAMES = 5
"""Networks that a sentence names beside the one it is about; `Answer.equal` has all of them."""
Kind = Literal["no result", "no control", "one seed", "equal scores", "better", "none better"]


@dataclass(frozen=True)
class Answer:
    """The answer of a study so far; numbers that are not known are None.

    Attributes:
        kind: `better`: a network is named; `none better`: none is told to be better than its control; `one seed`,
            `equal scores` (repeated trainings show no noise), `no control`, `no result`: why nothing can be said.
        sentence: all of it in words.
        confirmed: whether a confirm stage asked for these trainings.
        level: what was compared, in words.
        compared: networks compared to a control.
        worse: how many of them are told to be worse.
        failed: networks with failed trainings.
        ended: networks that the confirm stage ended at a rung; the intervals are for them together with the others.
        seeds: seeds (and starts) that the comparison rests on, where networks differ, of those with the most.
        fewest: the same of those with the fewest; 0: compared over different ones.
        named: the network named, or that with the largest difference still possible.
        equal: networks that are better too and not told apart from it.
        control: what `named` is compared to.
        difference, low, high: named minus control; 95 % for all that were compared together.
        slower, slower_low, slower_high: cost of `named` over the control's, minus 1.
        visible: the smallest difference that `seeds` of this design see with 80 % power.
        wished, seeds_needed: a smaller difference, and the seeds each that it would take.
        seconds_needed: of training, all workers together, for the seeds that are missing.
    """

    kind: Kind
    sentence: str
    confirmed: bool = False
    level: str = ""
    compared: int = 0
    worse: int = 0
    failed: int = 0
    ended: int = 0
    seeds: int = 0
    fewest: int = 0
    named: str | None = None
    equal: tuple[str, ...] = ()
    control: str | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    slower: float | None = None
    slower_low: float | None = None
    slower_high: float | None = None
    visible: float | None = None
    wished: float | None = None
    seeds_needed: int | None = None
    seconds_needed: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain data; what is not known is None."""
        return asdict(self) | {"equal": list(self.equal)}


def answer_of(table: pd.DataFrame, cost: str = "latency_ms", metric: Metric = MAP) -> Answer:
    """What a study may say, from its results table.

    Args:
        table: a results table.
        cost: what accuracy is paid with, a name of `nas.results.costs.COSTS`.
        metric: what networks are judged by.
    """
    level = quoted_level(levels(table, metric))
    if level is None:
        lost = len(failed(table, metric))
        return Answer(
            "no result",
            f"No training has finished yet{f' ({lost} failed)' if lost else ''}, so there is no answer so far.",
        )
    rows = level.rows(table)
    ended = len(set(left_behind(table)["notation"]) - set(rows["notation"])) if level.confirmed else 0
    gaps = to_controls(rows, metric, ended=ended)
    found = Answer(
        "no control",
        _no_control(gaps, level, failed(rows, metric), _elsewhere(table, metric) if gaps.empty else 0),
        confirmed=level.confirmed,
        level=level.words,
        compared=int(gaps["difference"].notna().sum()),
        failed=int(gaps["failed"].gt(0).sum()),
        ended=ended,
    )
    if gaps.empty or gaps["control"].isna().all():
        return found
    known, noise = gaps[gaps["high_all"].notna()], noise_of(rows, metric)
    # Controls repeated in one seed show a training's chaos, not what another seed would have said of a network.
    if known.empty or not noise.whole.known:
        kind: Kind = "equal scores" if noise.whole.known and 0 in (noise.single.sd, noise.whole.sd) else "one seed"
        return replace(found, kind=kind, sentence=_noise_unknown(kind, gaps, level, metric))
    blocks = known["blocks"].astype(int)
    found = replace(found, worse=int(known["verdict"].eq("worse").sum()), seeds=max(blocks), fewest=min(blocks))
    quoted = candidates(table, level, metric).query("quoted and failed == 0")["notation"]
    better = known[known["verdict"].eq("better") & known["notation"].isin(quoted)]
    if len(better):
        return _better(table, level, better, cost, metric, found)
    return _none_better(table, level, known, metric, found)


def _better(
    table: pd.DataFrame, level: Level, better: pd.DataFrame, cost: str, metric: Metric, found: Answer
) -> Answer:
    """Names the cheapest of the better networks that are not told apart from the best of them."""
    summary = candidates(table, level, metric).set_index("notation")
    column = COSTS[cost].column
    paid = summary[column].astype(float) if column in summary else pd.Series(dtype=float)
    prices = {str(name): float(paid.get(name, math.nan)) for name in better["notation"]}
    if any(math.isnan(price) for price in prices.values()):  # then nobody is known to be cheaper
        prices = dict.fromkeys(prices, 0.0)
    chosen = most_accurate(table, level, prices, metric=metric)
    assert chosen is not None
    others = tuple(name for name in (chosen.best, *chosen.equal) if name != chosen.cheapest)
    found = replace(_compared(better, chosen.cheapest, found), kind="better", equal=others)
    change = ratio(*(_quote(summary, str(name), column) for name in (found.named, found.control)))
    if change is not None:
        low, high = (None if end is None else end - 1.0 for end in (change.low, change.high))
        found = replace(found, slower=change.value - 1.0, slower_low=low, slower_high=high)
    return replace(found, sentence=_better_words(found, change, COSTS[cost].noun, metric))


def _compared(table: pd.DataFrame, notation: str, found: Answer) -> Answer:
    """The answer with the numbers of one row of `to_controls`, still without words."""
    row = table[table["notation"] == notation].iloc[0]
    difference, low, high = (float(row[name]) for name in ("difference", "low_all", "high_all"))
    return replace(found, named=notation, control=str(row["control"]), difference=difference, low=low, high=high)


def _none_better(table: pd.DataFrame, level: Level, known: pd.DataFrame, metric: Metric, found: Answer) -> Answer:
    """How large a difference is still possible, and what it would take to see a smaller one."""
    best_end = known["high_all"] if metric.more_is_better else known["low_all"]
    largest = (metric.sign * best_end.set_axis(known["notation"])).idxmax()
    sd, planned = _design(table, level, metric, known)
    visible = _visible(known)
    wished = visible / 2.0
    needed = blocks_needed(sd, wished, planned)
    lacking = (needed or 0) - pd.Series([*known["blocks"], *[planned.blocks] * planned.control])
    missing = int(lacking.clip(lower=0).sum())
    found = replace(
        _compared(known, str(largest), found),
        kind="none better",
        visible=_known(visible),
        wished=_known(wished),
        seeds_needed=needed,
        seconds_needed=_known(missing * _seconds_each(level.rows(table))) if missing else None,
    )
    return replace(found, sentence=_none_better_words(found, metric))


def _visible(known: pd.DataFrame) -> float:
    """The smallest difference that the study's own intervals tell, of the networks with the most seeds."""
    rows = known[known["blocks"].eq(known["blocks"].max())]
    row = rows.sort_values("se").iloc[-1]
    quantile = (row["high_all"] - row["difference"]) / row["se"] if row["se"] > 0 else math.nan
    return seen_by(float(row["se"]), float(quantile), float(known["df"].min()))


def _design(table: pd.DataFrame, level: Level, metric: Metric, known: pd.DataFrame) -> tuple[float, ComparisonDesign]:
    """The noise of one training, and the level as a plan."""
    blocks = max(1, int(known["blocks"].max()))
    control = max(1, round(float(known["control_trainings"].max()) / blocks))
    return noise_of(level.rows(table), metric).single.sd, ComparisonDesign(len(known), blocks, control)


def _seconds_each(rows: pd.DataFrame) -> float:
    """How long a training takes; NaN where the table does not say."""
    return float(pd.to_numeric(rows["seconds"]).mean()) if "seconds" in rows else math.nan


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


# -- costs


def _quote(summary: pd.DataFrame, notation: str, column: str) -> Quote:
    """A candidate's cost with its interval; only times have one of their own."""
    row = summary[summary.index == notation].iloc[0]
    value = row.get(column)
    if value is None or value != value:
        return Quote(why="not known")
    if column != "latency_ms":
        return Quote.exactly(float(value), "counted")
    if row["latency_measured"] and not isinstance(row["latency_how"], str):
        return Quote(float(value), how="measured")  # timed, but the table does not say how surely
    return time_quote(row)


def cost_words(change: Ratio | None, noun: str) -> str:
    """What a network costs more than the one whose layers it contains; empty where it is not known.

    >>> cost_words(Ratio(1.04, 1.03, 1.05), "time")
    'for 4.0 % [3.0, 5.0] more time'
    >>> cost_words(Ratio(0.7, 0.6, 0.8), "time"), cost_words(Ratio(1.01, 0.99, 1.03), "time")
    ('with no difference in time that this measurement could see', 'with no difference in time that this measurement \
could see')
    """
    if change is None:
        return ""
    more = 100.0 * (change.value - 1.0)
    if change.low is None or change.high is None:
        spread = f"at a {noun} whose spread is not known"
        return f"{spread} ({more:.1f} % more)" if more > 0 else spread
    if change.low <= 1.0 or change.value <= 1.0:
        return f"with no difference in {noun} that this measurement could see"
    ends = (100.0 * (change.low - 1.0), 100.0 * (change.high - 1.0))
    exact = ends[1] - ends[0] < 0.05
    return f"for {more:.1f} %{'' if exact else f' [{ends[0]:.1f}, {ends[1]:.1f}]'} more {noun}"


# -- words


def _amount(value: float | None, metric: Metric) -> str:
    return f"{value:+.4f} {metric.suffix}"


def _interval(found: Answer) -> str:
    return f"[{found.low:+.4f}, {found.high:+.4f}]"


def _seeds(number: int) -> str:
    return f"{number} seed{'s' if number != 1 else ''}"


def _basis(found: Answer) -> str:
    fewer = "" if found.fewest == found.seeds else f"{found.fewest} to " if found.fewest else "at most "
    seeds = f"{fewer}{_seeds(found.seeds)}" if found.seeds else "different seeds"
    lost = f", {found.failed} with failed trainings" if found.failed else ""
    lost += f", {found.ended} more ended at a rung" if found.ended else ""
    return f"{found.compared} compared in {seeds}{lost}; {found.level}"


def _unconfirmed(found: Answer) -> str:
    return "" if found.confirmed else " Not confirmed: these are not a confirm stage's trainings."


def _some(names: Sequence[str]) -> str:
    """Names for a sentence; of many, the first and how many more there are."""
    shown = ", ".join(short_label(name) for name in names[:MOST_NAMES])
    left = len(names) - MOST_NAMES
    return f"{shown} and {left} more" if left > 0 else shown


def _better_words(found: Answer, change: Ratio | None, noun: str, metric: Metric) -> str:
    paid = cost_words(change, noun)
    equal = f" Not told apart from it: {_some(found.equal)}." if found.equal else ""
    return (
        f"{short_label(found.named or '')} is better than {short_label(found.control or '')}: "
        f"{_amount(found.difference, metric)} {_interval(found)}{f', {paid}' if paid else ''} "
        f"({_basis(found)}; 95 % for all compared together).{equal}{_unconfirmed(found)}"
    )


def _none_better_words(found: Answer, metric: Metric) -> str:
    control = short_label(found.control or "")
    verdict = f"{found.worse} of them told to be worse" if found.worse else ""
    head = "No placement is shown to be better than" if found.worse else "No placement is told apart from"
    possible = found.high if metric.more_is_better else found.low
    said = (
        f"{head} plain {control} ({_basis(found)}{f'; {verdict}' if verdict else ''}): the largest difference still "
        f"possible is {_amount(possible, metric)} ({short_label(found.named or '')}: {found.difference:+.4f} "
        f"{_interval(found)}, 95 % for all compared together)."
    )
    return f"{said}{_power_words(found, metric)}{_unconfirmed(found)}"


def _power_words(found: Answer, metric: Metric) -> str:
    if found.visible is None:
        return ""
    where = "This design" if found.fewest == found.seeds else f"Where a network has {_seeds(found.seeds)}, this design"
    seen = f" {where} sees {_amount(found.visible, metric)} with {POWER:.0%} power"
    if found.seeds_needed is None or found.wished is None:
        return f"{seen}."
    more = "" if found.seconds_needed is None else f", about {duration(found.seconds_needed)} more of training"
    return f"{seen}; half of that takes {found.seeds_needed} seeds each (`seeds: {found.seeds_needed}`{more})."


def _elsewhere(table: pd.DataFrame, metric: Metric) -> int:
    """Networks with blocks that finished for another question than which of them is best."""
    done = finished(table, metric)
    names = done.loc[~comparable(done), "notation"].unique()
    return sum(not is_plain(str(name)) for name in names)


def _no_control(gaps: pd.DataFrame, level: Level, lost: pd.DataFrame, elsewhere: int) -> str:
    if gaps.empty and elsewhere:
        few = "The one network" if elsewhere == 1 else f"All {elsewhere} networks"
        return (
            f"{few} with blocks that finished answered another question (rules tested elsewhere, a recipe, other "
            "images), so none is compared to the plain network here."
        )
    if gaps.empty:
        return f"Only networks without blocks have finished where numbers may be quoted ({level.words})."
    controls = {control for name in gaps["notation"] for control in controls_of(str(name))}
    what = (
        "Every training of the plain network failed"
        if lost["notation"].isin(controls).any()
        else "The plain network was not trained"
    )
    others = f"{len(gaps)} network{'s' * (len(gaps) != 1)}"
    return (
        f"{what} beside the {others} with blocks ({level.words}), so none of them can be said to be better or worse "
        "than it."
    )


def _noise_unknown(kind: Kind, gaps: pd.DataFrame, level: Level, metric: Metric) -> str:
    why, cure = "no two networks were trained in the same two seeds", "Train each in 3 seeds, 2 at least"
    if kind == "equal scores":
        why = "trainings of one network beside each other scored exactly alike"
        cure = "More test images or longer trainings show it, or more seeds"
    return (
        f"How much a training moves by itself is not known, as {why} ({len(gaps)} with blocks; {level.words}): no "
        f"difference in {metric.words} can be told from chance. {cure}."
    )
