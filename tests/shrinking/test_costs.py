"""Latencies read from tables, mappings and functions; what is not measured is not known."""

from __future__ import annotations

import pandas as pd
import pytest
from shrinking.conftest import parse

from nas.shrinking.costs import latency_of, read_costs
from nas.spaces import Candidate


def test_a_placement_costs_what_its_network_adds_to_the_baseline() -> None:
    costs = read_costs("resnet50", [], {"resnet50": 30.0, "resnet50+cnl@8": 30.5, "resnet50+agw@8": 37.0})
    assert costs.baseline_ms == 30.0
    assert costs.added == {("cnl", 8): pytest.approx(0.5), ("agw", 8): pytest.approx(7.0)}
    assert costs.site_ms([8]) == pytest.approx(3.75)
    assert costs.site_ms([8], "cnl") == pytest.approx(0.5)
    assert costs.block_ms("cnl", [8, 9]) is None
    assert costs.slowdown(3.0) == pytest.approx(0.1)


def test_without_a_baseline_no_cost_is_made_up() -> None:
    costs = read_costs("resnet50", [], {"resnet50+cnl@8": 30.5})
    assert costs.added == {}
    assert costs.slowdown(1.0) is None
    assert costs.site_ms([8]) is None


def test_networks_with_several_blocks_are_split_where_singles_are_missing() -> None:
    table = {"resnet50": 30.0, "resnet50+cnl@6,8": 32.0, "resnet50+cnl@8,14": 33.0, "resnet50+cnl@6,14": 33.0}
    costs = read_costs("resnet50", [], table)
    assert costs.added["cnl", 8] == pytest.approx(1.0)
    assert costs.added["cnl", 14] == pytest.approx(2.0)


def test_measured_singles_are_believed_before_the_split() -> None:
    table = {"resnet50": 30.0, "resnet50+cnl@8": 31.5, "resnet50+cnl@6,8": 32.0}
    assert read_costs("resnet50", [], table).added["cnl", 8] == pytest.approx(1.5)


def test_recipes_share_the_latency_of_their_network() -> None:
    table = pd.DataFrame({"notation": ["resnet50+cnl@8[loss=circle]", "resnet50+cnl@8"], "latency_ms": [37.0, None]})
    assert latency_of(Candidate.parse("resnet50+cnl@8[loss=ce]"), table) == 37.0


def test_functions_are_asked_and_earlier_sources_win() -> None:
    asked = parse("resnet50", "resnet50+cnl@8", "resnet18")
    costs = read_costs("resnet50", asked, {"resnet50": 30.0}, lambda c: 99.0 if c.placements else 98.0)
    assert {c.notation: ms for c, ms in costs.measured.items()} == {"resnet50": 30.0, "resnet50+cnl@8": 99.0}
    assert latency_of(Candidate.parse("resnet101"), None, lambda c: None) is None
