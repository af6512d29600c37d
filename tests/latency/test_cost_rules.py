"""Rules from a profile alone: which sites a block may not take, with the numbers, and when not to say so."""

from __future__ import annotations

import pytest
from latency_builders import DEVICE, PROTOCOL, PlantedDevice, make_record, memory_store, small_space

from nas.errors import LatencyError
from nas.latency.cost_rules import cost_findings
from nas.latency.placement_table import PlacementTable
from nas.latency.placements import plan_profile, profile
from nas.spaces import Candidate, Finding


def planted() -> PlacementTable:
    """RAGA adds 0.03 ms a channel: slower than resnet101 (20 ms above the baseline) from 1024 channels on."""
    store = memory_store()
    space = small_space("cnl", "raga")
    profile(plan_profile(space), PROTOCOL, store, measure_one=PlantedDevice(), device=DEVICE)
    return PlacementTable(store.find(None, PROTOCOL, DEVICE))


def test_the_slow_sites_are_named_with_their_numbers() -> None:
    findings = {
        finding.rule.to_dict()["cost"]["placements"].__str__(): finding
        for finding in cost_findings(planted(), "resnet101")
    }
    raga = next(f for f in findings.values() if f.adopted)
    assert "not at positions 9-17" in raga.sentence()
    assert "resnet101 50.00 ms" in raga.reason
    assert "at 9-14: 60.72 ms (x 1.214 [1.214, 1.214])" in raga.reason
    assert raga.evidence.latency_ms is not None
    assert raga.evidence.latency_ms < 0  # following the rule saves time
    assert not raga.rule.admits(Candidate.parse("resnet50+raga@14"))
    assert raga.rule.admits(Candidate.parse("resnet50+raga@8+cnl@14"))


def test_a_block_that_is_nowhere_slower_is_a_rejected_rule() -> None:
    cnl = [f for f in cost_findings(planted(), "resnet101") if "cnl" in str(f.rule.to_dict())]
    assert [f.verdict for f in cnl] == ["rejected"]


def test_what_may_be_either_is_not_decided() -> None:
    noisy = [[float(49 + i % 5) for i in range(60)]]
    table = PlacementTable(
        {
            Candidate.parse("resnet50"): make_record(30.0),
            Candidate.parse("resnet101"): make_record(noisy),
            Candidate.parse("resnet50+raga@5"): make_record(noisy),
        }
    )
    assert {f.verdict for f in cost_findings(table, "resnet101")} == {"not enough data"}


@pytest.mark.parametrize("busy", ["resnet101", "resnet50+raga@5"])
def test_a_disturbed_figure_makes_no_rule(busy: str) -> None:
    times = {"resnet50": 30.0, "resnet101": 50.0, "resnet50+raga@5": 70.0}
    table = PlacementTable({Candidate.parse(t): make_record(ms, t, isolated=t != busy) for t, ms in times.items()})
    (finding,) = cost_findings(table, "resnet101")
    assert finding.verdict == "not enough data"
    assert "kept the machine busy" in finding.reason


def test_settings_of_one_block_get_rules_of_their_own() -> None:
    times = {"resnet50": 30.0, "resnet101": 50.0, "resnet50+agw@5": 70.0, "resnet50+agw(inner=one)@5": 31.0}
    table = PlacementTable({Candidate.parse(text): make_record(ms, text) for text, ms in times.items()})
    verdicts = {str(f.rule.to_dict()): f for f in cost_findings(table, "resnet101")}
    slow = next(f for f in verdicts.values() if f.adopted)
    assert not slow.rule.admits(Candidate.parse("resnet50+agw@6"))
    assert slow.rule.admits(Candidate.parse("resnet50+agw(inner=one)@6"))


def test_findings_survive_files() -> None:
    for finding in cost_findings(planted(), "resnet101"):
        assert Finding.from_dict(finding.to_dict()) == finding


def test_a_reference_that_was_not_measured_is_said() -> None:
    with pytest.raises(LatencyError, match="resnet152 was not measured"):
        cost_findings(planted(), "resnet152")
