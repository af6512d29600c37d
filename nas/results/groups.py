"""A study's own question: which of several blocks does better, overall and at each site, whatever the verdict.

Trainings of one level; what seeds and starts move for all alike is taken out. A candidate belongs to a block's group
where that block is the only one of those compared that it holds. From trained weights, blocks are held against each
other under forms that both were put in in: what a published form spoils of a trained network says little of a block's
worth. Means say what these networks reach, with the noise of their trainings; the overall difference is paired by site
(or stage, or number of blocks) and speaks of sites like these, so its interval comes from the spread of the pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np
import pandas as pd

from nas.errors import StudyError, unknown_name
from nas.results.columns import MAP, Metric, finished
from nas.results.differences import Verdict, verdict_of
from nas.results.intervals import Estimate, mean_of
from nas.results.levels import SCRATCH
from nas.results.noise import block_effects, noise_of
from nas.spaces.blocks import get_block_spec
from nas.spaces.candidate import Candidate
from nas.spaces.sites import get_topology

By = Literal["site", "stage", "count"]
"""What blocks are compared at: site numbers, stages, numbers of blocks."""
BY: tuple[By, ...] = get_args(By)
COLUMNS = ("by", "group", "networks", "trainings", "mean", "low", "high")
_WORDS: dict[By, tuple[str, str]] = {
    "site": ("site", "sites"),
    "stage": ("stage", "stages"),
    "count": ("number of blocks", "numbers of blocks"),
}


@dataclass(frozen=True)
class PairOfGroups:
    """One block against another.

    Attributes:
        first, second: names of the blocks.
        by: what they were paired by.
        pairs: how many sites (stages, numbers of blocks) both were trained at.
        estimate: mean over the pairs of first minus second.
        alike: whether there are networks in which both were put in alike.
    """

    first: str
    second: str
    by: By
    pairs: int
    estimate: Estimate
    alike: bool = True

    def verdict(self, margin: float | None = None, metric: Metric = MAP) -> Verdict:
        """What the 95 % interval says of the first."""
        return verdict_of(self.estimate.interval(), margin, metric)

    def sentence(self, metric: Metric = MAP) -> str:
        """The difference in words, whatever it is.

        >>> PairOfGroups("cnl", "se", "site", 12, Estimate(0.0021, 0.0005, 11)).sentence()
        'C-NL over SE: +0.0021 [+0.0010, +0.0032] mAP, paired by site (12 sites): better'
        """
        names = f"{get_block_spec(self.first).title} over {get_block_spec(self.second).title}"
        one, many = _WORDS[self.by]
        if not self.alike:
            return f"{names}: not compared, one is put in as published and the other as the identity"
        where = f"paired by {one} ({self.pairs} {one if self.pairs == 1 else many})"
        if not self.pairs:
            return f"{names}: not trained at the same {many}"
        low, high = self.estimate.interval()
        interval = f" [{low:+.4f}, {high:+.4f}]" if math.isfinite(low) else ", interval not known"
        return f"{names}: {self.estimate.value:+.4f}{interval} {metric.words}, {where}: {self.verdict(metric=metric)}"


def group_means(rows: pd.DataFrame, compare: Sequence[str], by: By = "site", metric: Metric = MAP) -> pd.DataFrame:
    """Mean of each block's networks at each site (or stage, or number of blocks), with 95 % interval.

    Columns: `by`, `group`, `networks`, `trainings` (finished), `mean`, `low`, `high`; an interval that nothing tells is
    NaN. A network with blocks at several sites counts at each of them.

    Args:
        rows: trainings of one level.
        compare: names of blocks.
        by: at what.
        metric: what is averaged.

    Raises:
        StudyError: unknown `by`, or fewer than two different blocks.
        SpaceError: an unknown block.
    """
    _check(compare, by)
    done = finished(rows, metric)
    noise = noise_of(rows, metric)
    single = noise.single if noise.single.known else noise.whole
    made = []
    for (at, group), part in _members(done, compare, by, metric).groupby(["by", "group"], sort=True):
        each = part.groupby("notation")["value"].agg(["mean", "size"])
        se = single.sd * math.sqrt(float((1.0 / each["size"]).sum())) / len(each)
        mean = Estimate(float(each["mean"].mean()), se, single.df)
        made.append((at, group, len(each), int(each["size"].sum()), mean.value, *mean.interval()))
    return pd.DataFrame(made, columns=list(COLUMNS))


def group_differences(
    rows: pd.DataFrame, compare: Sequence[str], by: By = "site", metric: Metric = MAP
) -> list[PairOfGroups]:
    """Every pair of the blocks, in the order given; arguments as for `group_means`."""
    whole, found = group_means(rows, compare, by, metric), []
    for first, second in combinations(dict.fromkeys(compare), 2):
        alike = _put_in_alike(rows, first, second)
        table = whole if alike is rows else group_means(alike, compare, by, metric)
        wide = table.pivot(index="by", columns="group", values="mean") if len(table) else pd.DataFrame()
        known = first in wide and second in wide
        gaps = (wide[first] - wide[second]).dropna().to_numpy(dtype=np.float64) if known else np.zeros(0)
        found.append(PairOfGroups(first, second, by, len(gaps), mean_of(gaps), known or alike is rows))
    return found


def _put_in_alike(rows: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """From trained weights, the trainings in which two blocks have no form but those that both have; else all."""
    if "start" not in rows or not (rows["start"].notna() & rows["start"].ne(SCRATCH)).any():
        return rows
    put_in = {
        text: {(p.block, p.is_identity) for p in Candidate.parse(text).placements if p.block in (first, second)}
        for text in map(str, rows["notation"].unique())
    }
    forms = set().union(*put_in.values())
    kept = {text for text, here in put_in.items() if all({(first, form), (second, form)} <= forms for _, form in here)}
    return rows if len(kept) == len(put_in) else rows[rows["notation"].isin(kept)]


def _check(compare: Sequence[str], by: str) -> None:
    if by not in BY:
        raise StudyError(unknown_name("comparison `by`", by, BY))
    if len(set(compare)) < 2:
        raise StudyError("a comparison needs two or more different blocks", "write compare: [se, cnl]")
    for name in compare:
        get_block_spec(name)


def _members(done: pd.DataFrame, compare: Sequence[str], by: By, metric: Metric) -> pd.DataFrame:
    """One row a training and place where its group's block stands: by, group, notation, value."""
    value = done[metric.column] - block_effects(done, metric)
    made = []
    for notation, own in value.groupby(done["notation"]):
        candidate = Candidate.parse(str(notation))
        held = [name for name in compare if name in candidate.blocks]
        if len(held) == 1:
            places = _places(candidate, held[0], by)
            made += [(place, held[0], notation, one) for place in places for one in own]
    return pd.DataFrame(made, columns=["by", "group", "notation", "value"])


def _places(candidate: Candidate, block: str, by: By) -> set[int]:
    if by == "count":
        return {len(candidate.placements)}
    sites = {placement.site for placement in candidate.placements if placement.block == block}
    return sites if by == "site" else {get_topology(candidate.backbone).site(site).stage for site in sites}
