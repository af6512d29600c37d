"""Is a child space really no worse? Fresh uniform draws from parent and child decide, not the data that proposed it.

A shrink is confirmed when the child's error distribution is not worse at comparable latency: neither by a one-sided
Kolmogorov-Smirnov test, nor by Student's interval of the area between the two; both share the level. Where parent and
child have too few latencies in common (or none are known), the whole distributions are compared. What to do with a
shrink that fails (log and undo) is in `nas.shrinking.child`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd
import scipy

from nas.results.columns import MAP
from nas.results.intervals import Estimate, Floats
from nas.results.placement_costs import Times
from nas.shrinking.draws import Bins, Draws, edf_area, ks_distance, latency_bins, latency_weights, read_draws
from nas.shrinking.null import permutation_p, shuffled

ConfirmationVerdict = Literal["confirmed", "rejected", "not enough data"]

MIN_DRAWS = 6
"""Candidates of each side below which nothing is confirmed: the exact KS test of 6 against 6 can reach half of 5 %
(p = 0.0011 where all of the child's are worse), that of 3 against 3 cannot (0.05)."""
COMPARABLE = 0.5
"""Share of each side's draws that must have a counterpart of like latency: with fewer, the comparison would be one of
the minority, and all draws are compared as they are."""
PERMUTATIONS = 2000
"""Of the labels: a p value of 0.025 then has a standard error of 0.0035."""


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
        low, high: its interval at 1 - alpha, 95 % by default.
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

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return asdict(self)


def confirm(
    parent_table: pd.DataFrame,
    child_table: pd.DataFrame,
    *,
    latency: Times | None = None,
    alpha: float = 0.05,
    seed: int = 0,
    unit: str = MAP.suffix,
) -> Confirmation:
    """Compares fresh draws, given as results tables.

    Args:
        parent_table: trainings of candidates drawn uniformly from the parent (columns `notation`, `map`, `status`).
        child_table: the same from the child, in the same seeds and starts.
        latency: measured latencies, for rows without one of their own.
        alpha: chance that a child as good as its parent is rejected; both tests share it.
        seed: of the permutations.
        unit: of what trainings are judged by.
    """
    return compare_draws(*read_draws(parent_table, child_table, latency), alpha=alpha, seed=seed, unit=unit)


def compare_draws(
    parent: Draws, child: Draws, *, alpha: float = 0.05, seed: int = 0, unit: str = MAP.suffix
) -> Confirmation:
    """Compares draws of parent and child; see `confirm`."""
    sizes = len(parent), len(child)
    if min(sizes) < MIN_DRAWS:
        return Confirmation("not enough data", f"{sizes[0]} and {sizes[1]} draws; {MIN_DRAWS} of each needed", *sizes)
    whole = _compare(parent, child, alpha, unit)
    matched = _compare_at_latency(parent, child, alpha, unit, np.random.default_rng(seed))
    verdict, reason = _judge(whole, matched)
    return Confirmation(verdict, reason, *sizes, *whole.numbers, *(matched.numbers if matched else (None,) * 4))


@dataclass(frozen=True)
class _Comparison:
    """KS p value and area between two EDFs.

    The two tests share the level: the KS test gets half, and the area's one-sided test the other half, which is what
    the upper end of its two-sided interval at 1 - alpha says.
    """

    p: float
    area: Estimate
    alpha: float
    unit: str

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        return self.p, self.area.value, *self.area.interval(1 - self.alpha)

    @property
    def worse(self) -> bool:
        return self.p < self.alpha / 2 or self.area.interval(1 - self.alpha)[1] < 0

    def __str__(self) -> str:
        low, high = self.area.interval(1 - self.alpha)
        mean = f"{self.area.value:+.4f} [{low:+.4f}, {high:+.4f}] {self.unit} on average"
        return f"{mean}, Kolmogorov-Smirnov p = {self.p:.2g}"


def _judge(whole: _Comparison, matched: _Comparison | None) -> tuple[ConfirmationVerdict, str]:
    """At comparable latency where the draws allow it, else as a whole."""
    if matched is None:
        verdict: ConfirmationVerdict = "rejected" if whole.worse else "confirmed"
        return verdict, f"fresh draws from the child are {_word(verdict)}: {whole}; latencies not comparable"
    verdict = "rejected" if matched.worse else "confirmed"
    said = f"at comparable latency fresh draws from the child are {_word(verdict)}: {matched}"
    return verdict, f"{said}; over all: {whole}"


def _word(verdict: ConfirmationVerdict) -> str:
    return "worse" if verdict == "rejected" else "not worse"


def _compare(parent: Draws, child: Draws, alpha: float, unit: str) -> _Comparison:
    p = float(scipy.stats.ks_2samp(child.error, parent.error, alternative="less").pvalue)
    return _Comparison(p, edf_area(parent, child), alpha, unit)


def _compare_at_latency(
    parent: Draws, child: Draws, alpha: float, unit: str, rng: np.random.Generator
) -> _Comparison | None:
    """Under equal distributions of latency; None unless half of each side's draws have a counterpart.

    Labels are shuffled inside latency bins: no bin runs empty, and the p value is exact under "parent and child are
    alike at every latency". The area's variance is that within bins.
    """
    if not parent.timed or not child.timed:
        return None
    weights = latency_weights(parent, child)
    if weights is None or any((w > 0).mean() < COMPARABLE for w in weights):
        return None
    bins = latency_bins(parent, child)
    p = _stratified_ks_p(parent, child, bins, weights, rng)
    return _Comparison(p, edf_area(parent, child, weights, bins), alpha, unit)


def _stratified_ks_p(
    parent: Draws,
    child: Draws,
    bins: Bins,
    weights: tuple[Floats, Floats],
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> float:
    """Permutation p value of the one-sided weighted KS distance; labels shuffled inside bins."""
    errors, strata = np.concatenate([parent.error, child.error]), np.concatenate(bins)
    labels = np.concatenate([weights[0], -weights[1]])
    dealt = shuffled(labels, strata, permutations, rng)
    return permutation_p(ks_distance(parent, child, weights), _distances(errors, dealt))


def _distances(errors: Floats, signed: Floats) -> Floats:
    """(draws,) one-sided KS distances; parent rows weigh above, child rows below zero."""
    order = np.argsort(errors, kind="stable")
    last_of_tie = np.append(errors[order][1:] > errors[order][:-1], True)
    return np.asarray(np.maximum(np.cumsum(signed[:, order], axis=1)[:, last_of_tie].max(axis=1), 0.0))
