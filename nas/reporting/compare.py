"""Two studies held against each other: the same space on other data, in other seeds, or by other versions.

What both trained is compared network by network, means by Welch; where the images differ only the order of networks may
be compared, by Kendall's tau. Rules are compared as they were adopted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import scipy

from nas.errors import StudyError
from nas.reporting.numbers import fixed, p_value, plural
from nas.reporting.study_data import StudyData, records_of
from nas.results.columns import MAP, Metric
from nas.results.differences import verdict_of
from nas.results.intervals import Estimate, mean_from, mean_of
from nas.results.levels import Level
from nas.spaces.findings import Finding
from nas.spaces.rules import rule_from_dict

LEAST = 4
"""Networks below which an order says nothing: of three, even a perfect one has p = 1/3."""
_NUMBERS = ("notation", "map_mean", "map_sd", "seeds", "latency_ms")


@dataclass(frozen=True)
class Comparison:
    """Two studies.

    Attributes:
        names: of both.
        differs: what is not the same, in words; empty where the numbers may be compared.
        networks: those both trained: notation, map_first, map_second, difference (first minus second) with its 95 %
            interval and verdict where the numbers may be compared, NaN and "" where not, latency_ms of both.
        shift: mean of the differences over networks, with its standard error; not known where numbers are not compared.
        tau, p: Kendall's rank correlation over these, NaN below four networks.
        both, only_first, only_second: sentences of adopted rules.
        metric: what the first is judged by; columns and shift are of it.
    """

    names: tuple[str, str]
    differs: tuple[str, ...]
    networks: pd.DataFrame
    shift: Estimate
    tau: float
    p: float
    both: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    metric: Metric = MAP

    def sentence(self) -> str:
        """What is to be said first."""
        first, second = self.names
        shared = f"{first} and {second} share {plural(len(self.networks), 'network')}"
        order = (
            f"their order agrees by {fixed(self.tau, 2)} (Kendall's tau: 1 is the same order, 0 none; "
            f"p {p_value(self.p)})"
            if self.tau == self.tau
            else f"too few to compare their order (at least {LEAST})"
        )
        apart = f"; numbers are not compared, because these differ: {', '.join(self.differs)}" if self.differs else ""
        low, high = self.shift.interval()
        ends = "" if math.isnan(low) else f" [{low:+.4f}, {high:+.4f}], 95 % over networks"
        moved = (
            ""
            if math.isnan(self.shift.value)
            else f"; {first} minus {second}: {self.shift.value:+.4f} {self.metric.words}{ends}"
        )
        return f"{shared}; {order}{moved}{apart}."

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "studies": list(self.names),
            "differs": list(self.differs),
            "networks": records_of(self.networks),
            "metric": self.metric.words,
            "shift": {"value": self.shift.value, "interval": list(self.shift.interval())},
            "kendall_tau": self.tau,
            "p": self.p,
            "rules": {"both": list(self.both), "first": list(self.only_first), "second": list(self.only_second)},
            "sentence": self.sentence(),
        }


def compare_studies(first: StudyData, second: StudyData) -> Comparison:
    """Networks, order and rules of two studies, each at the level that it quotes.

    Raises:
        StudyError: one of them has no finished training.
    """
    levels = [data.quoted for data in (first, second)]
    for data, level in zip((first, second), levels, strict=True):
        if level is None:
            raise StudyError(f"study {data.name!r} has no finished training to compare", "run it first")
    differs = _differs(first, second, *levels)  # type: ignore[arg-type]
    tables = [data.candidates(level)[list(_NUMBERS)] for data, level in zip((first, second), levels, strict=True)]
    networks = _networks(
        tables[0].merge(tables[1], on="notation", suffixes=("_first", "_second")), not differs, first.metric
    )
    tau, p = math.nan, math.nan
    if len(networks) >= LEAST:
        found = scipy.stats.kendalltau(networks["map_first"], networks["map_second"])
        tau, p = float(found.statistic), float(found.pvalue)
    rules = [_adopted(data) for data in (first, second)]
    return Comparison(
        (first.name, second.name),
        tuple(differs),
        networks,
        mean_of(networks["difference"]),
        tau,
        p,
        tuple(words for key, words in rules[0].items() if key in rules[1]),
        tuple(words for key, words in rules[0].items() if key not in rules[1]),
        tuple(words for key, words in rules[1].items() if key not in rules[0]),
        first.metric,
    )


def _differs(first: StudyData, second: StudyData, a: Level, b: Level) -> list[str]:
    pairs: dict[str, tuple[object, object]] = {
        "images": (a.data, b.data),
        "split": (a.split, b.split),
        "recipe": (a.recipe, b.recipe),
    }
    pairs |= {"length of the trainings": (a.fidelity, b.fidelity), "start": (a.start, b.start)}
    pairs |= {"what trainings are judged by": (first.metric, second.metric)}
    return [name for name, (mine, other) in pairs.items() if mine != other]


def _networks(both: pd.DataFrame, comparable: bool, metric: Metric) -> pd.DataFrame:
    rows = []
    for row in records_of(both):
        told = ("map_mean", "map_sd", "seeds")
        first, second = (mean_from(*(row[f"{name}_{side}"] for name in told)) for side in ("first", "second"))
        found = first - second
        ends = found.interval()
        rows.append(
            {
                "notation": row["notation"],
                "map_first": first.value,
                "map_second": second.value,
                "difference": found.value if comparable else math.nan,
                "low": ends[0] if comparable else math.nan,
                "high": ends[1] if comparable else math.nan,
                "verdict": verdict_of(ends, metric=metric) if comparable else "",
                "latency_ms_first": row["latency_ms_first"],
                "latency_ms_second": row["latency_ms_second"],
            }
        )
    names = ["notation", "map_first", "map_second", "difference", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=[*names, "latency_ms_first", "latency_ms_second"])


def _adopted(data: StudyData) -> dict[str, str]:
    """Adopted rules: what identifies each, and its sentence."""
    found = {}
    for finding in data.findings:
        if finding.get("verdict") == "adopted":
            rule = rule_from_dict(finding["rule"])
            found[str(sorted(rule.to_dict().items(), key=str))] = Finding(rule=rule).claim()
    return found
