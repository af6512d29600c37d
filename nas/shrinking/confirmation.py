"""Is a child space really no worse? Fresh uniform draws from parent and child decide, not the data that proposed it.

A shrink is confirmed when the child's error distribution is not worse at comparable latency: neither by a one-sided
Kolmogorov-Smirnov test, nor by a bootstrap interval of the area between the two. Where parent and child have too few
latencies in common (or none are known), the whole distributions are compared. What to do with a
shrink that fails (log and undo) is in `nas.shrinking.propose`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import ks_2samp

from nas.shrinking.costs import Latencies, read_costs
from nas.shrinking.edf import Bins, Draws, edf_area, ks_distance, latency_bins, latency_weights, worst_error
from nas.shrinking.null import permutation_p
from nas.shrinking.sample import Sample, draw_samples

Floats = npt.NDArray[np.float64]
ConfirmationVerdict = Literal["confirmed", "rejected", "not enough data"]

MIN_DRAWS = 6
"""Candidates of each side below which nothing is confirmed."""
COMPARABLE = 0.5
"""Share of each side's draws that must have a counterpart of like latency."""


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
        latency_ks_p, latency_area, latency_low, latency_high: the same at comparable latency; None when latencies are
            not known, or parent and child have too few in common.
    """

    verdict: ConfirmationVerdict
    reason: str
    parent_draws: int
    child_draws: int
    ks_p: float | None = None
    area: float | None = None
    low: float | None = None
    high: float | None = None
    latency_ks_p: float | None = None
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
    latency: Latencies | None = None,
    alpha: float = 0.05,
    bootstrap: int = 2000,
    seed: int = 0,
) -> Confirmation:
    """Compares fresh draws, given as results tables.

    Args:
        parent_table: trainings of candidates drawn uniformly from the parent (columns `notation`, `map`, `status`).
        child_table: the same from the child.
        latency: measured latencies, for rows without one of their own.
        alpha: level of the test; intervals have 95 %.
        bootstrap: draws of the bootstrap.
        seed: of the bootstrap.
    """
    draws = [draws_of(table, latency) for table in (parent_table, child_table)]
    return compare_draws(draws[0], draws[1], alpha=alpha, bootstrap=bootstrap, seed=seed)


def draws_of(table: pd.DataFrame, latency: Latencies | None = None) -> Draws:
    """One error and one latency a candidate; a candidate's failed trainings do not hide in its mean.

    The error of a candidate is the mean over its finished trainings; when half or more of its trainings failed it
    counts as failed.
    """
    samples = list(draw_samples(table).values()) if len(table) else []
    error = [np.where(s.failed >= np.maximum(s.finished, 1), np.inf, 1 - s.score) for s in samples]
    ms = [_latencies(sample, latency) for sample in samples]
    return Draws(np.concatenate([np.zeros(0), *error]), np.concatenate([np.zeros(0), *ms]))


def _latencies(sample: Sample, latency: Latencies | None) -> Floats:
    """The sample's own latencies, and where it has none, what is known besides."""
    known = read_costs(sample.backbone, sample.candidates, latency).measured
    beside = np.array([known.get(candidate.architecture, np.nan) for candidate in sample.candidates])
    return np.where(np.isfinite(sample.latency_ms), sample.latency_ms, beside)


def compare_draws(
    parent: Draws, child: Draws, *, alpha: float = 0.05, bootstrap: int = 2000, seed: int = 0
) -> Confirmation:
    """Compares draws of parent and child; see `confirm`."""
    sizes = len(parent), len(child)
    if min(sizes) < MIN_DRAWS:
        return Confirmation("not enough data", f"{sizes[0]} and {sizes[1]} draws; {MIN_DRAWS} of each needed", *sizes)
    rng = np.random.default_rng(seed)
    whole = _compare(parent, child, bootstrap, rng)
    matched = _compare_at_latency(parent, child, bootstrap, rng)
    verdict, reason = _judge(whole, matched, alpha)
    return Confirmation(
        verdict,
        reason,
        *sizes,
        whole.p,
        whole.area,
        whole.low,
        whole.high,
        *((matched.p, matched.area, matched.low, matched.high) if matched else (None,) * 4),
    )


@dataclass(frozen=True)
class _Comparison:
    """KS p value and area between two EDFs with its interval."""

    p: float
    area: float
    low: float
    high: float

    def worse(self, alpha: float) -> bool:
        return self.p < alpha or self.high < 0

    def __str__(self) -> str:
        return f"{self.area:+.4f} [{self.low:+.4f}, {self.high:+.4f}] mAP, KS p = {self.p:.2g}"


