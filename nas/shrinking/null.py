"""Permutation nulls: how sharp a good range looks when the parameter does nothing.

A parameter without any effect still loses a part of its range to chance, so a range says nothing until it is set
beside the ranges of shuffled values. Rows are shuffled as whole candidates (replicates stay together), and within the
seeds and starts that they were trained in.
"""

from __future__ import annotations

import numpy as np

from nas.results.intervals import Floats
from nas.shrinking.sample import Ints


def permutation_p(observed: float, null: Floats) -> float:
    """One-sided p value of a statistic whose large values speak against the null; never 0.

    >>> permutation_p(3.0, np.array([1.0, 2.0, 4.0]))
    0.5
    """
    return float((1 + (null >= observed - 1e-15).sum()) / (1 + len(null)))


def shift_statistic(values: Floats, weights: Floats) -> float:
    """How far the winners' values are from everybody's: the Cramer-von Mises distance of the two distributions.

    Zero when the winners are spread like all models; sees a shift as well as a narrowing.

    Args:
        values: (n,) values of the parameter.
        weights: (n,) winner weights, or (draws, n) for many orders at once.
    """
    return float(_shift(values, np.atleast_2d(weights))[0])


def shuffled(values: Floats, strata: Ints, permutations: int, rng: np.random.Generator) -> Floats:
    """(permutations, n) the values, dealt out anew among the rows of each stratum."""
    dealt = np.tile(values, (permutations, 1))
    for number in np.unique(strata):
        rows = np.flatnonzero(strata == number)
        dealt[:, rows] = rng.permuted(dealt[:, rows], axis=1)
    return dealt


def range_null(
    values: Floats, weights: Floats, permutations: int, rng: np.random.Generator, strata: Ints | None = None
) -> float:
    """p value that the winners' values differ from everybody's.

    Args:
        values: (n,) a number a candidate; categories as their index.
        weights: (n,) winner weights.
        permutations: number of shuffles.
        rng: source of the shuffles.
        strata: (n,) seeds and starts that candidates were trained in: only alike ones are exchanged; None: all are.
    """
    alike = np.zeros(len(values), dtype=np.int64) if strata is None else strata
    observed = shift_statistic(values, weights)
    return permutation_p(observed, _shift(values, shuffled(weights, alike, permutations, rng)))


def _shift(values: Floats, weights: Floats) -> Floats:
    """(draws,) Cramer-von Mises distance, ties in one step."""
    order = np.argsort(values, kind="stable")
    last_of_tie = np.append(np.diff(values[order]) > 0, True)
    winners = np.cumsum(weights[:, order], axis=1) / weights.sum(axis=1, keepdims=True)
    everybody = np.arange(1, len(values) + 1) / len(values)
    steps = np.diff(np.concatenate([[0.0], everybody[last_of_tie]]))
    return np.asarray(((winners[:, last_of_tie] - everybody[last_of_tie]) ** 2 * steps).sum(axis=1))
