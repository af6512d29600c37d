"""Closed-form winner weights against the resampling they replace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.shrinking.winners import (
    effective_size,
    good_levels,
    good_range,
    resample_size,
    score_weights,
    winner_weights,
)


def test_weights_are_what_resampling_gives() -> None:
    n, m, rng = 12, 5, np.random.default_rng(0)
    winners = rng.integers(0, n, size=(200_000, m)).min(axis=1)
    simulated = np.bincount(winners, minlength=n) / len(winners)
    np.testing.assert_allclose(winner_weights(n, m), simulated, atol=4e-3)


@given(n=st.integers(1, 300), share=st.floats(0.01, 3))
def test_weights_sum_to_one_and_fall_with_rank(n: int, share: float) -> None:
    weights = winner_weights(n, max(1.0, share * n))
    assert weights.sum() == pytest.approx(1)
    assert (np.diff(weights) <= 1e-12).all()


def test_a_quarter_leaves_about_eight_models_whatever_n() -> None:
    sizes = [effective_size(winner_weights(n, n / 4)) for n in (60, 200, 1000, 5000)]
    assert all(7.7 < size < 8.1 for size in sizes)


@given(n=st.integers(21, 2000), effective=st.floats(2, 20))
def test_resample_size_gives_the_chosen_effective_size(n: int, effective: float) -> None:
    assert effective_size(winner_weights(n, resample_size(n, effective))) == pytest.approx(effective, rel=1e-6)


def test_fewer_models_than_the_effective_size_all_win_alike() -> None:
    assert resample_size(7, 20) == 1.0


def test_failed_models_stay_in_the_count_and_win_last() -> None:
    weights = score_weights(np.array([np.nan, 0.9, 0.8, np.nan]), 2)
    assert weights.sum() == pytest.approx(1)
    assert weights[1] > weights[2] > weights[0] == weights[3]
    assert weights[1] == pytest.approx(winner_weights(4, 2)[0])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.randoms())
def test_order_of_rows_does_not_matter(scores: list[float], random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(scores)))
    random.shuffle(order)
    values = np.array(scores)
    np.testing.assert_allclose(score_weights(values, 3)[order], score_weights(values[order], 3))


@pytest.mark.parametrize(("n", "m"), [(0, 1), (3, 0.5)])
def test_impossible_sizes_are_refused(n: int, m: float) -> None:
    with pytest.raises(ValueError, match="winner weights need"):
        winner_weights(n, m)


def test_good_range_against_plain_resampling() -> None:
    rng = np.random.default_rng(3)
    values = rng.uniform(0, 1, 200)
    scores = -np.abs(values - 0.5)
    low, high = good_range(values, score_weights(scores, 50))
    best = [values[i] for i in (row[np.argmax(scores[row])] for row in rng.integers(0, 200, (20_000, 50)))]
    assert (low, high) == pytest.approx(tuple(np.quantile(best, [0.025, 0.975])), abs=0.01)


def test_a_parameter_that_does_nothing_still_loses_range() -> None:
    """What `search.md` warns of: with m = n/4, about a fifth of the range goes for no reason."""
    rng = np.random.default_rng(1)
    values = np.linspace(0, 1, 100)
    widths = [np.diff(good_range(values, score_weights(rng.normal(size=100), 25)))[0] for _ in range(300)]
    assert 0.75 < np.mean(widths) < 0.88


def test_good_levels_take_the_fewest_that_hold_the_mass() -> None:
    assert good_levels(["x", "y", "z"], np.array([0.5, 0.3, 0.2]), 0.8) == ("x", "y")
    assert good_levels(["x", "y", "z"], np.array([0.5, 0.3, 0.2]), 0.81) == ("x", "y", "z")
