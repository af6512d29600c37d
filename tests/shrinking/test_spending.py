"""Error spending: how strict a look at a growing sample must be, against simulated tests without effect."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from nas.shrinking.auto import AutoSettings, RoundOutcome, next_step
from nas.shrinking.spending import Look, next_level
from nas.spaces import DesignSpace, Evidence, Finding
from nas.spaces.rules import MaxBlocks

ALPHA = 0.05
ADOPTED = Finding(rule=MaxBlocks(count=2), verdict="adopted", evidence=Evidence(p_adjusted=0.001))


def levels(sizes: list[int], total: int, alpha: float = ALPHA) -> list[Look]:
    looks: list[Look] = []
    for size in sizes:
        looks.append(Look(size, next_level(alpha, looks, size, total)))
    return looks


def errors(looks: list[Look], studies: int = 400_000) -> list[float]:
    """Share of simulated tests without effect that were taken for a discovery, after each look."""
    rng = np.random.default_rng(0)
    total, size, wrong = np.zeros(studies), 0, np.zeros(studies, bool)
    shares = []
    for look in looks:
        total += rng.normal(size=studies) * np.sqrt(look.size - size)
        size = look.size
        wrong |= norm.sf(total / np.sqrt(size)) <= look.level
        shares.append(float(wrong.mean()))
    return shares


@pytest.mark.parametrize("sizes", [[400], [200, 400], [188, 291, 343, 388], [10, 20, 390, 399, 400], [100, 400]])
def test_the_error_rate_is_spent_in_step_with_the_trainings(sizes: list[int]) -> None:
    wanted = [ALPHA * size / 400 for size in sizes]
    assert errors(levels(sizes, 400)) == pytest.approx(wanted, abs=0.0012)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=6), st.sampled_from([0.01, 0.05, 0.2]))
def test_levels_lie_between_the_share_and_the_whole(steps: list[int], alpha: float) -> None:
    sizes = [int(size) for size in np.cumsum(steps)]
    looks, before = levels(sizes, sizes[-1], alpha), 0
    for look in looks:
        share = alpha * (look.size - before) / sizes[-1]  # what independent looks would be allowed
        assert share - 1e-5 <= look.level <= alpha
        before = look.size


def test_one_look_at_everything_gets_everything() -> None:
    assert next_level(ALPHA, [], 400, 400) == pytest.approx(ALPHA)


def test_a_budget_that_grows_is_still_kept() -> None:
    looks = levels([100, 200], 200)  # all is spent
    looks.append(Look(300, next_level(ALPHA, looks, 300, 1000)))
    assert looks[-1].level < 1e-3
    looks = [Look(100, 0.04)]  # more than a third of this budget may spend
    looks.append(Look(300, next_level(ALPHA, looks, 300, 1000)))
    assert 0 < looks[-1].level < 0.02
    assert errors(looks)[-1] <= ALPHA


def test_a_strict_look_in_between_costs_nothing() -> None:
    with_it = next_level(ALPHA, [Look(100, 0.01), Look(200, 0.0)], 400, 400)
    assert with_it == pytest.approx(next_level(ALPHA, [Look(100, 0.01)], 400, 400), abs=1e-6)


@pytest.mark.parametrize("budget", [AutoSettings(trainings=400), AutoSettings(trainings=None, hours=9.0)])
def test_rounds_share_one_false_discovery_rate(space: DesignSpace, budget: AutoSettings) -> None:
    rounds: list[RoundOutcome] = []
    looks: list[Look] = []
    spent = 0
    while len(rounds) < 6:
        step = next_step(space, rounds, budget, spent_trainings=spent, spent_hours=spent / 100)
        if step.kind == "stop":
            break
        used = step.candidates + step.replicated + 2 * step.draws
        spent += used
        rounds.append(RoundOutcome(used, (ADOPTED,), step.alpha))
        looks.append(Look(spent, step.alpha))
    assert len(rounds) > 2
    assert errors(looks)[-1] <= ALPHA + 0.001
    assert sum(look.level for look in looks) > ALPHA  # the looks resemble each other
