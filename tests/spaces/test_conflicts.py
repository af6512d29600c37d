"""Rules that cannot hold together."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_builders import make_space, naive_candidates, rules

from nas.spaces import Contradiction, EmptySpaceError, contradictions, rule_from_dict
from nas.spaces.conflicts import minimal_conflict
from nas.spaces.rules import Rule


def found(*data: dict[str, Any], **changes: Any) -> list[Contradiction]:
    space = make_space(**changes)
    return contradictions(space.definition, [rule_from_dict(row) for row in data])


def said(row: Contradiction) -> tuple[set[str], str]:
    return {rule.sentence() for rule in row.rules}, row.sentence


SOFT = {"strength": "preference"}


@pytest.mark.parametrize(
    ("data", "rules_named", "sentence"),
    [
        (
            [{"max_blocks": 1}, {"min_distance": 2}, {"min_blocks": 2}],
            {"no more than 1 block", "at least 2 blocks"},
            "no candidate is left",
        ),
        (
            [{"sites": "1, 2"}, {"max_blocks": 3}, {"stage_ends": True}],
            {"blocks only at positions 1, 2", "blocks only at the last site of a stage"},
            "no block can be placed",
        ),
        (
            [{"sites": {"block": "cnl", "sites": 2}}, {"forbid": {"blocks": "cnl", "sites": "1-3"}}],
            {"C-NL: position 2", "no C-NL at positions 1-3"},
            "together they leave no site for C-NL",
        ),
        (
            [
                {"block_preference": {"better": "cnl", "worse": "hac"}, **SOFT},
                {"block_preference": {"better": "hac", "worse": "se"}, **SOFT},
                {"block_preference": {"better": "se", "worse": "cnl"}, **SOFT},
            ],
            {"C-NL over HAC at equal positions", "HAC over SE at equal positions", "SE over C-NL at equal positions"},
            "C-NL would be better than itself",
        ),
        (
            [{"sites": "1, 2"}, {"max_blocks": 3}, {"stage_ends": True, **SOFT}],
            {"blocks only at positions 1, 2", "prefer the last site of a stage"},
            "the constraints leave nothing that is preferred",
        ),
    ],
)
def test_each_kind_of_contradiction(data: list[dict[str, Any]], rules_named: set[str], sentence: str) -> None:
    [row] = found(*data)
    assert said(row) == (rules_named, sentence)


def test_sensible_rules_do_not_contradict() -> None:
    assert not found({"max_blocks": 2}, {"min_distance": 2}, {"blocks": ["hac"]}, {"stage_ends": True, **SOFT})


def test_one_rule_that_leaves_a_block_out_means_it() -> None:
    assert not found({"blocks": ["hac"]}, {"max_blocks": 1})


@settings(max_examples=30)
@given(st.lists(rules(), min_size=1, max_size=4))
def test_reported_rules_really_leave_nothing_and_none_is_superfluous(some: list[Rule]) -> None:
    space = make_space(sites="1-4")
    everything = naive_candidates(space)

    def left(chosen: tuple[Rule, ...]) -> int:
        return sum(all(rule.admits(c) for rule in chosen) for c in everything)

    for row in contradictions(space.definition, some):
        if row.sentence == "no candidate is left":
            assert left(row.rules) == 0
            for rule in row.rules:
                assert left(tuple(other for other in row.rules if other is not rule)) > 0
    if left(tuple(some)) == 0:
        assert any(row.sentence == "no candidate is left" for row in contradictions(space.definition, some))


def test_minimal_conflict_keeps_what_is_needed() -> None:
    numbers = [rule_from_dict({"max_blocks": n}) for n in range(6)]
    needed = {numbers[1], numbers[4]}
    assert set(minimal_conflict(numbers, lambda some: needed <= set(some))) == needed


def test_the_error_crosses_processes() -> None:
    with pytest.raises(EmptySpaceError) as caught:
        make_space(rules=[{"max_blocks": 0}, {"min_blocks": 1}])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.message, copy.rules) == (caught.value.message, caught.value.rules)
