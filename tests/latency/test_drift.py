"""Drift between readings of a reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.latency.drift import DriftMonitor, Reading, interpolate


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=8, unique=True),
    st.floats(-10, 1010),
    st.integers(0, 2**32 - 1),
)
def test_interpolation_is_numpys(moments: list[float], at: float, seed: int) -> None:
    moments = sorted(moments)
    times = np.random.default_rng(seed).uniform(1, 20, len(moments))
    readings = [Reading(moment, float(ms)) for moment, ms in zip(moments, times, strict=True)]
    assert interpolate(readings, at) == pytest.approx(np.interp(at, moments, times), rel=1e-6)


def monitor(times: list[float], base_ms: float | None = None) -> DriftMonitor:
    clock = iter(range(0, 10 * len(times), 10))
    values = iter(times)
    made = DriftMonitor(lambda: next(values), 1, base_ms, clock=lambda: float(next(clock)))
    for _ in times:
        made.read()
    return made


def test_drift_is_relative_to_the_first_reading() -> None:
    found = monitor([10.0, 10.2, 10.4])
    assert [found.at(t) for t in (0, 10, 15, 99)] == pytest.approx([0.0, 0.02, 0.03, 0.04])


def test_drift_is_relative_to_an_earlier_session_where_there_was_one() -> None:
    assert monitor([11.0], base_ms=10.0).at(0.0) == pytest.approx(0.1)


def test_without_a_reading_the_drift_is_unknown() -> None:
    assert monitor([]).at(0.0) is None
    assert monitor([]).warning() is None


@pytest.mark.parametrize(
    ("times", "said"), [([10, 10.1], None), ([10, 10.5], "5.0% slower"), ([10, 9], "10.0% faster")]
)
def test_more_than_two_percent_is_said(times: list[float], said: str | None) -> None:
    warning = monitor(times).warning()
    assert (said in warning) if said and warning else (warning is None and said is None)
