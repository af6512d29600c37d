"""Error distributions of design spaces: how good the candidates of a space are, not only its best.

The empirical distribution function (EDF) F(e) is the share of candidates whose error 1 - mAP is at most e; a space is
better where its F is higher. A failed training never gets below any error, so it stays in the count. Sources:
Radosavovic et al., On Network Design Spaces for Visual Recognition (ICCV 2019) for EDFs and for making them comparable
at equal complexity; here complexity is latency. What follows from a comparison is left to `nas.shrinking.confirmation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.results.intervals import Estimate
from nas.shrinking.equivalence import stratified_difference

Floats = npt.NDArray[np.float64]
Bins = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Draws:
    """Candidates drawn uniformly from one space.

    Attributes:
        error: (n,) mean 1 - mAP over the trainings of each candidate; infinite when all failed.
        latency_ms: (n,) latency, NaN where not known.
    """

    error: Floats
    latency_ms: Floats

    def __len__(self) -> int:
        return len(self.error)

    @property
    def timed(self) -> bool:
        """Whether every candidate's latency is known."""
        return bool(len(self) and not np.isnan(self.latency_ms).any())

    def take(self, index: npt.NDArray[np.intp]) -> Draws:
        """Some of the candidates."""
        return Draws(self.error[index], self.latency_ms[index])


def edf(error: Floats, at: Floats, weights: Floats | None = None) -> Floats:
    """Share of candidates whose error is at most `at`.

    >>> edf(np.array([0.1, 0.2, np.inf]), np.array([0.1, 0.15, 1.0])).round(2).tolist()
    [0.33, 0.33, 0.67]

    Args:
        error: (n,) errors; infinite for failed.
        at: (k,) errors to look at.
        weights: (n,) weights; None: all alike.
    """
    share = np.full(len(error), 1.0) if weights is None else weights
    order = np.argsort(error, kind="stable")
    cumulative = np.concatenate([[0.0], np.cumsum(share[order])]) / share.sum()
    return np.asarray(cumulative[np.searchsorted(error[order], at, side="right")])


def edf_area(
    parent: Draws, child: Draws, weights: tuple[Floats, Floats] | None = None, bins: Bins | None = None
) -> Estimate:
    """Area between the EDFs, in mAP: positive when the child is better; with its standard error.

    The area is taken up to the worst error of a finished candidate of both sides; without failures it is the mean
    error of the parent minus that of the child. A failed candidate stays in the count: its EDF never gets up.

    Args:
        parent: draws of the space before.
        child: draws of the space after.
        weights: weights of parent and child, see `latency_weights`.
        bins: within which the errors vary, see `latency_bins`; None: one for all.
    """
    worst = worst_error(parent.error, child.error)
    equal = np.ones(len(parent)), np.ones(len(child))
    before, after = np.minimum(parent.error, worst), np.minimum(child.error, worst)
    return stratified_difference(before, after, weights or equal, bins)


def ks_distance(parent: Draws, child: Draws, weights: tuple[Floats, Floats] | None = None) -> float:
    """How far the child's EDF falls below the parent's at worst (one-sided Kolmogorov-Smirnov statistic), 0-1."""
    at = np.unique(np.concatenate([parent.error, child.error]))
    over_parent, over_child = weights if weights is not None else (None, None)
    return float(max(0.0, (edf(parent.error, at, over_parent) - edf(child.error, at, over_child)).max()))


def latency_bins(parent: Draws, child: Draws, most: int = 5, least: int = 4) -> Bins:
    """Bins of equal latency for parent and child: quantiles of both together.

    Args:
        parent: draws of the space before.
        child: draws of the space after.
        most: bins at most.
        least: mean number of candidates of each side a bin should have.
    """
    pooled = np.concatenate([parent.latency_ms, child.latency_ms])
    bins = int(max(1, min(most, len(parent) // least, len(child) // least)))
    edges = np.quantile(pooled, np.arange(1, bins) / bins)
    return np.searchsorted(edges, parent.latency_ms), np.searchsorted(edges, child.latency_ms)


def latency_weights(parent: Draws, child: Draws) -> tuple[Floats, Floats] | None:
    """Weights under which parent and child have one distribution of latency; None when they share no bin.

    Each bin that both sides reach weighs the same on both sides; candidates of a bin only one side reaches weigh
    nothing, as there is nothing to compare them with.
    """
    before, after = latency_bins(parent, child)
    shared = np.intersect1d(before, after)
    if len(shared) == 0:
        return None
    mass = {int(b): float((before == b).sum() + (after == b).sum()) for b in shared}
    return _weigh(before, mass), _weigh(after, mass)


def _weigh(bins: npt.NDArray[np.int64], mass: dict[int, float]) -> Floats:
    total = sum(mass.values())
    weights = np.zeros(len(bins))
    for number, share in mass.items():
        inside = bins == number
        weights[inside] = share / total / inside.sum()
    return weights


def worst_error(*errors: Floats) -> float:
    """The largest error of a finished candidate: what a failed one counts as in an area; 1 when all failed."""
    finite = np.concatenate([e[np.isfinite(e)] for e in errors])
    return float(finite.max()) if len(finite) else 1.0
