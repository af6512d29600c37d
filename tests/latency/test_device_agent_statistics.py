"""Statistics and the timing loop against NumPy and a clock we turn by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.latency.device_agent import block_medians, percentile, summarise, time_batches

TIMES = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=200)


@given(TIMES, st.floats(0, 100))
def test_percentile_is_numpys(times: list[float], q: float) -> None:
    assert percentile(sorted(times), q) == pytest.approx(np.percentile(times, q), rel=1e-9)


@given(TIMES)
def test_summary_is_numpys(times: list[float]) -> None:
    found = summarise(times)
    assert found["median_ms"] == pytest.approx(np.median(times))
    assert found["mean_ms"] == pytest.approx(np.mean(times))
    if len(times) > 1:
        assert found["sd_ms"] == pytest.approx(np.std(times, ddof=1), rel=1e-6, abs=1e-9)
    else:
        assert found["sd_ms"] is None


@given(TIMES, st.integers(1, 30))
def test_blocks_are_consecutive_and_cover_everything(times: list[float], blocks: int) -> None:
    parts = np.array_split(np.arange(len(times)), min(blocks, len(times)))
    found = block_medians(times, blocks)
    assert len(found) == len(parts)
    assert all(min(times) <= value <= max(times) for value in found)
    if len(times) <= blocks:
        assert found == times


class Clock:
    """Seconds that pass only when a batch runs."""

    def __init__(self, durations: list[float]) -> None:
        self.now, self.durations, self.calls = 0.0, durations, 0

    def run(self) -> None:
        self.now += self.durations[self.calls % len(self.durations)]
        self.calls += 1

    def __call__(self) -> float:
        return self.now


def test_warm_up_is_not_timed() -> None:
    clock = Clock([9.0, 9.0, 0.1, 0.2, 0.3])
    assert time_batches(clock.run, 2, 3, 1.0, clock=clock) == pytest.approx([100.0, 200.0, 300.0])


def test_budget_ends_the_timing_but_not_before_the_least_number() -> None:
    clock = Clock([0.25])
    assert len(time_batches(clock.run, 0, None, 2.0, clock=clock)) == 8
    slow = Clock([10.0])
    assert len(time_batches(slow.run, 0, None, 2.0, min_batches=3, clock=slow)) == 3


def test_a_given_number_ignores_the_budget() -> None:
    clock = Clock([1.0])
    assert len(time_batches(clock.run, 0, 7, 0.001, clock=clock)) == 7
