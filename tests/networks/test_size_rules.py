"""Rules from counted sizes: exactly the placements over the limit are left out, and the rules survive files."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import SpaceError
from nas.networks import complexity
from nas.networks.size_rules import SIZES, size_finding
from nas.spaces import Candidate, DesignSpace, RuleSet
from nas.spaces.ruleset import Provenance


def space() -> DesignSpace:
    blocks = {"se": {}, "agw": {"inner": ["half", "one"]}, "cnl": {"width": ["full", "half"]}}
    return DesignSpace.from_dict(
        {"name": "sizes", "backbones": ["resnet50"], "blocks": blocks, "rules": [{"max_blocks": 1}]}
    )


@pytest.mark.parametrize(
    ("measure", "limit"), [("params", 30_000_000), ("macs", "resnet50+agw@14"), ("activations", "resnet50+se@1")]
)
def test_exactly_what_is_over_the_limit_is_left_out(measure: str, limit: str | int) -> None:
    finding = size_finding(space().singles(), measure, limit)
    most = limit if isinstance(limit, int) else SIZES[measure](complexity(limit))
    for candidate in space().singles():
        assert finding.rule.admits(candidate) == (SIZES[measure](complexity(candidate)) <= most), candidate
    assert finding.adopted
    child = space().restrict([finding.rule])
    assert 1 < child.size() < space().size()


def test_settings_are_named_only_where_they_differ() -> None:
    finding = size_finding(space().singles(), "params", 30_000_000)
    assert finding.rule.to_dict() == {
        "cost": {
            "reference": "30000000",
            "measure": "params",
            "placements": {"agw(inner=half)": "15-17", "cnl": "15-17"},
        }
    }
    assert (
        finding.reason
        == "limit 30.00 M parameters; agw(inner=half) 31.91 M parameters; cnl 31.91 to 40.30 M parameters"
    )
    assert "has more parameters than 30000000" in finding.rule.sentence()


def test_a_limit_that_nothing_exceeds_is_a_rejected_rule() -> None:
    finding = size_finding(space().singles(), "params", "resnet101")
    assert finding.verdict == "rejected"
    assert finding.reason == "no placement is over 42.50 M parameters"


def test_the_rule_survives_a_file(tmp_path: Path) -> None:
    finding = size_finding(space().singles(), "macs", "resnet50+agw@14")
    rules = RuleSet((finding,), Provenance(), "small")
    loaded = RuleSet.load(rules.save(tmp_path / "rules.yaml"))
    assert loaded == rules
    assert not loaded.admits("resnet50+agw@4")
    assert loaded.admits("resnet50+se@17")


def test_wrong_input_is_one_sentence() -> None:
    with pytest.raises(SpaceError, match="did you mean 'params'"):
        size_finding([Candidate.parse("resnet50+se@3")], "parms", 3)
    with pytest.raises(SpaceError, match="no placement"):
        size_finding([], "params", 3)
