"""Intervals of latencies and of their differences, by bootstrap over builds and over blocks of batches.

Batches that follow each other are alike (clocks, caches, neighbours), so they are resampled in the blocks a record
keeps, not singly; builds are resampled first, because two builds of one network differ by more than their batches.
With one build the noise between builds is unknown, and the interval does not hold it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas.latency.record import LatencyRecord

RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap_medians(record: LatencyRecord, rng: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """Medians of resampled measurements, in ms, corrected for drift as the record's own; (resamples,).

    Each resample draws builds, then as many blocks of each as it has, takes the median of the blocks, and averages
    the builds.
    """
    builds = [np.asarray(build.block_medians_ms) for build in record.builds]
    medians = np.stack([np.median(rng.choice(b, (resamples, b.size)), axis=1) for b in builds])
    drawn = rng.integers(len(builds), size=(resamples, len(builds)))
    centre = np.take_along_axis(medians.T, drawn, axis=1).mean(axis=1)
    return np.asarray(centre / (1.0 + (record.drift or 0.0)))


def median_interval(record: LatencyRecord, seed: int = 0) -> Interval:
    """The median, corrected for drift, with its interval; ms."""
    return _interval(record.corrected_ms, bootstrap_medians(record, np.random.default_rng(seed)))


def increment_interval(record: LatencyRecord, baseline: LatencyRecord, seed: int = 0) -> Interval:
    """What a network needs more than its baseline, with its interval; ms."""
    rng = np.random.default_rng(seed)
    differences = bootstrap_medians(record, rng) - bootstrap_medians(baseline, rng)
    return _interval(record.corrected_ms - baseline.corrected_ms, differences)


def _interval(value: float, resampled: np.ndarray) -> Interval:
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Interval(value, float(min(low, value)), float(max(high, value)))
