"""Hyperparameters computed from the site's channels: in counts, draws, lists, neighbours, repairs and files."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution

from nas.errors import SpaceError
from nas.search.proposals.base import Request
from nas.search.proposals.encoding import Encoding
from nas.search.proposals.registry import propose
from nas.search.starts import identity_forms
from nas.shrinking.design import block_params
from nas.shrinking.sample import draw_samples
from nas.spaces import Candidate, DesignSpace, Placement, get_topology
from nas.spaces.derived import Derived

RESNET = get_topology("resnet50")
LEGAL = {"se": (1, 2, 4, 8, 16, 32), "cnl": (4, 8, 16, 32)}
FORMULAS: dict[str, Any] = {
    "channels / 64": lambda c: c / 64,
    "min(channels / 64, 16)": lambda c: min(c / 64, 16),
    "max(4, min(32, channels/128 * 2 - 0))": lambda c: max(4, min(32, c / 64)),
    "8": lambda c: 8,
    "(channels + channels) / (2 * 64)": lambda c: c / 64,
    "max(4, -(8 - channels / 64) + 8)": lambda c: max(4, c / 64),
}


def space(text: str = "channels / 64", **changes: Any) -> DesignSpace:
    """SE with a derived reduction, beside a C-NL with two forms, at sites of three widths."""
    blocks = {"se": {"reduction": {"derived": text}}, "cnl": {"fuse": ["gate", "add"]}}
    return DesignSpace(**{"name": "d", "backbones": ["resnet50"], "sites": [3, 6, 8, 13], "blocks": blocks} | changes)


def naive(text: str, sites: tuple[int, ...]) -> set[Candidate]:
    """Every choice at every site, the derived value computed in plain words."""
    found = set()
    for row in itertools.product((None, "se", "gate", "add"), repeat=len(sites)):
        placed = []
        for site, choice in zip(sites, row, strict=True):
            if choice == "se":
                value = FORMULAS[text](RESNET.site(site).channels)
                placed.append(Placement.make(site, "se", {"reduction": int(value)}))
            elif choice is not None:
                placed.append(Placement.make(site, "cnl", {"fuse": choice}))
        found.add(Candidate.make("resnet50", placed))
    return found


@settings(max_examples=20)
@given(st.sampled_from(sorted(FORMULAS)), st.sets(st.integers(2, 17), min_size=1, max_size=3))
def test_the_space_is_the_naive_list(text: str, chosen: set[int]) -> None:
    sites = tuple(sorted(chosen))
    found, wanted = space(text, sites=list(sites)), naive(text, sites)
    listed = list(found.enumerate())
    assert set(listed) == wanted
    assert found.size() == len(listed) == len(wanted)
    assert found.size_by_blocks() == dict(Counter(len(c.placements) for c in wanted))
    assert all(found.index(c) == number and Candidate.parse(str(c)) == c for number, c in enumerate(listed))
    assert set(found.sample(50, rng=0, distinct=False)) <= wanted
    assert DesignSpace.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_draws_are_uniform() -> None:
    found = space()
    drawn = Counter(found.sample(6000, rng=random.Random(1), distinct=False, blocks=2))
    size = found.size_by_blocks()[2]
    assert (len(drawn), size) == (54, 54)  # 6 pairs of sites, 3 x 3 forms
    assert sum((n - 6000 / 54) ** 2 / (6000 / 54) for n in drawn.values()) < 91  # 99.9 % point at 53 degrees: 90.6


def test_neighbours_are_one_change_away_and_the_value_follows_the_site() -> None:
    found = space()
    start = Candidate.parse("resnet50+se(reduction=4)@3")
    near = {str(c) for c in found.neighbours(start)}
    assert {"resnet50+se(reduction=8)@6", "resnet50+se@13", "resnet50+cnl@3", "resnet50"} <= near
    assert sum(c.blocks == ("se",) for c in found.neighbours(start)) == 3
    assert all(found.contains(c) for c in found.neighbours(start))
    other = space(backbones=["resnet50", "resnet101"])
    assert Candidate.parse("resnet101+se(reduction=8)@6") in other.neighbours("resnet50+se(reduction=8)@6")
    assert Candidate.parse("resnet34+se(reduction=2)@6") in space(
        backbones=["resnet50", "resnet34"], sites=[6, 8]
    ).neighbours("resnet50+se(reduction=8)@6")


def test_what_is_outside_is_explained_and_repaired() -> None:
    found = space()
    (violation,) = found.explain("resnet50+se@8")
    assert violation.message == "se@8: reduction is 16; legal here: 8 (channels / 64)"
    assert str(found.repair("resnet50+se@8")) == "resnet50+se(reduction=8)@8"
    assert found.explain("resnet50+se@1")[0].path == "placements[0].site"  # 1 has no legal value, and is not in it
    backbone, *_ = found.explain("shufflenet_v2_x1_0+se@6")  # nor has 6 there, with 232 channels
    assert backbone.path == "backbone"
    assert not found.contains("shufflenet_v2_x1_0+se@6")


def test_optuna_sees_one_choice_a_site_and_proposals_keep_to_it() -> None:
    found = space()
    encoding = Encoding(found)
    at = encoding.distributions()
    assert at["site06"] == CategoricalDistribution(["none", "cnl", "cnl(fuse=add)", "se(reduction=8)"])
    for candidate in found.enumerate():
        params = encoding.encode(candidate)
        assert params is not None
        assert encoding.decode(params) == candidate
    for sampler in ("tpe", "placement", "random"):
        assert all(found.contains(p.candidate) for p in propose(sampler, Request(found, (), 8, seed=1)))


def test_it_may_depend_on_other_hyperparameters_and_exists_only_where_active() -> None:
    blocks = {"cnl": {"width": ["full", "reduced"], "reduction": {"derived": "channels / 32"}, "fuse": ["gate", "add"]}}
    found = space(blocks=blocks, sites=[3, 6])
    assert found.size_by_blocks()[1] == 8
    assert "resnet50+cnl(width=reduced, reduction=8)@3" in found
    assert "resnet50+cnl@3" in found
    assert "resnet50+cnl(width=reduced, reduction=8)@6" not in found


def test_rules_on_its_values_are_rules_on_sites() -> None:
    found = space(rules=[{"params": {"block": "se", "param": "reduction", "low": 8, "high": 16}}])
    assert {c.sites[0] for c in found.enumerate(1) if c.blocks == ("se",)} == {6, 8, 13}


def test_files_children_starts_and_ids() -> None:
    found = space("channels/64")
    assert found.to_dict()["blocks"]["se"] == {"reduction": {"derived": "channels / 64"}}
    jsonschema.validate(found.to_dict(), DesignSpace.json_schema())
    assert found.id == space("channels / 64.0").id  # the same candidates
    assert found.id not in (space("channels / 128 * 1").id, space("8").id)
    assert found.restrict([{"max_blocks": 1}]).size() == 1 + 4 * 3
    assert all(
        dict(p.params)["start"] == "identity"
        for c in identity_forms(found).enumerate(1)
        for p in c.placements
        if p.block == "se"
    )


def test_shrinking_asks_nothing_of_what_follows_from_the_site() -> None:
    rows = [
        {
            "notation": str(c),
            "map": 0.5,
            "status": "finished",
            "seed": 0,
            "stage_kind": "sweep",
            "split": "val",
            "fidelity": "full",
            "training_id": i,
        }
        for i, c in enumerate(space().enumerate())
    ]
    asked = {(block, name) for block, name, *_ in block_params(draw_samples(pd.DataFrame(rows))["resnet50"])}
    assert ("se", "reduction") not in asked
    assert ("cnl", "fuse") in asked


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (
            {"derived": "channels / 48"},
            r"blocks.se: resnet50: reduction = channels / 48 at site 3 \(layer1\[1\], 256 "
            r"channels\): reduction of block 'se' cannot be 5.333333333333333; legal: 1, 2, 4, 8, 16, 32",
        ),
        ({"derived": "chanels / 64"}, "derived from 'chanels'; did you mean 'channels'"),
        ({"derived": "start * 2"}, "'start'"),
        ({"derived": "channels / (8 - 8)"}, "divides by 0"),
        ({"derived": "channels ** 2"}, "is no expression"),
        ({"derived": "__import__('os')"}, "is no expression"),
        ({"derived": "min()"}, "is no expression"),
        ({"derived": "(" * 99 + "1" + ")" * 99}, "cannot be 1|is no expression|legal"),
        ({"derived": "1" * 300}, "is no expression"),
        ({"derived": "1e400"}, "is no expression"),
        ({"derived": None}, "is no expression"),
        ({"derived": "min(channels / 64", "16)": None}, "quotation marks"),
    ],
)
def test_what_is_no_expression_or_no_legal_value_is_one_sentence(given_: Any, said: str) -> None:
    if "99" in said or str(given_["derived"]).startswith("(("):
        assert (
            DesignSpace(name="x", backbones=["resnet50"], sites=[3], blocks={"se": {"reduction": given_}}).size() == 2
        )
        return
    with pytest.raises(SpaceError, match=said):
        space(blocks={"se": {"reduction": given_}})


def test_text_and_switches_are_no_numbers() -> None:
    for blocks, said in (
        ({"cnl": {"width": "reduced", "reduction": {"derived": "width * 8"}}}, "width is reduced, which is no number"),
        ({"gc": {"fuse": {"derived": "reduction"}}}, "fuse of block 'gc' cannot be 8"),
    ):
        with pytest.raises(SpaceError, match=said):
            space(blocks=blocks)


def test_a_derived_value_cannot_be_tied_and_a_file_is_quoted_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"rules\[0\].*se.reduction is derived from the channels of its site"):
        space(rules=[{"tie": "se.reduction"}])
    assert space("8", rules=[{"tie": "se.reduction"}]).size() == space("8").size()
    file = tmp_path / "s.yaml"
    file.write_text("name: s\nbackbones: [resnet50]\nblocks:\n  se: {reduction: {derived: channels / 100}}\n")
    with pytest.raises(SpaceError, match=r"s.yaml:4:\d+: blocks.se: resnet50: reduction = channels / 100 at site 1"):
        DesignSpace.from_yaml(file)


@settings(max_examples=50)
@given(st.integers(1, 4096), st.integers(1, 64), st.integers(0, 50))
def test_arithmetic_is_exact(channels: int, divisor: int, tenths: int) -> None:
    text = f"channels / {divisor} * {divisor} + 0.1 * {tenths} - {tenths} / 10"
    assert Derived.of(text).value({"channels": channels}) == channels
