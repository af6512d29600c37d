"""Bootstrap intervals: they hold the truth as often as they say, and builds make them wider."""

from __future__ import annotations

import numpy as np
import pytest
from latency_builders import make_record

from nas.latency.intervals import bootstrap_medians, increment_interval, median_interval


def noisy(
    rng: np.random.Generator, centre: float, builds: int, build_sd: float, batches: int = 200
) -> list[list[float]]:
    return [list(rng.normal(centre + rng.normal(0, build_sd), 0.5, batches)) for _ in range(builds)]


def test_increments_are_covered() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(100):
        network, baseline = (make_record(noisy(rng, centre, 1, 0.0)) for centre in (31.0, 30.0))
        interval = increment_interval(network, baseline, seed=trial)
        inside += interval.low <= 1.0 <= interval.high
    assert inside >= 85


def test_noise_between_builds_widens_the_interval() -> None:
    rng = np.random.default_rng(1)
    steady = median_interval(make_record(noisy(rng, 30.0, 6, 0.0)))
    jumping = median_interval(make_record(noisy(rng, 30.0, 6, 0.6)))
    assert jumping.high - jumping.low > 3 * (steady.high - steady.low)


def test_a_plain_loop_gives_the_same_spread() -> None:
    rng = np.random.default_rng(2)
    record = make_record(noisy(rng, 10.0, 4, 0.3))
    naive = []
    for _ in range(1500):
        builds = [record.builds[i] for i in rng.integers(len(record.builds), size=len(record.builds))]
        naive.append(np.mean([np.median(rng.choice(b.block_medians_ms, len(b.block_medians_ms))) for b in builds]))
    fast = bootstrap_medians(record, np.random.default_rng(3), 4000)
    assert np.mean(fast) == pytest.approx(np.mean(naive), abs=0.02)
    assert np.std(fast) == pytest.approx(np.std(naive), rel=0.15)


def test_the_interval_holds_its_value_and_follows_the_drift() -> None:
    record = make_record(12.0, drift=0.2)
    interval = median_interval(record)
    assert (interval.low, interval.value, interval.high) == pytest.approx((10.0, 10.0, 10.0))
