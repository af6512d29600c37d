"""Rules carried to other backbones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_builders import make_space

from nas.errors import SpaceError
from nas.spaces import BACKBONES, DesignSpace, SiteSet, apply_rules, get_topology, rule_from_dict
from nas.spaces.sites import last_strides
from nas.spaces.transfer import SiteMap, carry

backbones = st.sampled_from(BACKBONES)


def site_map(source: str, target: str) -> SiteMap:
    return SiteMap(get_topology(source), get_topology(target))


@pytest.mark.parametrize(
    ("target", "sites"),
    [
        ("resnet34", [6, 8, 14]),
        ("resnet101", [6, 8, 31]),
        ("resnet152", [7, 12, 48]),
        ("resnet18", [4, 5, 7]),
        ("shufflenet_v2_x1_0", [3, 5, 13]),
        ("mobilenet_v3_small", [3, 4, 9]),
        ("mobilenet_v3_large", [6, 7, 13]),
    ],
)
def test_the_papers_triple_on_other_backbones(target: str, sites: list[int]) -> None:
    assert sorted(site_map("resnet50", target).numbers([6, 8, 14])) == sites


def test_runs_stay_runs_and_whole_stages_stay_whole() -> None:
    to_101 = site_map("resnet50", "resnet101")
    assert to_101.numbers(range(9, 15)) == set(range(9, 32))
    assert to_101.numbers([13, 14]) == set(range(27, 32))
    assert to_101.numbers([9, 14]) == {9, 31}


@given(backbones, st.data())
def test_to_itself_nothing_changes(backbone: str, data: st.DataObject) -> None:
    numbers = data.draw(st.sets(st.integers(1, len(get_topology(backbone).sites)), min_size=1))
    assert site_map(backbone, backbone).numbers(numbers) == numbers
    assert site_map(backbone, backbone).distance(4) == 4


@given(backbones, backbones, st.data())
def test_carried_sites_keep_resolution_stem_and_stage_ends(source: str, target: str, data: st.DataObject) -> None:
    mapped = site_map(source, target)
    a, b = (get_topology(name, max(last_strides(name))) for name in (source, target))
    site = a.site(data.draw(st.integers(1, len(a.sites))))
    number = mapped.number(site.number)
    if site.stage == 0:
        assert number == 1
    elif number is None:
        assert site.stride not in {other.stride for other in b.sites}
    else:
        assert b.site(number).stride == site.stride
        if site.is_stage_end and b.site(number).stage > 0:
            assert b.site(number).is_stage_end


@given(backbones, backbones, st.data())
def test_carried_sites_keep_their_order(source: str, target: str, data: st.DataObject) -> None:
    mapped = site_map(source, target)
    numbers = sorted(data.draw(st.sets(st.integers(2, len(get_topology(source).sites)), min_size=2, max_size=2)))
    first, second = (mapped.number(number) for number in numbers)
    assert first is None or second is None or first <= second


@pytest.mark.parametrize(
    ("written", "target", "expected"),
    [
        ({"place": "last"}, "shufflenet_v2_x1_0", {"place": "last"}),
        ({"stages": [2, 3], "place": "last"}, "resnet101", {"stages": [2, 3], "place": "last"}),
        ({"stages": [2, 3], "place": "last"}, "shufflenet_v2_x1_0", "5, 13"),
        ([2, {"place": "last"}], "resnet101", [2, {"place": "last"}]),
        ("all", "resnet18", "all"),
        (2, "mobilenet_v3_small", 2),
    ],
)
def test_sets_of_sites(written: Any, target: str, expected: Any) -> None:
    assert site_map("resnet50", target).sites(SiteSet.of(written)) == SiteSet.of(expected)


def test_sites_without_a_counterpart_are_lost() -> None:
    # MobileNet v3 large has a stage at half the input's resolution, a ResNet has none.
    assert site_map("mobilenet_v3_large", "resnet50").sites(SiteSet.of(2)) is None


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"max_blocks": 3}, "as it is: no more than 3 blocks"),
        ({"stage_ends": True}, "as it is: blocks only at the last site of a stage"),
        (
            {"min_distance": 4},
            "carried over: blocks at least 4 sites apart, on ResNet-50 -> on ResNet-101 blocks at least 8 sites apart",
        ),
        (
            {"sites": {"block": "cnl", "sites": [6, 8, 14]}},
            "carried over: C-NL: positions 6, 8, 14 (of 17), on ResNet-50 "
            "-> on ResNet-101 C-NL: positions 6, 8, 31 (of 34)",
        ),
    ],
)
def test_sentences(data: dict[str, Any], sentence: str) -> None:
    assert carry(rule_from_dict(data), ["resnet101"], "resnet50").sentence == sentence


def test_costs_are_never_carried() -> None:
    cost = rule_from_dict({"cost": {"reference": "resnet101", "placements": {"raga": "1-4"}}})
    carried = carry(cost, ["resnet34"], "resnet50")
    assert carried.rules == ()
    assert "costs must be measured on ResNet-34" in carried.sentence
    assert carry(cost, ["resnet50"], "resnet50").rules == (cost,)


def test_applying_rules_makes_a_child_and_says_each_step() -> None:
    rules = [
        rule_from_dict(data)
        for data in (
            {"sites": {"block": "cnl", "sites": [6, 8, 14]}, "backbone": "resnet50"},
            {"min_distance": 2, "backbone": "resnet50"},
            {"max_blocks": 3},
            {"forbid": {"blocks": ["raga", "abd"]}},
            {"recipe_range": {"key": "base_lr", "high": 1e-3}},
        )
    ]
    space = make_space(backbones=["resnet34", "shufflenet_v2_x1_0"], sites="all")
    result = apply_rules(rules, space, name="carried")
    assert result.space.name == "carried"
    assert result.space.parent_id == space.id
    assert [sentence.split(":")[0] for sentence in result.sentences] == [
        "carried over",
        "carried over",
        "as it is",
        "not needed",
        "not needed",
    ]
    assert "there is no ABD, RAGA in this space" in result.sentences[3]
    assert "base_lr does not vary" in result.sentences[4]
    admitted = {(c.backbone, c.sites[0]) for c in result.space.enumerate(1) if c.blocks == ("cnl",)}
    assert admitted == {("resnet34", n) for n in (6, 8, 14)} | {("shufflenet_v2_x1_0", n) for n in (3, 5, 13)}


def test_rules_of_an_unnamed_backbone_need_its_name() -> None:
    rules = [rule_from_dict({"sites": [6, 8]})]
    space = make_space(sites="all")
    with pytest.raises(SpaceError, match="site numbers of an unnamed backbone"):
        apply_rules(rules, space)
    assert apply_rules(rules, space, "resnet50").space.size() < space.size()


@given(backbones)
def test_the_papers_rules_apply_everywhere(target: str) -> None:
    rules = [rule_from_dict(data) for data in ({"sites": "4, 6, 8, 14"}, {"min_distance": 2}, {"max_blocks": 3})]
    space = DesignSpace.from_dict({"name": "t", "backbones": [target], "blocks": ["cnl"]})
    child = apply_rules(rules, space, "resnet50").space
    assert child.size_by_blocks()[1] >= 3
