"""The surrogate and the improvement against naive re-derivations: direct inversion, loops, Monte Carlo."""

from __future__ import annotations

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from nas.search.proposals.improvement import Staircase, expected_improvement
from nas.search.proposals.model import Beliefs, level_and_scale
from nas.search.proposals.surrogate import Data, Prior, evidence_slope, learned, posterior

GROUPS = ("a", "a", "a", "b", "b", "c", "c")


def regression(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (rows, len(GROUPS))).astype(float)
    x[:, 4] = 0.0  # a feature that never varies
    return x, rng.standard_normal(rows), rng.choice([1.0, 0.5, 1 / 3], rows)


@pytest.mark.parametrize("rows", [1, 3, 20])
def test_posterior_and_evidence_are_those_of_direct_inversion(rows: int) -> None:
    x, y, relative = regression(rows, rows)
    prior = Prior({"a": 0.5, "b": 2.0, "c": 0.1}, 0.3)
    found = posterior(Data.of(x, y, GROUPS, relative), GROUPS, prior)
    weights = np.diag([prior.groups[g] for g in GROUPS])
    covariance = x @ weights @ x.T + prior.residual * np.diag(relative)
    new = np.random.default_rng(9).standard_normal((4, len(GROUPS)))
    across = new @ weights @ x.T
    mean, variance = found.predict(new)
    assert mean == pytest.approx(across @ np.linalg.solve(covariance, y))
    naive = new @ weights @ new.T - across @ np.linalg.solve(covariance, across.T)
    assert variance == pytest.approx(np.diag(naive))
    assert found.halves(new).T @ found.halves(new) == pytest.approx(naive)
    assert found.evidence == pytest.approx(multivariate_normal(np.zeros(rows), covariance).logpdf(y))


@pytest.mark.parametrize("rows", [2, 15])
def test_slope_of_the_evidence_is_that_of_finite_differences(rows: int) -> None:
    x, y, relative = regression(rows + 100, rows)
    data = Data.of(x, y, GROUPS, relative)
    at = np.log([0.5, 2.0, 0.1, 0.3])
    naive = approx_fprime(at, lambda logs: evidence_slope(data, logs)[0], 1e-6)
    assert evidence_slope(data, at)[1] == pytest.approx(naive, abs=1e-4)


def test_variances_are_learned_from_the_observations() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 20))
    groups = ("matters",) * 10 + ("does not",) * 10
    y = x[:, :10] @ rng.standard_normal(10) + 0.5 * rng.standard_normal(300)
    found = learned(Data.of(x, y, groups, np.ones(300)), Prior(dict.fromkeys(groups, 0.1), 0.1), steps=50)
    assert found.groups["matters"] == pytest.approx(1.0, rel=0.8)
    assert found.groups["does not"] < 0.01
    assert found.residual == pytest.approx(0.25, rel=0.25)


points = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=8)


@given(points, st.floats(0, 1), st.floats(0, 1.2))
@settings(max_examples=200)
def test_a_certain_candidate_gains_what_the_hypervolume_grows(
    known: list[tuple[float, float]], value: float, cost: float
) -> None:
    values, costs = (
        np.array(list(column), dtype=float) for column in (zip(*known, strict=True) if known else ((), ()))
    )
    stairs = Staircase.of(values, costs, 0.0, 1.0)
    gain = stairs.expected_gain(np.array([value]), np.array([0.0]), np.array([cost]))[0]
    grown = hypervolume([*known, (value, cost)]) - hypervolume(known)
    assert gain == pytest.approx(grown, abs=1e-9)
    after = stairs.with_point(value, cost).expected_gain(np.array([value]), np.array([0.0]), np.array([cost]))[0]
    assert after == pytest.approx(0.0, abs=1e-9)


def hypervolume(known: list[tuple[float, float]]) -> float:
    """Above mAP 0, below cost 1."""
    if not known:
        return 0.0
    return float(moocore.hypervolume(np.array([[-v, c] for v, c in known]), ref=[0.0, 1.0]))


def test_the_expected_gain_is_that_of_monte_carlo() -> None:
    rng = np.random.default_rng(2)
    known = [(0.2, 0.1), (0.5, 0.4), (0.45, 0.6), (0.7, 0.8)]
    stairs = Staircase.of(np.array([v for v, _ in known]), np.array([c for _, c in known]), 0.0, 1.0)
    for mean, sd, cost in [(0.6, 0.1, 0.3), (0.3, 0.3, 0.05), (0.6, 0.05, 0.9), (0.9, 0.2, 1.1)]:
        drawn = [hypervolume([*known, (v, cost)]) for v in np.maximum(rng.normal(mean, sd, 4000), 0.0)]
        gain = stairs.expected_gain(np.array([mean]), np.array([sd]), np.array([cost]))[0]
        error = np.std(drawn) / np.sqrt(len(drawn))
        assert gain == pytest.approx(np.mean(drawn) - hypervolume(known), abs=4 * error + 1e-6)


def test_expected_improvement_grows_with_both_mean_and_deviation() -> None:
    sd = np.array([0.01, 0.1, 0.2])
    assert (np.diff(expected_improvement(np.zeros(3), sd, 0.1)) > 0).all()
    assert (np.diff(expected_improvement(sd, np.full(3, 0.1), 0.1)) > 0).all()


def test_believing_an_observation_conditions_all_others_on_it() -> None:
    rng = np.random.default_rng(3)
    halves = rng.standard_normal((6, 5))
    beliefs = Beliefs(rng.standard_normal(5), halves, own=0.2, noise=0.3)
    covariance = halves.T @ halves
    naive = covariance - np.outer(covariance[:, 2], covariance[2]) / (covariance[2, 2] + 0.5)
    after = beliefs.after(2)
    assert after.halves.T @ after.halves == pytest.approx(naive)
    assert after.mean == pytest.approx(beliefs.mean)
    assert (after.sd <= beliefs.sd + 1e-12).all()


def test_a_few_diverged_trainings_do_not_stretch_the_scale() -> None:
    rng = np.random.default_rng(4)
    maps = np.concatenate([rng.normal(0.87, 0.004, 60), [0.01, 0.02, 0.0]])
    level, scale = level_and_scale(maps)
    assert level == pytest.approx(0.87, abs=0.002)
    assert 0.002 < scale < 0.008
    assert level_and_scale(np.array([0.5, 0.5]))[1] == 1.0
