"""From findings to spaces: children, contradictions, reach, re-opened edges, sentences, automatic rounds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from shrinking.conftest import make_landscape

from nas.shrinking import (
    AutoSettings,
    RoundOutcome,
    derive_findings,
    next_step,
    propose_child,
    reopen,
    reopened_space,
)
from nas.shrinking.child import Reach, clashes, keep_reach, settle
from nas.spaces import DesignSpace, Evidence, Finding, Rule
from nas.spaces.rules import (
    AllowedBlocks,
    BlockPreference,
    MaxBlocks,
    MinDistance,
    ParamsRule,
    RecipeRange,
    SitesRule,
    StageEnds,
)
from nas.testing.landscapes import landscape_table
from nas.testing.planting import draw_landscape, planted_space

Sweep = Callable[..., pd.DataFrame]


def found(rule: Rule, verdict: str = "adopted", p: float = 0.001, **evidence: object) -> Finding:
    return Finding(rule=rule, verdict=verdict, evidence=Evidence(p_adjusted=p, **evidence))  # type: ignore[arg-type]


def test_only_adopted_constraints_make_a_child(space: DesignSpace) -> None:
    wish = StageEnds(strength="preference")
    assert propose_child(space, [found(wish), found(MaxBlocks(count=2), "rejected")]) is None
    child = propose_child(space, [found(MaxBlocks(count=2)), found(wish)])
    assert child is not None
    assert child.parent_id == space.id
    assert child.size() < space.size()
    assert MaxBlocks(count=2) in child.rules


def test_a_rule_that_takes_nothing_away_makes_no_child(space: DesignSpace) -> None:
    assert propose_child(space, [found(MaxBlocks(count=5))]) is None


def test_of_contradicting_rules_the_weaker_falls(space: DesignSpace) -> None:
    only_cnl = found(AllowedBlocks(allowed=["cnl"]), p=1e-6)
    for_se = found(BlockPreference(better="se", worse="cnl", strength="preference"), p=1e-3)
    circle = [
        found(BlockPreference(better=a, worse=b, strength="preference"), p=p)
        for a, b, p in (("cnl", "se", 1e-6), ("se", "hac", 1e-5), ("hac", "cnl", 1e-2))
    ]
    settled = settle(circle, space)
    assert [f.verdict for f in settled] == ["adopted", "adopted", "rejected"]
    assert "contradiction" in settled[2].reason
    assert not clashes(settled, space)
    assert settle([only_cnl, for_se], space)[0].adopted


def test_rules_that_leave_nothing_together(space: DesignSpace) -> None:
    rules = [found(SitesRule(sites=[6]), p=1e-9), found(SitesRule(sites=[8]), p=1e-3)]
    settled = settle(rules, space)
    assert [f.verdict for f in settled] == ["adopted", "rejected"]


def test_narrow_sites_stay_a_preference_where_more_blocks_pay(space: DesignSpace) -> None:
    reach = Reach(4, {2: 0.003, 3: 0.003, 4: 0.003}, 0.0005)
    kept = keep_reach([found(SitesRule(sites=[6, 8]))], space, reach)
    assert not kept[0].rule.is_hard
    assert kept[0].adopted
    assert "room for 2 blocks where 4 pay" in kept[0].reason
    assert keep_reach([found(SitesRule(sites=[6, 8])), found(MaxBlocks(count=2))], space, reach)[0].rule.is_hard


@pytest.mark.parametrize(("lost", "hard"), [(0.0028, True), (0.001, False)])
def test_a_distance_may_cost_numbers_of_blocks_when_crowding_costs_more(
    space: DesignSpace, lost: float, hard: bool
) -> None:
    """At least 6 apart leaves room for 3 of 17 sites; the 4th block brings 0.003 and loses a near pair."""
    reach = Reach(5, dict.fromkeys(range(1, 6), 0.003), 0.0005)
    kept = keep_reach([found(MinDistance(distance=6), effect=lost)], space, reach)
    assert kept[0].rule.is_hard == hard


def test_a_tight_distance_is_reopened(space: DesignSpace) -> None:
    child = space.restrict([MinDistance(distance=4)])
    landscape = make_landscape()
    close = landscape_table(landscape, child.stratified(240, 0, [2, 3]))
    nearest = [min(b - a for a, b in pairwise(c)) for c in _sites(close)]
    helped = close.assign(map=close["map"] + np.where(np.array(nearest) == 4, 0.01, 0.0))
    (opened,) = reopen(helped, space, child)
    assert opened.relaxed == MinDistance(distance=3)
    assert opened.share > opened.expected
    assert reopened_space(space, child, [opened]).size() > child.size()
    assert reopen(close, space, child) == []


def _sites(table: pd.DataFrame) -> list[tuple[int, ...]]:
    from nas.spaces import Candidate

    return [Candidate.parse(text).sites for text in table["notation"]]


def test_a_tight_range_is_reopened_on_its_own_side() -> None:
    parent = planted_space("hyperparameters")
    child = parent.restrict([RecipeRange(key="base_lr", low=3e-4, high=6e-4)])
    rising = make_landscape(recipe_gain={"base_lr": ((1e-4, 0.0), (1e-3, 0.05))})
    (opened,) = reopen(landscape_table(rising, child.sample(200, 0)), parent, child)
    assert isinstance(opened.relaxed, RecipeRange)
    assert opened.relaxed.low == pytest.approx(3e-4)
    assert 6e-4 < opened.relaxed.high <= 1e-3


def test_a_run_of_values_with_one_bound_is_reopened_there() -> None:
    parent = planted_space("hyperparameters")
    child = parent.restrict([ParamsRule(block="se", param="reduction", low=4)])
    falling = make_landscape(param_gain={("se", "reduction"): {4: 0.02, 8: 0.0, 16: -0.02}})
    (opened,) = reopen(landscape_table(falling, child.sample(200, 0)), parent, child)
    assert opened.relaxed == ParamsRule(block="se", param="reduction", low=2)
    without_se = parent.restrict([ParamsRule(block="se", param="reduction", low=17)])
    assert reopen(landscape_table(falling, without_se.sample(200, 0)), parent, without_se) == []


def test_what_a_person_excluded_stays_excluded(space: DesignSpace) -> None:
    table = landscape_table(make_landscape(), space.stratified(100, 0))
    assert reopen(table, space, space) == []


# shrink: auto --------------------------------------------------------------------------------------------------------


def outcome(passed: int, undecided: int = 0, trainings: int = 100) -> RoundOutcome:
    findings = [found(MaxBlocks(count=2))] * passed + [found(MaxBlocks(count=3), "not enough data")] * undecided
    return RoundOutcome(trainings, tuple(findings), 0.02)


def test_the_first_round_spends_half(space: DesignSpace) -> None:
    step = next_step(space, [], AutoSettings(trainings=400))
    assert step.kind == "round"
    assert step.candidates + step.replicated + 2 * step.draws == 200
    assert step.reason == "nothing is known yet"


@pytest.mark.parametrize("budget", [13, 40, 100, 400])
def test_a_budget_is_never_overspent(space: DesignSpace, budget: int) -> None:
    rounds, spent = [], 0
    while (step := next_step(space, rounds, AutoSettings(trainings=budget), spent_trainings=spent)).kind == "round":
        used = step.candidates + step.replicated + 2 * step.draws
        spent += used
        rounds.append(outcome(1, trainings=used))
    assert 0 < spent <= budget
    assert "spent" in step.reason or "rounds" in step.reason


def test_it_stops_when_nothing_is_left_to_find(space: DesignSpace) -> None:
    step = next_step(space, [outcome(2), outcome(0)], AutoSettings(trainings=1000), spent_trainings=200)
    assert step == next_step(space, [outcome(2), outcome(0)], AutoSettings(trainings=1000), spent_trainings=200)
    assert step.kind == "stop"
    assert step.reason == "no further rule passed, and none is undecided"


def test_it_goes_on_while_something_is_undecided_and_more_data_would_help(space: DesignSpace) -> None:
    settings = AutoSettings(trainings=400)
    assert next_step(space, [outcome(0, 3, 200)], settings, spent_trainings=200).kind == "round"
    stopped = next_step(space, [outcome(0, 3, 350)], settings, spent_trainings=350)
    assert stopped.kind == "stop"
    assert "would not decide" in stopped.reason


def test_hours_are_a_budget_too(space: DesignSpace) -> None:
    settings = AutoSettings(trainings=None, hours=10)
    assert next_step(space, [], settings).kind == "round"
    step = next_step(space, [outcome(1)], settings, spent_trainings=100, spent_hours=8.0)
    assert step.kind == "round"
    assert step.candidates + step.replicated + 2 * step.draws <= 25
    assert "10 hours" in next_step(space, [outcome(1)], settings, spent_trainings=120, spent_hours=10.5).reason


def test_auto_on_a_landscape_finds_rules_and_ends() -> None:
    landscape, space = draw_landscape("steps", 0), planted_space("steps")
    table, rounds, parent = landscape_table(landscape, space.baselines(), range(3)), [], space
    rng = np.random.default_rng(0)
    while (step := next_step(space, rounds, AutoSettings(trainings=220), spent_trainings=len(table))).kind == "round":
        numbers = [b for b in space.size_by_blocks() if b]
        drawn = space.stratified(min(step.candidates, space.size() - 1), rng, numbers)
        fresh = landscape_table(landscape, drawn, [len(rounds)], first_id=len(table) + 1)
        table = pd.concat([table, fresh])
        findings = derive_findings(table, space, alpha=step.alpha)
        rounds.append(RoundOutcome(len(fresh), tuple(findings), step.alpha))
        space = propose_child(space, findings) or space
    assert len(rounds) > 1
    assert space.size() < parent.size() / 100
    assert step.reason
