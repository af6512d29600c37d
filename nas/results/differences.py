"""Is one network better than another, or than its control? Paired within blocks, one sign: A minus B.

The *control* of a candidate is the plain network of its backbone at the same level in the same seeds. Where both were
trained in the same block (seed, start) the difference is taken there, so that what the block moves for all alike drops
out; its error is the noise that is left. Where they share no block, means over blocks are compared and the error holds
the blocks' shifts, too. Failed trainings are counted, never averaged.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from nas.results.columns import MAP, Metric, failed, finished
from nas.results.intervals import CONFIDENCE, Estimate, Interval, simultaneous_quantile
from nas.results.levels import controls_of, is_plain
from nas.results.noise import block_codes, noise_of

Verdict = Literal["better", "worse", "equal", "not told apart"]


@dataclass(frozen=True)
class Difference:
    """A minus B.

    Attributes:
        first, second: notations of A and B.
        estimate: of the difference, with its standard error.
        blocks: blocks that both were trained in; 0: compared over different ones.
        trainings: finished trainings of A and of B that entered.
        failed: failed trainings of A and of B.
    """

    first: str
    second: str
    estimate: Estimate
    blocks: int
    trainings: tuple[int, int]
    failed: tuple[int, int] = (0, 0)

    def verdict(self, margin: float | None = None, metric: Metric = MAP, quantile: float | None = None) -> Verdict:
        """What the 95 % interval says of A; see `verdict_of`."""
        return verdict_of(self.estimate.interval(quantile=quantile), margin, metric)


def verdict_of(interval: Interval, margin: float | None = None, metric: Metric = MAP) -> Verdict:
    """What an interval of A - B says of A: an interval that is not known tells nothing apart.

    >>> verdict_of((0.001, 0.004)), verdict_of((-0.0002, 0.0003), margin=0.0005), verdict_of((math.nan, math.nan))
    ('better', 'equal', 'not told apart')

    Args:
        interval: of the difference.
        margin: differences within it count as none; None: nothing is ever equal.
        metric: its direction decides what is better.
    """
    low, high = interval
    if margin is not None and -margin <= low and high <= margin:
        return "equal"
    if low > 0 or high < 0:
        return "better" if (low > 0) == metric.more_is_better else "worse"
    return "not told apart"


def difference(rows: pd.DataFrame, first: str, second: str, metric: Metric = MAP) -> Difference:
    """A minus B at one level; NaN where one of them has no finished training.

    Args:
        rows: of one level.
        first, second: notations of A and B.
        metric: what is compared.
    """
    table = _differences(rows, {first: second}, metric)
    found = table.iloc[0]
    return Difference(
        first,
        second,
        Estimate(float(found["difference"]), float(found["se"]), float(found["df"])),
        int(found["blocks"]),
        (int(found["trainings"]), int(found["control_trainings"])),
        (int(found["failed"]), int(_failures(rows, metric).get(second, 0))),
    )


CONTROL_COLUMNS = (
    *("notation", "control", "difference", "se", "df", "low", "high", "low_all", "high_all"),
    *("blocks", "trainings", "control_trainings", "failed", "verdict"),
)


def to_controls(rows: pd.DataFrame, metric: Metric = MAP, margin: float | None = None, ended: int = 0) -> pd.DataFrame:
    """Every network with blocks against its control, in the order of the table; see `compare_all`.

    Args:
        rows: of one level.
        metric: what is compared.
        margin: differences within it count as equal.
        ended: networks that began beside them and were ended at a rung.
    """
    done = pd.concat([finished(rows, metric), failed(rows, metric)])
    trained = frozenset(finished(rows, metric)["notation"].astype(str))
    names = [str(name) for name in done["notation"].unique() if not is_plain(str(name))]
    return compare_all(rows, {name: control_in(name, trained) for name in names}, metric, margin, ended)


def compare_all(
    rows: pd.DataFrame,
    pairs: Mapping[str, str | None],
    metric: Metric = MAP,
    margin: float | None = None,
    ended: int = 0,
) -> pd.DataFrame:
    """Each A minus its B, one row a pair.

    Columns: notation, control (B; None where there is none at this level), difference, se, df, low, high (95 %),
    low_all, high_all (95 % for all of them together: what a choice among them may quote), blocks, trainings,
    control_trainings, failed, verdict (by low_all and high_all).

    Args:
        rows: of one level.
        pairs: B of each A, by notation.
        metric: what is compared.
        margin: differences within it count as equal.
        ended: further networks that were to be compared, had they not been ended for being behind. Of intervals that
            hold for all together, those of the ones that are left hold too, whoever chose them by what.
    """
    table = _differences(rows, pairs, metric)
    known = table["df"].gt(0) & table["se"].gt(0) & table["difference"].notna()
    table = table.assign(**dict.fromkeys(("low", "high", "low_all", "high_all"), math.nan))
    if known.any():
        half = table["se"] * stdtrit(table["df"].where(known), 0.5 + CONFIDENCE / 2)
        shared = np.append(table["shared"][known], np.full(ended, table["shared"][known].min()))
        wide = table["se"] * simultaneous_quantile(shared, float(table["df"][known].min()))
        value = table["difference"].where(known)
        table = table.assign(low=value - half, high=value + half, low_all=value - wide, high_all=value + wide)
    ends = zip(table["low_all"], table["high_all"], strict=True)
    verdicts = [verdict_of((float(low), float(high)), margin, metric) for low, high in ends]
    return table.assign(verdict=verdicts)[list(CONTROL_COLUMNS)]


def control_in(notation: str, trained: Container[str]) -> str | None:
    """The control of a candidate among the networks that finished at its level; None where there is none."""
    return next((name for name in controls_of(notation) if name in trained), None)


def _failures(rows: pd.DataFrame, metric: Metric) -> pd.Series:
    return failed(rows, metric)["notation"].value_counts()


def _differences(rows: pd.DataFrame, pairs: Mapping[str, str | None], metric: Metric) -> pd.DataFrame:
    """One row a pair (A, B): A minus B with its error; `shared` is B's share of the variance.

    Within common blocks the difference is the mean of the blocks' differences, and its variance
    single^2 sum_b (1 / n_Ab + 1 / n_Bb) / blocks^2; without one, that of means over blocks,
    whole^2 (1 / b_A + 1 / b_B).
    """
    noise, cells = noise_of(rows, metric), _cells(rows, metric)
    table = pd.DataFrame({"notation": list(pairs), "control": list(pairs.values())}, dtype=object)
    table = table.merge(_paired(table, cells), on="notation", how="left")
    whole = cells.groupby("notation").agg(mean=("mean", "mean"), cells=("mean", "size"), count=("size", "sum"))
    first, second = (whole.reindex(table[side]).reset_index(drop=True) for side in ("notation", "control"))
    inside = table["blocks"].notna()
    scale = np.where(inside, noise.single.sd, noise.whole.sd) ** 2
    own = scale * table["own"].where(inside, 1 / first["cells"])
    theirs = scale * table["theirs"].where(inside, 1 / second["cells"])
    # Where some of B's blocks are left out, differences to one B have less in common than that.
    every = inside & table["blocks"].eq(second["cells"])
    return table.assign(
        difference=table["difference"].where(inside, first["mean"] - second["mean"]),
        se=np.sqrt(own + theirs),
        df=np.where(inside, noise.single.df, noise.whole.df),
        shared=(theirs / (own + theirs)).where(every, 0.0).fillna(0.0),
        blocks=table["blocks"].fillna(0).astype(int),
        trainings=table["trainings"].where(inside, first["count"]).fillna(0).astype(int),
        control_trainings=table["control_trainings"].where(inside, second["count"]).fillna(0).astype(int),
        failed=table["notation"].map(_failures(rows, metric)).fillna(0).astype(int),
    )


def _paired(pairs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Pairs with common blocks: mean difference, variances in units of the noise of one training, numbers."""
    other = cells.rename(columns={"notation": "control", "mean": "mean_b", "size": "size_b"})
    both = pairs.merge(cells, on="notation").merge(other, on=["control", "block"])
    both = both.assign(gap=both["mean"] - both["mean_b"], own=1 / both["size"], theirs=1 / both["size_b"])
    paired = both.groupby("notation").agg(
        difference=("gap", "mean"),
        blocks=("gap", "size"),
        own=("own", "sum"),
        theirs=("theirs", "sum"),
        trainings=("size", "sum"),
        control_trainings=("size_b", "sum"),
    )
    squares = paired["blocks"] ** 2
    return paired.assign(own=paired["own"] / squares, theirs=paired["theirs"] / squares).reset_index()


def _cells(rows: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Mean and number of the finished trainings of each candidate in each block."""
    done = finished(rows, metric)
    keyed = done.assign(block=block_codes(done))
    return keyed.groupby(["notation", "block"], sort=False)[metric.column].agg(["mean", "size"]).reset_index()
