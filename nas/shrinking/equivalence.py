"""Equivalence: when "no worse by more than the margin" is shown, and when a sample could not have shown anything."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from nas.results.intervals import NOT_KNOWN, Estimate, Floats
from nas.results.power import POWER
from nas.shrinking.sample import Ints


def mean_difference(first: Floats, second: Floats) -> Estimate:
    """Mean of the first minus that of the second, unequal variances (Welch); from fewer than two values: not known."""
    return stratified_difference(first, second, (np.ones(len(first)), np.ones(len(second))))


def stratified_difference(
    first: Floats, second: Floats, weights: tuple[Floats, Floats], strata: tuple[Ints, Ints] | None = None
) -> Estimate:
    """Weighted mean of the first minus that of the second; each side has one variance within strata.

    Args:
        first, second: (n,) and (k,) values.
        weights: of the values; need not sum to 1.
        strata: within which the values vary; None: one for all.
    """
    groups = strata or (np.zeros(len(first), dtype=np.int64), np.zeros(len(second), dtype=np.int64))
    return _weighted_mean(first, weights[0], groups[0]) - _weighted_mean(second, weights[1], groups[1])


def _weighted_mean(values: Floats, weights: Floats, strata: Ints) -> Estimate:
    """Rows without weight tell nothing."""
    used = weights > 0
    if not used.any():
        return NOT_KNOWN
    values, share = values[used], weights[used] / weights[used].sum()
    _, group = np.unique(strata[used], return_inverse=True)
    means = np.bincount(group, values) / np.bincount(group)
    df = float(len(values) - len(means))
    variance = float(((values - means[group]) ** 2).sum()) / df if df else float("nan")
    return Estimate(float(values @ share), float(np.sqrt(variance * (share @ share))), df)


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
    return difference.se * float(stdtrit(difference.df, [1 - level / 2, power]).sum())
