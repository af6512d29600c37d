"""Choices with their runners-up, and what designs see: against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from results_builders import planted

from nas.results.choice import knee, most_accurate
from nas.results.differences import to_controls
from nas.results.intervals import simultaneous_quantile
from nas.results.levels import levels
from nas.results.power import ComparisonDesign, blocks_needed, visible_difference

SCORES = {"resnet50": 0.60, "resnet50+se@1": 0.63, "resnet50+se@2": 0.6301, "resnet50+se@3": 0.66, "resnet50+se@4": 0.5}
COSTS = {"resnet50": 30.0, "resnet50+se@1": 31.0, "resnet50+se@2": 33.0, "resnet50+se@3": 40.0, "resnet50+se@4": 29.0}


def test_the_most_accurate_within_a_limit_comes_with_those_not_told_apart() -> None:
    table = planted(SCORES, shift_sd=0.01, noise_sd=0.0008)
    level = levels(table)[0]
    free = most_accurate(table, level, COSTS)
    assert free is not None
    assert (free.best, free.equal, free.cheapest) == ("resnet50+se@3", (), "resnet50+se@3")
    cheap = most_accurate(table, level, COSTS, at_most=35.0)
    assert cheap is not None
    assert {cheap.best, *cheap.equal} == {"resnet50+se@1", "resnet50+se@2"}
    assert cheap.cheapest == "resnet50+se@1"
    assert most_accurate(table, level, COSTS, at_most=1.0) is None
    assert most_accurate(table, level, {}) is None


def test_with_one_seed_nothing_is_told_apart_from_the_best() -> None:
    table = planted(SCORES, seeds=(1,))
    found = most_accurate(table, levels(table)[0], COSTS)
    assert found is not None
    assert len(found.equal) == 4


def test_the_knee_is_where_the_front_bends() -> None:
    table = planted(SCORES, noise_sd=1e-5)
    found = knee(table, levels(table)[0], COSTS)
    assert found is not None
    assert found.best == "resnet50+se@1"
    few = planted({"resnet50": 0.6, "resnet50+se@1": 0.63}, noise_sd=1e-5)
    assert knee(few, levels(few)[0], COSTS) is None


@pytest.mark.parametrize("control", [1, 2])
def test_a_visible_difference_is_found_in_80_percent_of_simulated_studies(control: int) -> None:
    design, sd, draws = ComparisonDesign(candidates=4, blocks=3, control=control), 0.003, 4000
    gain = visible_difference(sd, design)
    rng = np.random.default_rng(1)
    # The estimates' joint distribution, simulated; the quantile is that of the design.
    theirs = rng.normal(0, sd / math.sqrt(3 * control), draws)
    mine = rng.normal(gain, sd / math.sqrt(3), draws)
    spread = sd * np.sqrt(rng.chisquare(design.df, draws) / design.df)
    quantile = simultaneous_quantile([design.shared] * 4, design.df)
    found = (mine - theirs) > quantile * spread * design.relative_error
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_a_design_has_the_degrees_of_freedom_that_its_trainings_have() -> None:
    names = {"resnet50": 0.6, **{f"resnet50+se@{site}": 0.6 for site in range(1, 5)}}
    table = to_controls(planted(names, noise_sd=0.001))
    assert set(table["df"]) == {ComparisonDesign(candidates=4, blocks=3).df} == {8}


def test_more_questions_see_less_and_more_seeds_see_more() -> None:
    seen = [visible_difference(0.002, ComparisonDesign(candidates, 30)) for candidates in (2, 10, 40)]
    assert seen == sorted(seen)
    assert visible_difference(0.002, ComparisonDesign(5, 6)) < visible_difference(0.002, ComparisonDesign(5, 3))


def test_the_seeds_needed_are_the_fewest_that_see_it() -> None:
    plan = ComparisonDesign(candidates=5, blocks=1)
    needed = blocks_needed(0.002, 0.003, plan)
    assert needed is not None
    assert (
        visible_difference(0.002, ComparisonDesign(5, needed))
        <= 0.003
        < visible_difference(0.002, ComparisonDesign(5, needed - 1))
    )


def test_unknown_noise_gives_no_plan() -> None:
    assert math.isnan(visible_difference(math.nan, ComparisonDesign(5, 3)))
    assert math.isnan(visible_difference(0.002, ComparisonDesign(5, 1)))
    assert blocks_needed(math.nan, 0.003, ComparisonDesign(5, 3)) is None
    assert blocks_needed(0.002, 1e-9, ComparisonDesign(5, 3)) is None
