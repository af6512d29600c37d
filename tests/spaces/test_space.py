"""Design spaces against plain listings: counts, numbers, draws, explanations, neighbours, children."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from space_builders import candidates, make_space, naive_candidates, rules, small_definitions

from nas.errors import SpaceError
from nas.files.yaml_source import parse_yaml
from nas.spaces import Candidate, DesignSpace, EmptySpaceError, own_code
from nas.spaces.rules import Rule


def differences(a: Candidate, b: Candidate) -> float:
    """Sites at which two candidates differ; other hyperparameters of the same block count half."""
    total = 0.0
    for site in set(a.sites) | set(b.sites):
        one, other = a.at(site), b.at(site)
        if one != other:
            total += 0.5 if one and other and one.block == other.block else 1
    return total


def check_conflict(data: dict[str, Any], conflict: tuple[Rule, ...]) -> None:
    """The rules leave nothing together, and something without any one of them."""
    naive = naive_candidates(DesignSpace.from_dict({**data, "rules": []}))
    assert not [c for c in naive if all(rule.admits(c) for rule in conflict)]
    for left_out in conflict:
        rest = [rule for rule in conflict if rule is not left_out]
        assert [c for c in naive if all(rule.admits(c) for rule in rest)], "the conflict is not minimal"


@settings(max_examples=60)
@given(small_definitions())
def test_count_numbers_and_membership_are_the_plain_listing(data: dict[str, Any]) -> None:
    try:
        space = DesignSpace.from_dict(data)
    except EmptySpaceError as error:
        check_conflict(data, error.rules)
        return
    naive = naive_candidates(space)
    listed = list(space.enumerate())
    assert len(listed) == len(set(listed)) == space.size()
    assert set(listed) == set(naive)
    assert space.size_by_blocks() == dict(sorted(Counter(len(c.placements) for c in naive).items()))
    for number, candidate in list(enumerate(listed))[:: max(1, len(listed) // 50)]:
        assert space.candidate(number) == candidate
        assert space.index(candidate) == number


@settings(max_examples=60)
@given(small_definitions(), st.integers(0, 10**6))
def test_explain_agrees_with_membership(data: dict[str, Any], seed: int) -> None:
    unruled = DesignSpace.from_dict({**data, "rules": []})
    try:
        space = DesignSpace.from_dict(data)
    except EmptySpaceError:
        return
    for candidate in unruled.sample(20, seed, distinct=False):
        reasons = space.explain(candidate)
        assert space.contains(candidate) == (not reasons)
        assert all(reason.rule in space.rules for reason in reasons)


@settings(max_examples=40)
@given(candidates(), small_definitions())
def test_any_candidate_is_inside_or_explained_and_can_be_repaired(candidate: Candidate, data: dict[str, Any]) -> None:
    try:
        space = DesignSpace.from_dict(data)
    except EmptySpaceError:
        return
    assert space.contains(candidate) == (not space.explain(candidate))
    assert space.contains(space.repair(candidate))


@settings(max_examples=30)
@given(small_definitions(), st.integers(0, 10**6))
def test_repair_is_the_nearest(data: dict[str, Any], seed: int) -> None:
    data = {**data, "backbones": ["resnet18"]}
    try:
        space = DesignSpace.from_dict(data)
    except EmptySpaceError:
        return
    naive = naive_candidates(space)
    for wanted in DesignSpace.from_dict({**data, "rules": []}).sample(3, seed, distinct=False):
        repaired = space.repair(wanted)
        assert differences(wanted, repaired) == min(differences(wanted, other) for other in naive)


RULED = {
    "blocks": {"hac": {}, "cnl": {"fuse": ["gate", "add"]}},
    "rules": [
        {"max_blocks": 3},
        {"min_distance": 2},
        {"forbid": {"blocks": "hac", "sites": 1}},
        {"mix": {"max_types": 1}},
    ],
}


def chi_square(drawn: list[Candidate], everything: list[Candidate]) -> float:
    counts = Counter(drawn)
    assert set(counts) <= set(everything)
    return float(stats.chisquare([counts[c] for c in everything]).pvalue)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "recipe", [{}, {"loss": ["ce", "circle"], "gamma": {"values": [64, 128], "when": {"loss": "circle"}}}]
)
def test_draws_are_uniform(seed: int, recipe: dict[str, Any]) -> None:
    space = make_space(**RULED, recipe=recipe)
    drawn = space.sample(20 * space.size(), seed, distinct=False)
    assert chi_square(drawn, list(space.enumerate())) > 1e-3


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_draws_are_uniform_within_a_number_of_blocks(blocks: int) -> None:
    space = make_space(**RULED)
    everything = list(space.enumerate(blocks))
    assert chi_square(space.sample(30 * len(everything), 5, blocks=blocks, distinct=False), everything) > 1e-3


def test_distinct_draws_are_uniform_subsets() -> None:
    space = make_space(blocks=["hac"], sites="1-3")
    rng = random.Random(4)
    pairs = Counter(frozenset(map(str, space.sample(2, rng))) for _ in range(5600))
    assert len(pairs) == math.comb(8, 2)
    assert stats.chisquare(list(pairs.values())).pvalue > 1e-3


def test_all_distinct_draws_are_the_whole_space() -> None:
    space = make_space(**RULED)
    assert set(space.sample(space.size(), 0)) == set(space.enumerate())
    with pytest.raises(SpaceError, match="fewer than"):
        space.sample(space.size() + 1, 0)
    with pytest.raises(SpaceError, match="no candidate with 5 blocks; it has: 0, 1, 2, 3"):
        space.sample(1, 0, blocks=5)


@pytest.mark.parametrize("make", [lambda: 7, lambda: random.Random(7), lambda: np.random.default_rng(7)])
def test_same_seed_same_candidates(make: Any) -> None:
    space = make_space(**RULED)
    assert space.sample(10, make()) == space.sample(10, make())
    assert space.stratified(10, make()) == space.stratified(10, make())


def test_randomness_must_be_one() -> None:
    with pytest.raises(SpaceError, match="randomness"):
        make_space().sample(1, "seed")  # type: ignore[arg-type]


def test_numpy_integers_are_seeds_too() -> None:
    assert make_space().sample(3, np.int64(3)) == make_space().sample(3, 3)  # type: ignore[arg-type]


def test_stratified_draws_fill_small_strata_first() -> None:
    space = make_space(**RULED)
    sizes = space.size_by_blocks()
    drawn = space.stratified(20, 3)
    counts = Counter(len(c.placements) for c in drawn)
    assert len(set(drawn)) == 20
    assert counts[0] == sizes[0] == 1
    assert max(counts[n] for n in (1, 2, 3)) - min(counts[n] for n in (1, 2, 3)) <= 1
    assert Counter(len(c.placements) for c in space.stratified(9, 3, [1, 2])) == {1: 4, 2: 5}
    assert set(space.stratified(space.size(), 1)) == set(space.enumerate())
    with pytest.raises(SpaceError, match="fewer than"):
        space.stratified(space.size() + 1, 1)


def test_a_huge_space_is_counted_exactly_and_drawn_from_at_once() -> None:
    space = make_space(
        backbones=["resnet152"], sites="all", blocks={"cnl": {"width": ["full", "half"]}, "se": {}, "hac": {}}
    )
    assert space.size() == 5**51
    assert space.size_by_blocks()[7] == math.comb(51, 7) * 4**7
    drawn = space.sample(20, 1)
    assert len(set(drawn)) == 20
    assert all(space.contains(c) for c in drawn)
    apart = space.restrict([{"min_distance": 2}])
    # Ways to choose sites that are not neighbours, with four kinds of block at each.
    assert apart.size() == sum(math.comb(51 - k + 1, k) * 4**k for k in range(27))
    assert bool(space)


def test_all_rules_together_in_a_space_of_more_than_10_to_the_30() -> None:
    space = make_space(
        backbones=["resnet152"],
        sites="all",
        blocks={
            "cnl": {"width": "all", "norm": "all", "fuse": "all"},
            "se": {"reduction": "all"},
            "agw": {},
            "cbam": {},
        },
        rules=[
            {"min_distance": 2},
            {"mix": {"max_types": 3}},
            {"mix": {"min_families": 2}},
            {"max_blocks": {"count": 3, "block": "agw"}},
            {"min_blocks": 2},
        ],
    )
    assert space.size() > 10**30
    for candidate in space.sample(50, 9):
        assert not space.explain(candidate)


def test_several_backbones_stand_side_by_side() -> None:
    space = make_space(backbones={"resnet18": {"width": [0.5, 1]}, "resnet50": {}}, sites={"stages": 1})
    # ResNet-18 has 2 sites in its first stage, ResNet-50 has 3.
    assert space.size() == 2 * 3**2 + 3**3
    assert {str(c) for c in space.baselines()} == {"resnet18", "resnet18(width=0.5)", "resnet50"}
    assert set(space.enumerate()) == set(naive_candidates(space))


def test_last_stride_keeps_sites_apart() -> None:
    space = make_space(backbones={"resnet18": {"last_stride": [1, 2]}}, sites={"stride": 32}, blocks=["se"])
    assert sorted(str(c) for c in space.enumerate(1)) == [
        "resnet18(last_stride=2)+se@8",
        "resnet18(last_stride=2)+se@9",
    ]


def test_rules_of_one_backbone_leave_the_others() -> None:
    space = make_space(backbones=["resnet18", "resnet34"], rules=[{"max_blocks": 0, "backbone": "resnet34"}])
    assert space.size() == 3**5 + 1


# Recipes --------------------------------------------------------------------------------------------------------------


def test_recipe_values_multiply_and_rules_narrow_them() -> None:
    space = make_space(recipe={"loss": ["ce", "circle"], "base_lr": {"log": [1e-4, 1e-2], "points": 3}})
    assert space.size() == 3**5 * 6
    narrowed = space.restrict(
        [{"recipe_range": {"key": "base_lr", "low": 5e-4}}, {"recipe_range": {"key": "loss", "values": ["ce"]}}]
    )
    assert narrowed.size() == 3**5 * 2
    assert all(dict(c.recipe)["loss"] == "ce" and dict(c.recipe)["base_lr"] >= 5e-4 for c in narrowed.enumerate())


def test_continuous_values_are_drawn_inside_rules_and_not_counted() -> None:
    space = make_space(
        recipe={"base_lr": {"log": [1e-4, 1e-2]}}, rules=[{"recipe_range": {"key": "base_lr", "high": 1e-3}}]
    )
    assert space.size() == 3**5
    assert space.continuous == ("base_lr",)
    drawn = space.sample(500, 1)
    rates = [float(dict(c.recipe)["base_lr"]) for c in drawn]
    assert len(set(drawn)) == 500
    assert stats.kstest(rates, stats.loguniform(1e-4, 1e-3).cdf).pvalue > 1e-3
    assert all(space.contains(c) and not space.explain(c) for c in drawn)
    assert len(space.stratified(30, 1)) == 30
    with pytest.raises(SpaceError, match="continuous"):
        space.enumerate()


def test_a_space_with_a_continuous_branch_does_not_hang() -> None:
    recipe = {"loss": ["ce", "circle"], "gamma": {"range": [1, 2], "when": {"loss": "circle"}}}
    space = make_space(sites="1", blocks=["se"], recipe=recipe)
    assert len(space.sample(20, 1)) == 20
    fixed = space.restrict([{"recipe_range": {"key": "loss", "values": ["ce"]}}])
    with pytest.raises(SpaceError, match="hardly has 3 distinct"):
        fixed.sample(3, 1)


def test_missing_recipe_values_are_explained() -> None:
    space = make_space(recipe={"loss": ["ce", "circle"]})
    [reason] = space.explain("resnet18+cnl@2")
    assert (reason.path, reason.rule) == ("recipe.loss", None)
    assert "it varies in this space (ce, circle)" in reason.message


# Looking around -------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(small_definitions(), st.integers(0, 10**6))
def test_neighbours_are_inside_distinct_and_mutual(data: dict[str, Any], seed: int) -> None:
    try:
        space = DesignSpace.from_dict(data)
    except EmptySpaceError:
        return
    [start] = space.sample(1, seed)
    around = space.neighbours(start)
    assert len(set(around)) == len(around)
    assert start not in around
    for other in around:
        assert space.contains(other)
        assert start in space.neighbours(other)
    same_backbone = [c for c in naive_candidates(space) if c.backbone_params == start.backbone_params]
    one_site = {c for c in same_backbone if sum(start.at(site) != c.at(site) for site in range(1, 10)) == 1}
    assert one_site <= set(around)


def test_kinds_of_neighbours() -> None:
    space = make_space(blocks={"hac": {}, "cnl": {"fuse": ["gate", "add"]}}, recipe={"loss": ["ce", "circle"]})
    around = {str(c) for c in space.neighbours("resnet18+cnl@2[loss=ce]")}
    assert "resnet18[loss=ce]" in around
    assert "resnet18+cnl@2,4[loss=ce]" in around
    assert "resnet18+hac@2[loss=ce]" in around
    assert "resnet18+cnl(fuse=add)@2[loss=ce]" in around
    assert "resnet18+cnl@5[loss=ce]" in around
    assert "resnet18+cnl@2[loss=circle]" in around
    assert len(around) == 1 + 4 * 3 + 2 + 4 + 1


def test_singles_have_default_settings_first_and_ignore_counts() -> None:
    rules_data = [{"min_blocks": 2}, {"forbid": {"blocks": "hac", "sites": 1}}]
    space = make_space(sites="1-2", blocks={"hac": {}, "cnl": {"fuse": ["gate", "add"]}}, rules=rules_data)
    assert [str(c) for c in space.singles()] == [
        "resnet18+cnl@1",
        "resnet18+hac@2",
        "resnet18+cnl@2",
        "resnet18+cnl(fuse=add)@1",
        "resnet18+cnl(fuse=add)@2",
    ]


def test_explanations_name_path_and_rule() -> None:
    space = make_space(**RULED)
    paths = {(v.path, v.rule.kind if v.rule else None) for v in space.explain("resnet50+agw@3+cnl(fuse=gate2)@4+hac@9")}
    assert paths == {
        ("backbone", None),
        ("placements[0].block", None),
        ("placements[1].params.fuse", None),
        ("placements[2].site", None),
        ("placements[1].site", "min_distance"),
        ("placements", "mix"),
    }
    [width] = make_space(backbones={"resnet18": {"width": [0.5, 1]}}).explain("resnet18(width=2)")
    assert width.path == "backbone_params.width"
    assert width.message == "width is 2; legal here: 0.5, 1"
    theirs = make_space(backbones={"resnet18": {"stem": "no_relu"}})
    [stem] = theirs.explain("resnet18")
    assert stem.message == "stem is standard; legal here: no_relu"
    assert not list(theirs.explain("resnet18(stem=no_relu)"))


def test_a_missing_combination_of_legal_values_is_explained() -> None:
    space = make_space(blocks={"cnl": {"fuse": ["gate", "add"], "zero_init": "auto"}})
    [reason] = space.explain("resnet18+cnl(fuse=add,zero_init=false)@2")
    assert "this combination is not in the space" in reason.message


# Files, ids, children -------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(small_definitions())
def test_yaml_reads_back(data: dict[str, Any]) -> None:
    try:
        space = DesignSpace.from_dict(data)
    except EmptySpaceError:
        return
    again = DesignSpace.from_dict(parse_yaml(space.to_yaml()).data)
    assert again == space
    assert again.id == space.id
    assert again.size() == space.size()


def test_the_id_is_the_content_not_the_writing() -> None:
    space = make_space(**RULED)
    assert space.id == make_space(**{**RULED, "rules": list(reversed(RULED["rules"]))}).id
    assert space.id == make_space(**RULED, name="other", description="text").id
    assert space.id == make_space(**RULED, sites=[5, 4, 3, 2, 1]).id
    assert space.id == make_space(**{**RULED, "blocks": dict(reversed(RULED["blocks"].items()))}).id
    assert (
        space.id == make_space(**{**RULED, "blocks": {"hac": {"reduction": 16}, "cnl": {"fuse": ["gate", "add"]}}}).id
    )
    assert space.id != make_space(**RULED, sites="1-4").id
    assert space.id != make_space(**RULED, recipe={"loss": ["ce"]}).id
    assert space.id != make_space(**{**RULED, "rules": RULED["rules"][1:]}).id


def test_ids_never_change() -> None:
    # Databases hold these ids.
    assert make_space().id == "14d1ed3581271d81"


def test_children_know_where_they_come_from() -> None:
    space = make_space()
    child = space.restrict([{"max_blocks": 2}, {"max_blocks": 2}, {"min_distance": 2}], name="apart")
    assert (child.name, child.parent_id) == ("apart", space.id)
    assert child.parent is not None
    assert (child.parent.name, child.parent.size, len(child.parent.rules)) == ("small", space.size(), 2)
    assert child.size() < space.size()
    assert all(space.contains(c) for c in child.enumerate())
    grandchild = child.restrict([{"max_blocks": 2}, {"max_blocks": 1}])
    assert grandchild.parent is not None
    assert [rule.sentence() for rule in grandchild.parent.rules] == ["no more than 1 block"]
    assert grandchild.parent_id == child.id
    assert DesignSpace.from_dict(grandchild.to_dict()) == grandchild
    assert space.size() == 3**5


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(rules(), max_size=3))
def test_a_child_is_what_its_rules_admit(added: list[Rule]) -> None:
    space = make_space()
    admitted = {c for c in space.enumerate() if all(rule.admits(c) for rule in added)}
    if not admitted:
        with pytest.raises(EmptySpaceError):
            space.restrict(added)
    else:
        assert set(space.restrict(added).enumerate()) == admitted


def test_an_empty_space_names_the_rules_in_conflict() -> None:
    with pytest.raises(EmptySpaceError) as caught:
        make_space(rules=[{"max_blocks": 4}, {"sites": "4-5"}, {"min_distance": 2}, {"min_blocks": 2}])
    sentence = (
        "blocks only at positions 4, 5 (rules[1]); blocks at least 2 sites apart (rules[2]); "
        "at least 2 blocks (rules[3])"
    )
    assert sentence in caught.value.message
    assert len(caught.value.rules) == 3
    with pytest.raises(EmptySpaceError, match="this rule leaves nothing: loss circle"):
        make_space(recipe={"loss": ["ce"]}, rules=[{"recipe_range": {"key": "loss", "values": ["circle"]}}])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"blocks": {"cnl": {"widht": ["full"]}}},
            "blocks.cnl.widht: unknown hyperparameter of cnl 'widht'; did you mean 'width'",
        ),
        ({"blocks": {"cnl": {"width": ["hlf"]}}}, "width of block 'cnl' cannot be hlf"),
        ({"blocks": []}, "at least one block"),
        ({"blocks": [3]}, "a name is needed here, not 3"),
        ({"backbones": []}, "at least one backbone"),
        ({"backbones": {"resnet18": {"depth": 3}}}, "unknown backbone parameter 'depth'"),
        ({"backbones": {"resnet18": {"width": -1}}}, "width of resnet18 must be"),
        ({"sites": "1-17"}, "resnet18 has no site 10"),
        ({"rules": [{"sites": 12}]}, "resnet18 has no site 12"),
        ({"rules": [{"recipe_range": {"key": "loss", "low": 1}}], "recipe": {"loss": ["ce"]}}, "a range needs numbers"),
        ({"recipe": {"lr": {"log": [0, 1]}}}, "recipe.lr: a log scale needs bounds above 0"),
        ({"recipe": [1]}, "the recipe needs names"),
        ({"rule": []}, "unknown key 'rule'; did you mean 'rules'"),
        ({"rules": {"max_blocks": 3}}, "rules: a list is needed"),
        ({"name": ""}, "name"),
    ],
)
def test_wrong_content_is_one_clear_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpaceError) as caught:
        make_space(**changes)
    assert words in caught.value.message


def test_mistakes_in_files_have_line_and_column(tmp_path: Any) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "name: x\nbackbones: [resnet50]\nblocks:\n  cnl: {width: [full, hlf]}\nrules:\n  - forbid: {blocks: [cnll]}\n"
    )
    with pytest.raises(SpaceError) as caught:
        DesignSpace.from_yaml(path)
    assert caught.value.message.startswith(f"{path}:4:9: blocks.cnl.width: ")
    path.write_text("name: x\nbackbones: [resnet50]\nblocks: [cnl]\nrules:\n  - forbid: {blocks: [cnll], sites: 3}\n")
    with pytest.raises(SpaceError) as caught:
        DesignSpace.from_yaml(path)
    assert caught.value.message.startswith(f"{path}:5:23: rules[0].forbid.blocks[0]: unknown block 'cnll'")


def test_options_are_what_single_placements_allow() -> None:
    space = make_space(**RULED)
    assert [p.block for p in space.options()[1]] == ["cnl", "cnl"]
    assert [p.block for p in space.options("resnet18")[2]] == ["hac", "cnl", "cnl"]


def test_own_blocks_in_a_space(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "robot_blocks.py").write_text(
        "from nas.spaces import BlockSpec, ParamSpec\n"
        "class Gate:\n"
        "    spec = BlockSpec('gate', 'Gate', 'mixed', (ParamSpec('size', (3, 5), 3, 'kernel'),), 'own', 'own')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_code, "_trusted", {"robot_blocks:Gate"})
    space = make_space(
        sites="1", blocks={"robot_blocks:Gate": {"size": "all"}, "se": {}}, rules=[{"mix": {"max_families": 1}}]
    )
    assert [str(c) for c in space.enumerate()] == [
        "resnet18",
        "resnet18+se@1",
        "resnet18+robot_blocks:Gate@1",
        "resnet18+robot_blocks:Gate(size=5)@1",
    ]


def test_a_notebook_shows_size_rules_and_parent() -> None:
    space = DesignSpace.from_dict({"name": "<b>", "backbones": ["resnet50"], "blocks": ["cnl"]})
    child = space.restrict([{"max_blocks": 2}], name="child")
    assert "<b>" not in space._repr_html_()
    assert "&lt;b&gt;" in child._repr_html_()
    for words in ("154 candidates", f"({space.size():,})", "<td>2</td><td>136</td>", child.rules[0].sentence()):
        assert words in child._repr_html_()
