"""Rules: what they say, how they are written, what they admit - against plain loops."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_builders import block_params, rules

from nas.errors import SpaceError
from nas.spaces import BLOCKS, Candidate, get_topology, rule_from_dict
from nas.spaces.rules import RULE_KINDS, Rule

SENTENCES: list[tuple[dict[str, Any], str]] = [
    (
        {"sites": {"block": "cnl", "sites": [6, 8, 14]}, "backbone": "resnet50"},
        "C-NL: positions 6, 8, 14 (of 17), on ResNet-50",
    ),
    ({"sites": {"stages": [2, 3], "place": "last"}}, "blocks only at the last site of stages 2 and 3"),
    ({"sites": "6, 8", "strength": "preference"}, "prefer positions 6, 8"),
    ({"forbid": {"blocks": "agw", "sites": "1-4"}}, "no AGW non-local at positions 1-4"),
    ({"forbid": {"blocks": ["raga", "abd"]}}, "no ABD or RAGA"),
    ({"forbid": {"sites": 1}}, "no block at position 1"),
    ({"blocks": ["cnl", "hac"]}, "only C-NL and HAC"),
    ({"stage_ends": True}, "blocks only at the last site of a stage"),
    ({"stage_ends": True, "strength": "preference"}, "prefer the last site of a stage"),
    (
        {"block_preference": {"better": "cnl", "worse": "hac"}, "strength": "preference"},
        "C-NL over HAC at equal positions",
    ),
    ({"block_preference": {"better": "cnl", "worse": "hac"}}, "C-NL instead of HAC"),
    ({"params": {"block": "se", "param": "reduction", "low": 1, "high": 2}}, "SE: reduction 1 to 2"),
    ({"params": {"block": "cnl", "param": "width", "values": ["full", "half"]}}, "C-NL: width full or half"),
    (
        {"cost": {"reference": "resnet101", "placements": {"raga": "1-8", "agw(inner=half)": 1}}},
        "no block whose network is slower than ResNet-101: AGW non-local (inner=half) not at position 1; "
        "RAGA not at positions 1-8",
    ),
    ({"max_blocks": 3}, "no more than 3 blocks"),
    ({"max_blocks": {"count": 1, "block": "agw"}}, "no more than 1 AGW non-local block"),
    ({"max_blocks": 0}, "no blocks"),
    ({"min_blocks": 1}, "at least 1 block"),
    ({"min_distance": 4}, "blocks at least 4 sites apart"),
    ({"min_distance": 4, "strength": "preference"}, "preferably blocks at least 4 sites apart"),
    ({"distinct_stages": True}, "no two blocks in one stage"),
    ({"mix": {"max_types": 1}}, "no more than one type of block"),
    ({"mix": {"min_families": 2}}, "at least two families of block"),
    ({"mix": {"min_families": 2}, "strength": "preference"}, "two families of block rather than one"),
    ({"mix": {"max_families": 1}, "strength": "preference"}, "one family of block rather than several"),
    ({"tie": ["cnl.norm", "cnl.fuse"]}, "one value at all sites: norm, fuse of C-NL"),
    ({"recipe_range": {"key": "base_lr", "low": 2e-4, "high": 5e-4}}, "base_lr 0.0002 to 0.0005"),
    ({"recipe_range": {"key": "loss", "values": ["circle"]}}, "loss circle"),
    ({"recipe_range": {"key": "base_lr", "high": 5e-4}, "strength": "preference"}, "prefer base_lr at most 0.0005"),
]


@pytest.mark.parametrize(("data", "sentence"), SENTENCES)
def test_sentences(data: dict[str, Any], sentence: str) -> None:
    assert rule_from_dict(data).sentence() == sentence


def test_every_kind_has_a_sentence_here() -> None:
    assert {next(key for key in data if key in RULE_KINDS) for data, _ in SENTENCES} == set(RULE_KINDS)


@given(rules())
def test_written_form_reads_back_through_json(rule: Rule) -> None:
    back = rule_from_dict(json.loads(json.dumps(rule.to_dict())))
    assert back == rule
    assert hash(back) == hash(rule)
    assert back.sentence() == rule.sentence()


@pytest.mark.parametrize("data", [data for data, _ in SENTENCES])
def test_all_kinds_read_back(data: dict[str, Any]) -> None:
    rule = rule_from_dict(data)
    assert rule_from_dict(json.loads(json.dumps(rule.to_dict()))) == rule


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"max_block": 3}, "did you mean 'max_blocks'"),
        ({}, "exactly one kind; found none"),
        ({"max_blocks": 3, "min_blocks": 1}, "exactly one kind; found max_blocks, min_blocks"),
        ({"max_blocks": -1}, "a number of 0 or more is needed, not -1"),
        ({"max_blocks": "many"}, "a whole number is needed, not 'many'"),
        ({"max_blocks": {"count": 1, "block": "agw(inner=one)"}}, "without hyperparameters"),
        ({"forbid": {}}, "name the blocks, the sites, or both"),
        ({"forbid": {"blcks": "agw"}}, "did you mean 'blocks'? Known: backbone, blocks, sites, strength"),
        ({"forbid": {"blocks": "agww"}}, "did you mean 'agw'"),
        ({"forbid": {"blocks": "agw(inner=two)"}}, "legal: half, one"),
        ({"forbid": {"blocks": []}}, "at least one block"),
        ({"mix": {}}, "exactly one of"),
        ({"mix": {"max_types": 1, "min_types": 1}}, "exactly one of"),
        ({"params": {"block": "se", "param": "ratio", "low": 1}}, "unknown hyperparameter of se 'ratio'"),
        ({"params": {"block": "se", "param": "reduction"}}, "either values, or low, high or both"),
        ({"params": {"block": "se", "param": "reduction", "low": 2, "high": 1}}, "low 2 is above high 1"),
        ({"distinct_stages": False}, "takes true"),
        ({"sites": {"block": "cnl"}}, "the key 'sites' is missing"),
        ({"block_preference": {"better": "cnl", "worse": "cnl"}}, "two different blocks"),
        ({"cost": {"placements": 3}}, "sites by block"),
        ({"max_blocks": 3, "backbone": "resnet5"}, "did you mean 'resnet50'"),
        ({"max_blocks": 3, "strength": "soft"}, "'hard' or 'preference'"),
    ],
)
def test_wrong_rules_are_one_clear_sentence(data: dict[str, Any], words: str) -> None:
    with pytest.raises(SpaceError) as caught:
        rule_from_dict(data)
    assert words in caught.value.message


def test_a_rule_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(SpaceError, match="a kind with a value"):
        rule_from_dict("max_blocks")  # type: ignore[arg-type]


FAMILY = {"se": "c", "hac": "c", "eca": "c", "cnl": "c", "agw": "n", "raga": "n", "abd": "n", "gc": "n", "cbam": "m"}
STAGE = [0] + [1] * 3 + [2] * 4 + [3] * 6 + [4] * 3
Placed = list[tuple[int, str, dict[str, Any]]]

# What each rule means, said again in plain Python about lists of (site, block, hyperparameters) on ResNet-50.
MEANINGS: list[tuple[dict[str, Any], Callable[[Placed], bool]]] = [
    ({"sites": {"block": "cnl", "sites": "6, 8"}}, lambda p: all(s in (6, 8) for s, b, _ in p if b == "cnl")),
    ({"sites": {"stages": [2], "place": "last"}}, lambda p: all(s == 8 for s, _, _ in p)),
    (
        {"forbid": {"blocks": ["agw", "se"], "sites": "1-4"}},
        lambda p: not [s for s, b, _ in p if b in ("agw", "se") and s < 5],
    ),
    ({"forbid": {"sites": [1, 17]}}, lambda p: not [s for s, _, _ in p if s in (1, 17)]),
    (
        {"forbid": {"blocks": "agw(inner=one)"}},
        lambda p: not [1 for _, b, v in p if b == "agw" and v["inner"] == "one"],
    ),
    ({"blocks": ["cnl", "se"]}, lambda p: all(b in ("cnl", "se") for _, b, _ in p)),
    ({"stage_ends": True}, lambda p: all(s in (4, 8, 14, 17) for s, _, _ in p)),
    ({"stage_ends": {"block": "hac"}}, lambda p: all(s in (4, 8, 14, 17) for s, b, _ in p if b == "hac")),
    ({"block_preference": {"better": "cnl", "worse": "hac"}}, lambda p: "hac" not in [b for _, b, _ in p]),
    (
        {"params": {"block": "se", "param": "reduction", "low": 2, "high": 8}},
        lambda p: all(2 <= v["reduction"] <= 8 for _, b, v in p if b == "se"),
    ),
    (
        {"params": {"block": "cnl", "param": "reduction", "values": [4]}},
        lambda p: all(v.get("reduction", 4) == 4 for _, b, v in p if b == "cnl"),
    ),
    (
        {"cost": {"placements": [["raga", 3], ["raga", 4], ["abd", 5]]}},
        lambda p: not [1 for s, b, _ in p if (b, s) in {("raga", 3), ("raga", 4), ("abd", 5)}],
    ),
    ({"max_blocks": 2}, lambda p: len(p) <= 2),
    ({"max_blocks": {"count": 1, "block": "se"}}, lambda p: [b for _, b, _ in p].count("se") <= 1),
    ({"min_blocks": 2}, lambda p: len(p) >= 2),
    ({"min_blocks": {"count": 1, "block": "cnl"}}, lambda p: "cnl" in [b for _, b, _ in p]),
    ({"min_distance": 3}, lambda p: all(abs(a - b) >= 3 for a, _, _ in p for b, _, _ in p if a != b)),
    ({"distinct_stages": True}, lambda p: len({STAGE[s - 1] for s, _, _ in p}) == len(p)),
    ({"mix": {"max_types": 2}}, lambda p: len({b for _, b, _ in p}) <= 2),
    ({"mix": {"min_types": 2}}, lambda p: len(p) < 2 or len({b for _, b, _ in p}) >= 2),
    ({"mix": {"max_families": 1}}, lambda p: len({FAMILY[b] for _, b, _ in p}) <= 1),
    ({"mix": {"min_families": 3}}, lambda p: len({FAMILY[b] for _, b, _ in p}) >= min(3, len(p))),
]


@st.composite
def placed_on_resnet50(draw: st.DrawFn) -> Candidate:
    sites = draw(st.sets(st.integers(1, 17), max_size=4))
    rows = []
    for site in sites:
        block = draw(st.sampled_from(sorted(BLOCKS)))
        rows.append((site, block, draw(block_params(block))))
    return Candidate.make("resnet50", rows)


MEANT = [
    (rule_from_dict(data), rule_from_dict({**data, "strength": "preference"}), meaning) for data, meaning in MEANINGS
]


@given(placed_on_resnet50())
def test_predicates_mean_what_they_say(candidate: Candidate) -> None:
    placed = [(p.site, p.block, dict(p.params)) for p in candidate.placements]
    for rule, soft, meaning in MEANT:
        assert rule.admits(candidate) == meaning(placed), rule.sentence()
        assert soft.admits(candidate)
        assert (soft.score(candidate) == 1) == meaning(placed)
        assert 0 <= soft.score(candidate) <= 1


def test_rules_of_another_backbone_do_not_speak_of_a_candidate() -> None:
    candidate = Candidate.parse("resnet50+cnl@1,2")
    assert not rule_from_dict({"max_blocks": 1, "backbone": "resnet50"}).admits(candidate)
    assert rule_from_dict({"max_blocks": 1, "backbone": "resnet101"}).admits(candidate)


@given(placed_on_resnet50(), rules())
def test_automaton_and_predicate_agree(candidate: Candidate, rule: Rule) -> None:
    topology = get_topology("resnet50")
    automaton = rule.automaton(topology)
    fine = all(rule.admits_placement(topology.site(p.site), p, topology) for p in candidate.placements)
    if automaton is not None:
        state = automaton.start
        for site in topology.sites:
            placement = candidate.at(site.number)
            state = automaton.step(state, site, placement.block if placement else None)
            if state is None:
                break
        fine = fine and state is not None and automaton.accepts(state)
    assert fine == (not list(rule.broken(candidate, topology)))


def test_violations_name_the_offending_value() -> None:
    candidate = Candidate.parse("resnet50+se(reduction=32)@3+cnl@4[base_lr=0.01]")
    expected = {
        "placements[1].site": {"min_distance": 2},
        "placements[0].site": {"forbid": {"blocks": "se", "sites": "1-4"}},
        "placements[0].block": {"blocks": ["cnl"]},
        "placements[0].params.reduction": {"params": {"block": "se", "param": "reduction", "high": 16}},
        "placements": {"max_blocks": 1},
        "recipe.base_lr": {"recipe_range": {"key": "base_lr", "high": 0.001}},
    }
    for path, data in expected.items():
        rule = rule_from_dict(data)
        violation = next(rule.violations(candidate))
        assert violation.path == path
        assert violation.rule == rule
        assert violation.to_dict()["rule"] == rule.to_dict()
    [apart] = rule_from_dict({"min_distance": 2}).violations(candidate)
    assert apart.message == "sites 3 and 4 are 1 apart, and the rule is: blocks at least 2 sites apart"


def test_recipe_range_leaves_what_a_candidate_does_not_set() -> None:
    rule = rule_from_dict({"recipe_range": {"key": "loss", "values": ["circle"]}})
    assert rule.admits(Candidate.parse("resnet50"))
    assert rule.admits(Candidate.parse("resnet50[loss=circle]"))
    assert not rule.admits(Candidate.parse("resnet50[loss=ce]"))


def test_preference_scores_order_candidates() -> None:
    rule = rule_from_dict({"stage_ends": True, "strength": "preference"})
    scores = [
        rule.score(Candidate.parse(text))
        for text in ("resnet50", "resnet50+cnl@8,14", "resnet50+cnl@8,13", "resnet50+cnl@7")
    ]
    assert scores == [1, 1, 0.5, 0]


def test_a_rule_about_the_form_sees_what_is_not_written() -> None:
    """`start` is written only where it is not `published`; C-NL with gate2 is the identity whatever is asked for."""
    rule = rule_from_dict({"params": {"block": "hac", "param": "start", "values": ["identity"]}})
    said = [rule.admits(Candidate.parse(f"resnet50+hac{form}@4")) for form in ("", "(start=identity)")]
    assert said == [False, True]
    assert rule.sentence() == "HAC: put in as the identity"
    own = rule_from_dict({"params": {"block": "cnl", "param": "start", "values": ["identity"]}})
    assert own.admits(Candidate.parse("resnet50+cnl(fuse=gate2)@4"))
    assert not own.admits(Candidate.parse("resnet50+cnl@4"))
