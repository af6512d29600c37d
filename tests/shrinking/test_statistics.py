"""Multiplicity, equivalence, permutation nulls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from nas.results.intervals import Estimate
from nas.shrinking.derive import adjust
from nas.shrinking.equivalence import no_worse, visible
from nas.shrinking.null import permutation_p, range_null, shift_statistic, shuffled
from nas.shrinking.winners import resample_size, score_weights


def naive_discoveries(p_values: list[float], q: float) -> set[int]:
    """Benjamini-Hochberg as it is told: the largest k with p_(k) <= q k / n, and everything up to it."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    passing = [k for k, i in enumerate(order, 1) if p_values[i] <= q * k / len(order)]
    return set(order[: max(passing, default=0)])


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=30), st.floats(0.01, 0.3))
def test_adjusted_p_values_make_the_same_discoveries(p_values: list[float], q: float) -> None:
    adjusted = adjust(dict(enumerate(p_values)))
    close = any(abs(p - q) < 1e-9 for p in adjusted.values())
    assert close or {i for i, p in adjusted.items() if p <= q} == naive_discoveries(p_values, q)


def test_what_could_not_be_tested_is_not_counted() -> None:
    adjusted = adjust({"a": 0.03, "b": float("nan")})
    assert adjusted["a"] == pytest.approx(0.03)
    assert np.isnan(adjusted["b"])
    assert adjust({}) == {}


def test_false_discoveries_are_held_at_the_level() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        p = {i: float(rng.uniform()) for i in range(40)} | {100 + i: 1e-8 for i in range(10)}
        made = [i for i, value in adjust(p).items() if value <= 0.05]
        shares.append(sum(i < 100 for i in made) / len(made))
    assert np.mean(shares) < 0.05


def test_no_worse_needs_proof_not_absence_of_proof() -> None:
    assert not no_worse(Estimate(0.0, 0.001, 100), 0.0005)
    assert no_worse(Estimate(0.0, 0.0002, 100), 0.0005)


def test_power_is_what_simulation_gives() -> None:
    se, rng = 0.001 / (1.96 + 0.8416), np.random.default_rng(0)
    seen = np.mean(np.abs(rng.normal(0.001, se, 20_000)) > 1.96 * se)
    assert seen == pytest.approx(0.8, abs=0.01)
    assert visible(Estimate(0, se, 1e6), 0.05) == pytest.approx(0.001, rel=1e-4)
    assert visible(Estimate(0, se, 1e6), 0.01) > 0.0012
    assert np.isnan(visible(Estimate(0.0), 0.05))


def test_without_spread_nothing_can_be_tested() -> None:
    assert np.isnan(Estimate(0.0, 0.0, 10).p_two_sided())


def test_permutation_p_is_never_zero() -> None:
    assert permutation_p(10.0, np.zeros(99)) == 0.01


def test_range_null_is_uniform_when_the_parameter_does_nothing() -> None:
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(150):
        weights = score_weights(rng.normal(size=80), resample_size(80, 20))
        p_values.append(range_null(rng.uniform(size=80), weights, 200, rng))
    assert kstest(p_values, "uniform").pvalue > 0.01


@pytest.mark.parametrize("shape", [lambda x: x, lambda x: -((x - 0.5) ** 2) * 4])
def test_range_null_sees_shifts_and_peaks(shape) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    values = rng.uniform(size=150)
    weights = score_weights(shape(values) + rng.normal(0, 0.2, 150), resample_size(150, 20))
    assert range_null(values, weights, 500, rng) < 0.01


def test_shift_statistic_against_a_loop() -> None:
    rng = np.random.default_rng(2)
    values, weights = rng.integers(0, 4, 30).astype(float), rng.uniform(size=30)
    naive = 0.0
    for level in np.unique(values):
        winners = weights[values <= level].sum() / weights.sum()
        everybody = (values <= level).mean()
        naive += (winners - everybody) ** 2 * (values == level).mean()
    assert shift_statistic(values, weights) == pytest.approx(naive)


def test_only_candidates_of_the_same_seeds_are_exchanged() -> None:
    """Values that go with the seeds, and scores that go with the seeds: nothing is left within them."""
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1], 40)
    values = strata + rng.uniform(size=80)
    weights = score_weights(strata + 0.1 * rng.normal(size=80), resample_size(80, 20))
    assert range_null(values, weights, 500, rng) < 0.01
    assert range_null(values, weights, 500, rng, strata) > 0.05
    dealt = shuffled(values, strata, 20, rng)
    assert (np.sort(dealt[:, :40]) == np.sort(values[:40])).all()
