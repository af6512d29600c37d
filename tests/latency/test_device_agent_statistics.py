"""Statistics and the timing loop against NumPy and a clock we turn by hand."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from nas.latency.device_agent import timing
from nas.latency.device_agent.statistics import (
    block_medians,
    half_width,
    percentile,
    pool_pairs,
    student_975,
    summarise,
)
from nas.latency.device_agent.timing import clocked, time_limit, time_rounds, warm_up

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


def timed(clock: Clock, *settings: Any, **others: Any) -> list[float]:
    rounds = time_rounds([clocked(clock.run, clock)], *settings, clock=clock, **others)
    return [ms for (ms,) in rounds]


def test_warm_up_is_not_timed() -> None:
    clock = Clock([9.0, 9.0, 0.1, 0.2, 0.3])
    warm_up([clock.run], 2, clock=clock)
    assert timed(clock, 3, 1.0) == pytest.approx([100.0, 200.0, 300.0])


def test_warm_up_lasts_as_long_as_asked_and_as_many_batches() -> None:
    clock = Clock([0.5])
    warm_up([clock.run], None, 2.0, clock)
    assert clock.calls == 4
    warm_up([clock.run], 6, 2.0, clock)
    assert clock.calls == 10


def test_budget_ends_the_timing_but_not_before_the_least_number() -> None:
    assert len(timed(Clock([0.25]), None, 2.0)) == 8
    assert len(timed(Clock([10.0]), None, 2.0, min_batches=3)) == 3


def test_a_pair_is_timed_often_enough_for_an_interval() -> None:
    clock = Clock([10.0])
    pairs = time_rounds([clocked(clock.run, clock)] * 2, None, 2.0, min_batches=3, clock=clock)
    assert len(pairs) == 8
    assert pool_pairs([pairs])["ratio_low"] == pytest.approx(1.0)


def test_a_given_number_ignores_the_budget() -> None:
    assert len(timed(Clock([1.0]), 7, 0.001)) == 7


def test_rounds_go_in_both_orders() -> None:
    order: list[str] = []
    reads = [lambda name=name: float(len(order.append(name) or order)) for name in "abc"]
    assert time_rounds(reads, 3, 0.0) == [(1.0, 2.0, 3.0), (6.0, 5.0, 4.0), (7.0, 8.0, 9.0)]
    assert "".join(order) == "abccbaabc"


def test_an_alarm_that_is_dropped_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tidied:
        def __del__(self) -> None:
            until = time.monotonic() + 0.1
            while time.monotonic() < until:  # the first alarm strikes here, and Python drops its error
                pass

    monkeypatch.setattr(timing, "ALARM_AGAIN_S", 0.2)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)

    def endless() -> None:
        with time_limit(0.05):
            tidied = Tidied()
            del tidied
            until = time.monotonic() + 20
            while time.monotonic() < until:
                pass

    with pytest.raises(TimeoutError, match=r"given up after 0\.05 s"):
        endless()


def test_what_never_ends_is_ended() -> None:
    def endless() -> None:
        with time_limit(0.05):
            while True:
                pass

    with pytest.raises(TimeoutError, match=r"given up after 0\.05 s"):
        endless()
    with time_limit(None):
        pass


# -- pairs


@given(st.integers(1, 500))
def test_the_quantile_is_scipys(freedom: int) -> None:
    assert student_975(freedom) == pytest.approx(student.ppf(0.975, freedom), rel=2e-3)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30))
def test_the_half_width_is_students(units: list[float]) -> None:
    expected = student.ppf(0.975, len(units) - 1) * np.std(units, ddof=1) / np.sqrt(len(units))
    assert half_width(units) == pytest.approx(expected, rel=3e-3, abs=1e-12)


def test_one_unit_gives_no_interval() -> None:
    assert half_width([0.3]) is None
    assert pool_pairs([[(3.0, 2.0)]])["ratio_low"] is None
    assert pool_pairs([[(3.0, 2.0)]])["ratio"] == pytest.approx(1.5)


def test_a_ratio_is_the_median_of_the_pairs_ratios_not_the_ratio_of_medians() -> None:
    """A machine that is three times slower for half of the time: every pair has the same ratio all the same."""
    pairs = [(1.2 * speed, speed) for speed in [10.0, 30.0, 11.0, 33.0, 10.5, 31.0]]
    found = pool_pairs([pairs])
    assert found["ratio"] == pytest.approx(1.2)
    assert found["ratio_low"] == pytest.approx(1.2)
    assert (found["pairs"], found["reference_read_ms"]) == (6, pytest.approx(20.5))


def test_blocks_hold_both_orders_equally_often() -> None:
    """The first of a pair is timed 10 % slow: blocks of odd length would scatter by that, even ones do not."""
    pairs = [(11.0, 10.0) if number % 2 else (10.0, 11.0) for number in range(60)]
    found = pool_pairs([pairs])
    assert found["ratio"] == pytest.approx(1.0, abs=0.01)
    assert found["ratio_high"] - found["ratio_low"] < 1e-9


def test_with_several_builds_the_builds_are_the_units() -> None:
    builds = [[(ratio * 10.0, 10.0)] * 20 for ratio in (1.0, 1.1, 1.2)]
    found = pool_pairs(builds)
    half = student.ppf(0.975, 2) * np.std(np.log([1.0, 1.1, 1.2]), ddof=1) / np.sqrt(3)
    assert found["ratio"] == pytest.approx(1.1)
    assert np.log(found["ratio_high"] / found["ratio"]) == pytest.approx(half, rel=2e-3)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Noise that both of a pair share, noise of each, and now and then a batch that took much longer."""
    rng, covered, truth = np.random.default_rng(0), 0, 1.03
    for _ in range(1000):
        shared = np.exp(np.cumsum(rng.normal(0, 0.05, 60)))
        own, other = (np.exp(rng.normal(0, 0.02, 60)) * np.where(rng.random(60) < 0.05, 3.0, 1.0) for _ in range(2))
        found = pool_pairs([list(zip(10 * truth * shared * own, 10 * shared * other, strict=True))])
        covered += found["ratio_low"] <= truth <= found["ratio_high"]
    assert 0.93 <= covered / 1000 <= 0.97
