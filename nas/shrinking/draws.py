"""Fresh draws of two sides: how they are drawn, one error a candidate within its seeds and starts, and their EDFs.

The empirical distribution function (EDF) F(e) is the share of candidates whose error 1 - mAP is at most e; a space is
better where its F is higher. Who failed never gets below any error: it stays in the count and ranks last. Sources:
Radosavovic et al., On Network Design Spaces for Visual Recognition (ICCV 2019) for EDFs and for making them comparable
at equal complexity; here complexity is latency. What is concluded is left to `nas.shrinking.confirmation` and
`nas.shrinking.halves`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nas.results.columns import failed, finished
from nas.results.intervals import Estimate, Floats
from nas.results.noise import block_effects
from nas.results.placement_costs import Times, time_of
from nas.shrinking.equivalence import stratified_difference
from nas.shrinking.sample import Ints
from nas.spaces.candidate import Candidate
from nas.spaces.space import DesignSpace, Randomness

Bins = tuple[Ints, Ints]


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


def fresh_draws(space: DesignSpace, count: int, rng: Randomness, numbers: Collection[int] = ()) -> list[Candidate]:
    """Distinct draws from a space, uniform at each number of blocks, about as many at each.

    Uniform draws from the whole space would nearly all have the largest number, and say nothing of the others.

    Args:
        space: what is drawn from.
        count: draws in all; fewer where the space has not as many.
        rng: what is drawn with.
        numbers: of blocks, those that were looked at before; empty, or none of them in the space: all but 0.
    """
    held = {number: size for number, size in space.size_by_blocks().items() if number > 0}
    chosen = {number: size for number, size in held.items() if number in numbers} or held
    if not chosen:
        return space.sample(min(count, space.size()), rng)
    most = count if space.continuous else min(count, sum(chosen.values()))
    return space.stratified(most, rng, sorted(chosen))


def read_draws(first: pd.DataFrame, second: pd.DataFrame, latency: Times | None = None) -> tuple[Draws, Draws]:
    """One error and one latency a candidate of either side.

    The error is 1 - mAP, the mean over its finished trainings with the shifts of their seeds and starts taken out (as
    far as candidates of both sides tell them); when half or more of its trainings failed, the candidate counts as
    failed, so that lost trainings do not hide in a mean.

    Args:
        first, second: results tables of the two sides, of one level (columns `notation`, `map`, `status`).
        latency: known latencies, for rows without one of their own.
    """
    sides = without_blocks(first, second)
    return _draws(sides[0], latency), _draws(sides[1], latency)


def without_blocks(*sides: pd.DataFrame) -> list[pd.DataFrame]:
    """The tables with what seeds and starts move for all alike taken out of `map`, as far as all of them tell it."""
    # Ids of trainings may repeat between tables that were made apart.
    both = pd.concat([side.drop(columns="training_id", errors="ignore") for side in sides], ignore_index=True)
    if both.empty:
        return list(sides)
    moved, found, begin = block_effects(both), [], 0
    for side in sides:
        found.append(side.assign(map=side["map"] - moved[begin : begin + len(side)]))
        begin += len(side)
    return found


def _draws(table: pd.DataFrame, latency: Times | None) -> Draws:
    """One row a candidate, in the order of their notations."""
    done, lost = finished(table), failed(table)
    counted = pd.DataFrame({"finished": done["notation"].value_counts(), "failed": lost["notation"].value_counts()})
    counted = counted.fillna(0).sort_index()
    mean = done.groupby("notation")["map"].mean().reindex(counted.index)
    hopeless = counted["failed"] >= counted["finished"].clip(lower=1)
    return Draws(
        np.where(hopeless, np.inf, 1 - mean).astype(np.float64),
        _latencies([str(name) for name in counted.index], table, latency),
    )


def _latencies(names: list[str], table: pd.DataFrame, latency: Times | None) -> Floats:
    """(names,) latency from the table, and where it has none, what is known besides; NaN where nothing is."""
    known: dict[str, float] = {}
    if "latency_ms" in table:
        last = table.dropna(subset="latency_ms").groupby("notation")["latency_ms"].last()
        known = {str(name): float(ms) for name, ms in last.items()}
    missing = [name for name in names if name not in known] if latency is not None else []
    for name in missing:
        time = time_of(Candidate.parse(name), latency)
        known |= {} if time is None or time.value is None else {name: time.value}
    return np.array([known.get(name, np.nan) for name in names], dtype=np.float64)


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


def _weigh(bins: Ints, mass: dict[int, float]) -> Floats:
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
