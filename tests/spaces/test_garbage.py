"""Whatever is fed in, the answer is a value or one SpaceError with a sentence - never another exception."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import SpaceError
from nas.files.yaml_source import parse_yaml
from nas.spaces import Candidate, DesignSpace, Domain, RuleSet, SiteSet, rule_from_dict
from nas.spaces.rules import RULE_KINDS

TEXTS = ("", "all", "cnl", "hac", "agw(inner=one)", "agw(", "resnet50", "1-4", "4-1", "gate", "loss", "x", "hard")
scalars = st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.sampled_from(TEXTS)
WORDS = (
    "cnl hac resnet50 width fuse values range log points when sites blocks block stages place stride count key low "
    "high placements better worse param loss gamma x"
)
keys = st.sampled_from(WORDS.split())
garbage = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
GOOD = {
    "name": "x",
    "backbones": ["resnet50"],
    "sites": "1-3",
    "blocks": ["cnl"],
    "recipe": {"loss": ["ce"]},
    "rules": [],
}


@given(st.sampled_from([*GOOD, "rules", "parent", "description", "x"]), garbage)
def test_spaces(key: str, value: Any) -> None:
    with contextlib.suppress(SpaceError):
        DesignSpace.from_dict({**GOOD, key: value}).sample(1, 0)


@settings(max_examples=300)
@given(st.sampled_from([*RULE_KINDS, "x"]), garbage, st.sampled_from([{}, {"strength": "preference"}, {"backbone": 3}]))
def test_rules(kind: str, body: Any, beside: dict[str, Any]) -> None:
    with contextlib.suppress(SpaceError):
        rule = rule_from_dict({kind: body, **beside})
        assert rule_from_dict(rule.to_dict()) == rule
        rule.admits(Candidate.parse("resnet50+cnl@1,2+agw@3[loss=ce]"))
        rule.sentence()
        DesignSpace.from_dict({**GOOD, "rules": [{kind: body, **beside}]})


@given(garbage)
def test_domains_sites_and_rule_sets(value: Any) -> None:
    for read in (Domain.of, SiteSet.of, rule_from_dict, RuleSet.from_dict, DesignSpace.from_dict, Candidate.from_dict):
        with contextlib.suppress(SpaceError):
            read(value)


@given(st.text(alphabet="abn:-[]{}#&*!|>'\"%@`?, \n\t123.e<", max_size=30))
def test_yaml(text: str) -> None:
    with contextlib.suppress(SpaceError):
        parse_yaml(text)
