"""Intervals: Student's, the simultaneous quantile against SciPy's Dunnett, and what is not known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from nas.results.intervals import (
    Estimate,
    Spread,
    half_widths,
    mean_interval,
    simultaneous_quantile,
    student_quantile,
)


def test_the_interval_of_a_mean_is_students() -> None:
    values = np.array([0.61, 0.63, 0.60, 0.66])
    expected = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)
    assert half_widths(values.std(ddof=1), 4) == pytest.approx((expected[1] - expected[0]) / 2)


@pytest.mark.parametrize("values", [[], [0.63], [0.63, math.nan]])
def test_fewer_than_two_values_give_not_known_never_a_width_of_zero(values: list[float]) -> None:
    assert all(math.isnan(end) for end in mean_interval(values))
    assert np.isnan(half_widths([0.0, 0.1], [1, 0])).all()
    assert all(math.isnan(end) for end in Estimate(0.6, 0.0, 0).interval())


@pytest.mark.parametrize("value", [0.3, 0.1 + 0.2, 1 / 3])
def test_equal_values_give_not_known_never_a_width_of_zero(value: float) -> None:
    """Equal scores show that nothing could be seen, not that there is nothing; rounding is no noise either."""
    for count in (2, 3, 7):
        assert all(math.isnan(end) for end in mean_interval([value] * count))
    assert np.isnan(half_widths([0.0, 1e-17], [4, 4])).all()
    assert not Estimate(0.6, 0.0, 3).known
    assert math.isnan(Estimate(0.6, 0.0, 3).p_above())
    assert all(math.isnan(end) for end in Spread(0.0, 3).interval())
    assert math.isnan(Spread(0.0, 3).reach)


@pytest.mark.parametrize(("treatments", "n"), [(3, 4), (6, 3)])
def test_simultaneous_intervals_are_dunnetts(treatments: int, n: int) -> None:
    rng = np.random.default_rng(5)
    groups = [rng.normal(0.0, 1.0, n) for _ in range(treatments + 1)]
    df = (treatments + 1) * (n - 1)
    sd = math.sqrt(float(np.mean([group.var(ddof=1) for group in groups])))
    theirs = stats.dunnett(*groups[1:], control=groups[0], rng=rng).confidence_interval(0.95)
    half = simultaneous_quantile([0.5] * treatments, df) * sd * math.sqrt(2 / n)
    assert half == pytest.approx(float((theirs.high - theirs.low)[0]) / 2, rel=0.01)


def test_simultaneous_is_wider_the_more_are_compared_and_students_for_one() -> None:
    widths = [simultaneous_quantile([0.3] * n, 12) for n in (1, 2, 5, 20)]
    assert widths == sorted(widths)
    assert widths[0] == pytest.approx(student_quantile(12), abs=1e-3)
    assert math.isnan(simultaneous_quantile([0.3], 0))
