"""Two studies beside each other: what both trained, how far the numbers differ and how far the orders agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from scipy.stats import spearmanr

from nas.reporting.study_data import StudyData
from nas.results.intervals import Estimate


@dataclass(frozen=True)
class Comparison:
    """What two studies say of the same candidates.

    Attributes:
        table: one row a candidate that both have at the level they quote: notation, map_mean, map_mean_other,
            difference (this minus other), and the two costs.
        difference: mean of the differences over candidates, with its standard error.
        correlation: Spearman's, of the two orders; NaN for fewer than three candidates.
        sentence: all of it in words.
    """

    table: pd.DataFrame
    difference: Estimate
    correlation: float
    sentence: str

    def _repr_html_(self) -> str:
        from nas.reporting.markup import tag

        return str(tag("p", self.sentence)) + self.table.to_html(index=False)


def compare(one: StudyData, other: StudyData) -> Comparison:
    """The candidates of one study beside those of another."""
    tables = [study.candidates(study.quoted) for study in (one, other)]
    columns = [["notation", "map_mean", study.cost] for study in (one, other)]
    first, second = (table[names] for table, names in zip(tables, columns, strict=True))
    second = second.rename(columns={"map_mean": "map_mean_other", other.cost: f"{other.cost}_other"})
    both = first.merge(second, on="notation")
    both = both.assign(difference=both["map_mean"].astype(float) - both["map_mean_other"].astype(float))
    count = len(both)
    spread = float(both["difference"].std()) if count > 1 else math.nan
    gap = Estimate(float(both["difference"].mean()), spread / math.sqrt(count) if count > 1 else math.nan, count - 1.0)
    agree = float(spearmanr(both["map_mean"], both["map_mean_other"]).statistic) if count > 2 else math.nan
    return Comparison(both.sort_values("map_mean", ascending=False), gap, agree, _words(one, other, both, gap, agree))


def _words(one: StudyData, other: StudyData, both: pd.DataFrame, gap: Estimate, agree: float) -> str:
    if both.empty:
        return f"{one.name} and {other.name} have no candidate in common at the levels they quote."
    low, high = gap.interval()
    interval = "" if math.isnan(low) else f" [{low:+.4f}, {high:+.4f}], 95 % over candidates"
    order = "" if math.isnan(agree) else f" Their orders agree with a rank correlation of {agree:.2f}."
    said = f"{one.name} minus {other.name}: {gap.value:+.4f} {one.metric.words}{interval}"
    return f"{len(both)} candidates in common; {said}.{order}"
