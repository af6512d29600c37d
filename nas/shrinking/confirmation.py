"""Is a child space really no worse? Fresh uniform draws from parent and child decide, not the data that proposed it.

A shrink is confirmed when the child's error distribution is not worse: neither by a one-sided Kolmogorov-Smirnov test,
nor by a bootstrap interval of the area between the two, nor by the same area at comparable latency. What to do with a
shrink that fails (log and undo) is in `nas.shrinking.propose`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import ks_2samp

from nas.shrinking.edf import Draws, edf_area, latency_bins, latency_weights
from nas.shrinking.sample import draw_samples

Floats = npt.NDArray[np.float64]
ConfirmationVerdict = Literal["confirmed", "rejected", "not enough data"]

MIN_DRAWS = 6
"""Candidates of each side below which nothing is confirmed."""


@dataclass(frozen=True)
class Confirmation:
    """What fresh draws said of a shrink.

    Attributes:
        verdict: confirmed, rejected, or not enough data.
        reason: one sentence.
        parent_draws: candidates drawn from the parent, failed ones too.
        child_draws: candidates drawn from the child, failed ones too.
        ks_p: one-sided p value that the child is worse somewhere.
        area: area between the EDFs, mAP; positive when the child is better.
        low, high: its 95 % interval.
        latency_area: the same at comparable latency; None when latencies are not known or share no bin.
        latency_low, latency_high: its 95 % interval.
    """

    verdict: ConfirmationVerdict
    reason: str
    parent_draws: int
    child_draws: int
    ks_p: float | None = None
    area: float | None = None
    low: float | None = None
    high: float | None = None
    latency_area: float | None = None
    latency_low: float | None = None
    latency_high: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether the child may be used."""
        return self.verdict == "confirmed"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def confirm(
    parent_table: pd.DataFrame,
    child_table: pd.DataFrame,
    *,
    latency: pd.DataFrame | None = None,
    alpha: float = 0.05,
    bootstrap: int = 2000,
    seed: int = 0,
) -> Confirmation:
    """Compares fresh draws, given as results tables.

    Args:
        parent_table: trainings of candidates drawn uniformly from the parent (columns `notation`, `map`, `status`).
        child_table: the same from the child.
        latency: columns `notation`, `latency_ms`, for rows without a latency of their own.
        alpha: level of the test; intervals have 95 %.
        bootstrap: draws of the bootstrap.
        seed: of the bootstrap.
    """
    draws = [draws_of(table, latency) for table in (parent_table, child_table)]
    return compare_draws(draws[0], draws[1], alpha=alpha, bootstrap=bootstrap, seed=seed)


def draws_of(table: pd.DataFrame, latency: pd.DataFrame | None = None) -> Draws:
    """One error and one latency a candidate; a candidate's failed trainings do not hide in its mean.

    The error of a candidate is the mean over its finished trainings; when half or more of its trainings failed it
    counts as failed.
    """
    samples = list(draw_samples(table).values()) if len(table) else []
    error = [np.where(s.failed >= np.maximum(s.finished, 1), np.inf, 1 - s.score) for s in samples]
    known = {} if latency is None else dict(zip(latency["notation"], latency["latency_ms"], strict=True))
    ms = [
        np.array([x if np.isfinite(x) else known.get(c.architecture.notation, np.nan) for c, x in rows])
        for rows in (list(zip(s.candidates, s.latency_ms, strict=True)) for s in samples)
    ]
    return Draws(np.concatenate([np.zeros(0), *error]), np.concatenate([np.zeros(0), *ms]).astype(float))


def compare_draws(
    parent: Draws, child: Draws, *, alpha: float = 0.05, bootstrap: int = 2000, seed: int = 0
) -> Confirmation:
    """Compares draws of parent and child; see `confirm`."""
    sizes = len(parent), len(child)
    if min(sizes) < MIN_DRAWS:
        return Confirmation("not enough data", f"{sizes[0]} and {sizes[1]} draws; {MIN_DRAWS} of each needed", *sizes)
    rng = np.random.default_rng(seed)
    p = float(
        ks_2samp(child.error, parent.error, alternative="less", method="exact" if sum(sizes) < 500 else "auto").pvalue
    )
    area = edf_area(parent, child)
    low, high = _interval(parent, child, edf_area, bootstrap, rng)
    matched = _matched_area(parent, child, bootstrap, rng)
    verdict, reason = _judge(p, alpha, (area, low, high), matched)
    return Confirmation(verdict, reason, *sizes, p, area, low, high, *(matched or (None, None, None)))


Triple = tuple[float, float, float]


def _judge(p: float, alpha: float, area: Triple, matched: Triple | None) -> tuple[ConfirmationVerdict, str]:
    if p < alpha:
        return "rejected", f"the child's errors are larger (one-sided Kolmogorov-Smirnov p = {p:.3g})"
    if area[2] < 0:
        return "rejected", f"the child's EDF lies below the parent's: {_spread(area)} mAP"
    if matched is not None and matched[2] < 0:
        return "rejected", f"at comparable latency the child's EDF lies below the parent's: {_spread(matched)} mAP"
    beside = f"; at comparable latency {_spread(matched)}" if matched else "; latencies not comparable"
    return "confirmed", f"the child's EDF is not worse: {_spread(area)} mAP, KS p = {p:.2g}{beside}"


def _spread(area: Triple) -> str:
    return f"{area[0]:+.4f} [{area[1]:+.4f}, {area[2]:+.4f}]"


def _matched_area(parent: Draws, child: Draws, bootstrap: int, rng: np.random.Generator) -> Triple | None:
    """The area under equal distributions of latency; resampled inside latency bins, so that no bin runs empty."""
    if not parent.timed or not child.timed:
        return None
    weights = latency_weights(parent, child)
    if weights is None:
        return None
    before, after = latency_bins(parent, child)
    values = [
        edf_area(parent.take(i), child.take(j), (weights[0][i], weights[1][j]))
        for i, j in ((_inside(before, rng), _inside(after, rng)) for _ in range(bootstrap))
    ]
    low, high = np.quantile(values, [0.025, 0.975])
    return edf_area(parent, child, weights), float(low), float(high)


def _interval(
    parent: Draws, child: Draws, statistic: Callable[[Draws, Draws], float], draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    values = [
        statistic(
            parent.take(rng.integers(0, len(parent), len(parent))), child.take(rng.integers(0, len(child), len(child)))
        )
        for _ in range(draws)
    ]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _inside(bins: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Row numbers resampled within each bin, in the order of the rows."""
    index = np.arange(len(bins))
    for number in np.unique(bins):
        rows = np.flatnonzero(bins == number)
        index[rows] = rng.choice(rows, len(rows))
    return index
