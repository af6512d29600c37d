"""What placements cost, read from tables, mappings and functions; what is not measured is not known."""

from __future__ import annotations

import pandas as pd
import pytest

from nas.results.costs import UNKNOWN, Quote
from nas.results.placement_costs import placement_costs, time_of
from nas.spaces import Candidate


def test_a_placement_costs_what_its_network_adds_to_the_baseline() -> None:
    costs = placement_costs("resnet50", [], {"resnet50": 30.0, "resnet50+cnl@8": 30.5, "resnet50+agw@8": 37.0})
    assert costs.baseline_ms == 30.0
    assert costs.added["cnl", 8] == pytest.approx(0.5)
    assert costs.added["agw", 8] == pytest.approx(7.0)
    assert costs.site_ms([8]) == pytest.approx(3.75)
    assert costs.site_ms([8], "cnl") == pytest.approx(0.5)
    assert costs.block_ms("cnl", [8, 9]) is None
    assert costs.slowdown(3.0) == pytest.approx(0.1)


def test_sites_are_not_compared_by_the_blocks_that_happen_to_be_known() -> None:
    """RAGA @ 1 was timed on a busy machine: HAC alone would make the first site look cheap."""
    asked = [Candidate.parse(f"resnet50+{block}@{site}") for block in ("hac", "raga") for site in (1, 8)]
    known = {"resnet50": 30.0, "resnet50+hac@1": 30.5, "resnet50+hac@8": 30.2, "resnet50+raga@8": 36.0}
    costs = placement_costs("resnet50", asked, known)
    assert costs.site_ms([1]) is None
    assert costs.site_ms([8]) == pytest.approx(3.1)
    assert costs.site_ms([1], "hac") == pytest.approx(0.5)
    assert placement_costs("resnet50", asked, {**known, "resnet50+raga@1": 38.0}).site_ms([1]) == pytest.approx(4.25)


def test_equal_tensors_cost_the_same_and_own_figures_come_first() -> None:
    costs = placement_costs("resnet50", [], {"resnet50": 30.0, "resnet50+cnl@6": 31.0, "resnet50+cnl@8": 30.5})
    assert {site: costs.added["cnl", site] for site in (6, 8)} == {6: pytest.approx(1.0), 8: pytest.approx(0.5)}
    assert costs.added["cnl", 5] == pytest.approx(0.75)  # between the two: the model's, by least squares
    assert ("cnl", 9) not in costs.added


def test_without_a_baseline_no_cost_is_made_up() -> None:
    costs = placement_costs("resnet50", [], {"resnet50+cnl@8": 30.5})
    assert costs.added == {}
    assert costs.slowdown(1.0) is None
    assert costs.site_ms([8]) is None


def test_networks_with_several_blocks_are_split_where_singles_are_missing() -> None:
    table = {"resnet50": 30.0, "resnet50+cnl@6,8": 32.0, "resnet50+cnl@8,14": 33.0, "resnet50+cnl@6,14": 33.0}
    costs = placement_costs("resnet50", [], table)
    assert costs.added["cnl", 8] == pytest.approx(1.0)
    assert costs.added["cnl", 14] == pytest.approx(2.0)


def test_measured_singles_are_believed_before_the_split() -> None:
    table = {"resnet50": 30.0, "resnet50+cnl@8": 31.5, "resnet50+cnl@6,8": 32.0}
    assert placement_costs("resnet50", [], table).added["cnl", 8] == pytest.approx(1.5)


def test_recipes_share_the_time_of_their_network() -> None:
    table = pd.DataFrame({"notation": ["resnet50+cnl@8[loss=circle]", "resnet50+cnl@8"], "latency_ms": [37.0, None]})
    assert time_of(Candidate.parse("resnet50+cnl@8[loss=ce]"), table) == Quote.exactly(37.0)


def test_a_table_says_how_sure_its_times_are() -> None:
    table = pd.DataFrame(
        {
            "notation": ["resnet50", "resnet50+cnl@8"],
            "latency_ms": [30.0, 37.0],
            "latency_low_ms": [29.0, None],
            "latency_high_ms": [31.0, None],
        }
    )
    assert time_of(Candidate.parse("resnet50"), table) == Quote(30.0, 29.0, 31.0, "measured")
    assert time_of(Candidate.parse("resnet50+cnl@8"), table) == Quote(37.0, None, None, "measured")


def test_functions_are_asked_and_earlier_sources_win() -> None:
    asked = [Candidate.parse(text) for text in ("resnet50", "resnet50+cnl@8", "resnet18")]
    costs = placement_costs(
        "resnet50", asked, {"resnet50": 30.0}, lambda c: Quote.exactly(99.0 if c.placements else 98.0)
    )
    assert {c.notation: ms for c, ms in costs.known.items()} == {"resnet50": 30.0, "resnet50+cnl@8": 99.0}
    assert time_of(Candidate.parse("resnet101"), None, lambda c: UNKNOWN) is None


def test_a_time_that_is_not_to_be_believed_is_kept_as_such_and_adds_nothing() -> None:
    doubted = {"resnet50+cnl@8": Quote(why="the machine had drifted by +377%")}
    asked = [Candidate.parse(text) for text in ("resnet50", "resnet50+cnl@8", "resnet50+cnl@14")]
    costs = placement_costs("resnet50", asked, {"resnet50": 30.0}, lambda c: doubted.get(c.notation, UNKNOWN))
    assert [c.notation for c in costs.quotes] == ["resnet50", "resnet50+cnl@8"]
    assert costs.added == {}
