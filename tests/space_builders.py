"""Small design spaces, rules and candidates for tests, and the plain way to list a space."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from nas.spaces import BLOCKS, Candidate, DesignSpace, Placement, get_topology
from nas.spaces.rules import Rule, rule_from_dict

SMALL_BACKBONES = ("resnet18", "mobilenet_v3_small")


def make_space(**changes: Any) -> DesignSpace:
    """Two blocks at the first five sites of ResNet-18; what is given replaces it."""
    data = {"name": "small", "backbones": ["resnet18"], "sites": "1-5", "blocks": ["hac", "cnl"]}
    return DesignSpace.from_dict({**data, **changes})


def naive_placements(space: DesignSpace, backbone: str) -> Iterable[tuple[Placement, ...]]:
    """Every choice of a block or none at every site, before rules."""
    variants = [(name, params) for name, domain in space.blocks.items() for params in domain.variants()]
    sites = space.site_numbers(backbone)
    for choice in itertools.product([None, *variants], repeat=len(sites)):
        yield tuple(Placement(site, *row) for site, row in zip(sites, choice, strict=True) if row is not None)


def naive_candidates(space: DesignSpace) -> list[Candidate]:
    """All candidates of a space without recipe, by trying everything and asking each rule."""
    found = []
    for name, domain in space.backbones.items():
        for params in domain.variants():
            for placements in naive_placements(space, name):
                candidate = Candidate(name, placements, params)
                if all(rule.admits(candidate) for rule in space.rules):
                    found.append(candidate)
    return found


def block_params(block: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any hyperparameters of a block, some of them left out."""
    spec = BLOCKS[block]
    given = st.fixed_dictionaries({}, optional={p.name: st.sampled_from(p.choices) for p in spec.params})

    def legal(values: dict[str, Any]) -> dict[str, Any]:
        return {
            k: v for k, v in values.items() if k != "reduction" or block != "cnl" or values.get("width") == "reduced"
        }

    return given.map(legal)


def placements(backbone: str) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Up to five blocks at different sites, in any order."""
    sites = st.integers(1, len(get_topology(backbone).sites))
    one = st.sampled_from(sorted(BLOCKS)).flatmap(lambda b: st.tuples(sites, st.just(b), block_params(b)))
    return st.lists(one, max_size=5, unique_by=lambda row: row[0])


names = st.from_regex(r"[a-z_][a-z0-9_.]{0,10}", fullmatch=True)
values = st.one_of(
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
)


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    """Any candidate: any backbone, width, blocks, hyperparameters and recipe values."""
    backbone = draw(st.sampled_from(["resnet18", "resnet50", "resnet101", "shufflenet_v2_x1_0", "mobilenet_v3_large"]))
    settings = draw(
        st.fixed_dictionaries({}, optional={"width": st.sampled_from([0.25, 0.5, 2]), "last_stride": st.just(2)})
    )
    recipe = draw(st.dictionaries(names, values, max_size=3))
    return Candidate.make(backbone, draw(placements(backbone)), settings, recipe)


_sites = st.one_of(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.just("all"),
    st.fixed_dictionaries(
        {"stages": st.sampled_from([1, 2, [1, 2], 0]), "place": st.sampled_from(["first", "last", "all"])}
    ),
    st.just({"place": "last"}),
)
_block = st.sampled_from(["hac", "cnl", "se"])
_pattern = st.sampled_from(["hac", "cnl", "se", "cnl(fuse=add)", "cnl(fuse=gate)"])

placement_rules = st.one_of(
    st.builds(lambda b, s: {"sites": {"block": b, "sites": s}}, st.none() | _pattern, _sites),
    st.builds(lambda b, s: {"forbid": {"blocks": [b], "sites": s}}, _pattern, _sites),
    st.builds(lambda s: {"forbid": {"sites": s}}, st.lists(st.integers(1, 5), min_size=1, max_size=2)),
    st.builds(lambda b: {"blocks": sorted(b)}, st.sets(_pattern, min_size=1)),
    st.builds(lambda b: {"stage_ends": {"block": b} if b else True}, st.none() | _pattern),
    st.permutations(["hac", "cnl", "se"]).map(lambda b: {"block_preference": {"better": b[0], "worse": b[1]}}),
    st.sampled_from([["add"], ["gate"], ["gate", "add"]]).map(
        lambda v: {"params": {"block": "cnl", "param": "fuse", "values": v}}
    ),
    st.builds(lambda b, s: {"cost": {"placements": {b: s}}}, _pattern, st.lists(st.integers(1, 5), min_size=1)),
)
combination_rules = st.one_of(
    st.builds(lambda n, b: {"max_blocks": {"count": n, "block": b} if b else n}, st.integers(0, 4), st.none() | _block),
    st.builds(lambda n, b: {"min_blocks": {"count": n, "block": b} if b else n}, st.integers(0, 3), st.none() | _block),
    st.integers(1, 5).map(lambda n: {"min_distance": n}),
    st.just({"distinct_stages": True}),
    st.builds(
        lambda key, n: {"mix": {key: n}},
        st.sampled_from(["max_types", "min_types", "max_families", "min_families"]),
        st.integers(1, 3),
    ),
)
rule_data = st.one_of(placement_rules, combination_rules)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Any rule about placements, hard or preferred, sometimes of one backbone only."""
    data = dict(draw(rule_data))
    if draw(st.integers(0, 4)) == 0:
        data["strength"] = "preference"
    if draw(st.integers(0, 4)) == 0:
        data["backbone"] = draw(st.sampled_from(SMALL_BACKBONES))
    return rule_from_dict(data)


@st.composite
def small_definitions(draw: st.DrawFn) -> dict[str, Any]:
    """The content of a small space file, small enough to be listed by trying everything; it may be empty."""
    blocks = draw(st.sampled_from([{"hac": {}}, {"hac": {}, "cnl": {"fuse": ["gate", "add"]}}, {"se": {}, "agw": {}}]))
    sites = draw(st.sampled_from(["1-5", [2, 3, 5], {"stages": [1, 2]}]))
    data: dict[str, Any] = {
        "name": "drawn",
        "backbones": draw(st.sampled_from([["resnet18"], {"resnet18": {"width": [0.5, 1]}}])),
        "sites": sites,
        "blocks": blocks,
        "rules": [rule.to_dict() for rule in draw(st.lists(rules(), max_size=4))],
    }
    return data