def _judge(whole: _Comparison, matched: _Comparison | None, alpha: float) -> tuple[ConfirmationVerdict, str]:
    """At comparable latency where the draws allow it, else as a whole."""
    if matched is None:
        verdict: ConfirmationVerdict = "rejected" if whole.worse(alpha) else "confirmed"
        return verdict, f"the child's EDF is {_word(verdict)}: {whole}; latencies not comparable"
    verdict = "rejected" if matched.worse(alpha) else "confirmed"
    return verdict, f"at comparable latency the child's EDF is {_word(verdict)}: {matched}; over all: {whole}"


def _word(verdict: ConfirmationVerdict) -> str:
    return "worse" if verdict == "rejected" else "not worse"


def _compare(parent: Draws, child: Draws, bootstrap: int, rng: np.random.Generator) -> _Comparison:
    method = "exact" if len(parent) + len(child) < 500 else "auto"
    p = float(ks_2samp(child.error, parent.error, alternative="less", method=method).pvalue)
    alike = np.zeros(len(parent), dtype=np.int64), np.zeros(len(child), dtype=np.int64)
    equal = np.full(len(parent), 1.0), np.full(len(child), 1.0)
    low, high = _area_interval(parent, child, alike, equal, bootstrap, rng)
    return _Comparison(p, edf_area(parent, child), low, high)


def _compare_at_latency(parent: Draws, child: Draws, bootstrap: int, rng: np.random.Generator) -> _Comparison | None:
    """Under equal distributions of latency; None unless half of each side's draws have a counterpart.

    Labels are shuffled, and draws resampled, inside latency bins: no bin runs empty, and the p value is exact under
    "parent and child are alike at every latency".
    """
    if not parent.timed or not child.timed:
        return None
    weights = latency_weights(parent, child)
    if weights is None or any((w > 0).mean() < COMPARABLE for w in weights):
        return None
    bins = latency_bins(parent, child)
    low, high = _area_interval(parent, child, bins, weights, bootstrap, rng)
    p = _stratified_ks_p(parent, child, bins, weights, rng)
    return _Comparison(p, edf_area(parent, child, weights), low, high)


def _area_interval(
    parent: Draws, child: Draws, bins: Bins, weights: tuple[Floats, Floats], draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """95 % bootstrap interval of the area, resampled inside bins."""
    worst = worst_error(parent.error, child.error)
    means = [
        _resampled_means(np.minimum(side.error, worst), side_bins, side_weights, draws, rng)
        for side, side_bins, side_weights in zip((parent, child), bins, weights, strict=True)
    ]
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    return float(low), float(high)


def _resampled_means(
    error: Floats, bins: npt.NDArray[np.int64], weights: Floats, draws: int, rng: np.random.Generator
) -> Floats:
    """(draws,) weighted means; every bin keeps its number of rows and so its weight."""
    total = np.zeros(draws)
    for number in np.unique(bins):
        rows = np.flatnonzero(bins == number)
        picked = rows[rng.integers(0, len(rows), (draws, len(rows)))]
        total += (error[picked] * weights[rows]).sum(axis=1)
    return np.asarray(total / weights.sum())


def _stratified_ks_p(
    parent: Draws,
    child: Draws,
    bins: Bins,
    weights: tuple[Floats, Floats],
    rng: np.random.Generator,
    permutations: int = 2000,
) -> float:
    """Permutation p value of the one-sided weighted KS distance; labels shuffled inside bins."""
    errors, strata = np.concatenate([parent.error, child.error]), np.concatenate(bins)
    labels = np.concatenate([weights[0], -weights[1]])
    shuffled = np.tile(labels, (permutations, 1))
    for number in np.unique(strata):
        rows = np.flatnonzero(strata == number)
        shuffled[:, rows] = rng.permuted(shuffled[:, rows], axis=1)
    return permutation_p(ks_distance(parent, child, weights), _distances(errors, shuffled))


def _distances(errors: Floats, signed: Floats) -> Floats:
    """(draws,) one-sided KS distances; parent rows weigh above, child rows below zero."""
    order = np.argsort(errors, kind="stable")
    last_of_tie = np.append(errors[order][1:] > errors[order][:-1], True)
    return np.asarray(np.maximum(np.cumsum(signed[:, order], axis=1)[:, last_of_tie].max(axis=1), 0.0))
