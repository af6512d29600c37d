"""Good ranges: which values the best of a resample have, in closed form.

Radosavovic et al. (Designing Network Design Spaces, CVPR 2020) resample a share of the models, keep the best one, and
look at the values the winners have. How often each model wins needs no resampling: with n models ranked from the
best, rank k wins a resample of m (with replacement) with P(k) = ((n - k + 1) / n)^m - ((n - k) / n)^m. Whether a range
is more than chance is left to `nas.shrinking.null`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq

from nas.results.intervals import Floats


def winner_weights(n: int, m: float) -> Floats:
    """(n,) chance that each rank, from the best, wins a resample of `m` of `n` models.

    >>> winner_weights(4, 1).tolist()
    [0.25, 0.25, 0.25, 0.25]
    >>> winner_weights(2, 2).tolist()
    [0.75, 0.25]

    Args:
        n: number of models.
        m: size of the resample; need not be whole.

    Raises:
        ValueError: when n or m is below 1.
    """
    if n < 1 or m < 1:
        raise ValueError(f"winner weights need n >= 1 and m >= 1, not n={n}, m={m}")
    beaten = np.arange(n, -1, -1) / n
    return np.asarray(-np.diff(beaten**m))


def effective_size(weights: Floats) -> float:
    """Kish's effective number of models behind a weighted mean: 1 / sum(w^2) for weights that sum to 1.

    With m = n/4 it is about 8 whatever n is:

    >>> [round(effective_size(winner_weights(n, n / 4)), 1) for n in (100, 1000)]
    [7.9, 8.0]
    """
    total = float(weights.sum())
    return total * total / float((weights**2).sum())


def resample_size(n: int, effective: float) -> float:
    """The resample size m whose winners have the given effective size; 1 (all win alike) when n is not larger.

    >>> m = resample_size(400, 20)
    >>> round(effective_size(winner_weights(400, m)), 6)
    20.0
    """
    if n <= effective:
        return 1.0
    return float(brentq(lambda m: effective_size(winner_weights(n, m)) - effective, 1.0, 50.0 * n))


def score_weights(scores: Floats, m: float) -> Floats:
    """(n,) winner weights of models in the order given: larger scores are better, NaN (failed) is worst.

    Equal scores share their weights, so that the order of rows does not matter.

    Args:
        scores: (n,) score of each model, NaN for a failed one.
        m: size of the resample.
    """
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-ranked, kind="stable")
    weights = winner_weights(len(scores), m)
    _, group = np.unique(-ranked[order], return_inverse=True)
    shared = np.bincount(group, weights) / np.bincount(group)
    result = np.empty(len(scores))
    result[order] = shared[group]
    return result


def good_range(values: Floats, weights: Floats, mass: float = 0.95) -> tuple[float, float]:
    """The central range of values that holds `mass` of the winners.

    >>> good_range(np.arange(5.0), np.array([0.0, 0.5, 0.5, 0.0, 0.0]))
    (1.0, 2.0)
    """
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order]) / weights.sum()
    tail = (1 - mass) / 2
    last = len(values) - 1
    low = min(int(np.searchsorted(cumulative, tail, side="right")), last)
    high = min(int(np.searchsorted(cumulative, 1 - tail - 1e-12, side="left")), last)
    return float(values[order[low]]), float(values[order[max(low, high)]])


def good_levels(levels: Sequence[str], weights: Floats, mass: float = 0.95) -> tuple[str, ...]:
    """The fewest levels that hold `mass` of the winners, most frequent first.

    >>> good_levels(["a", "b", "a", "c"], np.array([0.5, 0.2, 0.28, 0.02]))
    ('a', 'b')
    """
    names, index = np.unique(np.asarray(levels, dtype=str), return_inverse=True)
    share = np.bincount(index, weights) / weights.sum()
    order = np.argsort(-share, kind="stable")
    needed = int(np.searchsorted(np.cumsum(share[order]), mass - 1e-12)) + 1
    return tuple(str(names[i]) for i in order[:needed])
