"""Equivalence: when "no worse by more than the margin" is shown, and when a sample could not have shown anything."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from nas.results.intervals import Estimate, Floats
from nas.results.power import POWER
from nas.shrinking.sample import Ints


def mean_difference(first: Floats, second: Floats) -> Estimate:
    """Mean of the first minus that of the second, unequal variances (Welch); from fewer than two values: not known."""
    return stratified_difference(first, second, (np.ones(len(first)), np.ones(len(second))))


def stratified_difference(
    first: Floats, second: Floats, weights: tuple[Floats, Floats], strata: tuple[Ints, Ints] | None = None
) -> Estimate:
    """Weighted mean of the first minus that of the second; each side has one variance within strata.

    Degrees of freedom by Welch and Satterthwaite: (v1 + v2)^2 / (v1^2 / df1 + v2^2 / df2).

    Args:
        first, second: (n,) and (k,) values.
        weights: of the values; need not sum to 1.
        strata: within which the values vary; None: one for all.
    """
    groups = strata or (np.zeros(len(first), dtype=np.int64), np.zeros(len(second), dtype=np.int64))
    sides = [_weighted_mean(*side) for side in zip((first, second), weights, groups, strict=True)]
    (a, v1, df1), (b, v2, df2) = sides
    if min(df1, df2) < 1:
        return Estimate(a - b)
    total = v1 + v2
    return Estimate(a - b, float(np.sqrt(total)), total**2 / (v1**2 / df1 + v2**2 / df2) if total > 0 else df1 + df2)


def _weighted_mean(values: Floats, weights: Floats, strata: Ints) -> tuple[float, float, float]:
    """Mean, its variance and the degrees of freedom of that; rows without weight tell nothing."""
    used = weights > 0
    if not used.any():
        return float("nan"), float("nan"), 0.0
    values, share = values[used], weights[used] / weights[used].sum()
    _, group = np.unique(strata[used], return_inverse=True)
    means = np.bincount(group, values) / np.bincount(group)
    df = float(len(values) - len(means))
    variance = float(((values - means[group]) ** 2).sum()) / df if df else float("nan")
    return float(values @ share), variance * float(share @ share), df


def no_worse(difference: Estimate, margin: float, level: float = 0.05) -> bool:
    """Whether the difference is shown to be above -margin (non-inferiority, one-sided).

    >>> no_worse(Estimate(-0.0001, 0.0001, 100), margin=0.0005)
    True
    """
    return bool(difference.p_above(-margin) <= level)


def visible(difference: Estimate, level: float, power: float = POWER) -> float:
    """The smallest true difference that a sample of this precision finds with that power; NaN where not known.

    >>> round(visible(Estimate(0.0, 0.0002, 100), 0.05), 4)
    0.0006

    Args:
        difference: its value plays no part.
        level: of the two-sided test.
        power: share of samples that find it.
    """
    if not difference.known:
        return float("nan")
    return difference.se * float(student.ppf(1 - level / 2, difference.df) + student.ppf(power, difference.df))
