"""Objectives: each reads its own value, and none where nothing was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from latency_builders import make_record

from nas.errors import LatencyError
from nas.latency.objectives import OBJECTIVES, Facts, get_objective, slowdown_percent
from nas.networks import complexity


@dataclass(frozen=True)
class Size:
    params: int = 23_508_032
    macs: int = 4_053_000_000
    activation_elements: int = 11_000_000


def test_every_objective_reads_its_value() -> None:
    record = replace(make_record(40.0), peak_memory_mb=123.0, energy_mj=2500.0)
    facts = Facts(record, make_record(32.0), Size())
    found = {name: objective.value(facts) for name, objective in OBJECTIVES.items()}
    assert found == pytest.approx(
        {
            "latency_ms": 40.0,
            "batches_per_s": 25.0,
            "slowdown_percent": 25.0,
            "peak_memory_mb": 123.0,
            "energy_j": 2.5,
            "params": 23_508_032,
            "macs": 4_053_000_000,
            "activations": 11_000_000,
        }
    )


def test_what_was_not_measured_is_none() -> None:
    assert {objective.value(Facts()) for objective in OBJECTIVES.values()} == {None}
    assert get_objective("energy_j").value(Facts(make_record(40.0))) is None
    assert get_objective("slowdown_percent").value(Facts(make_record(40.0))) is None


def test_only_speed_is_maximised() -> None:
    assert [o.name for o in OBJECTIVES.values() if o.direction == "maximize"] == ["batches_per_s"]
    assert [o.name for o in OBJECTIVES.values() if not o.measured] == ["params", "macs", "activations"]


def test_complexity_is_what_sizes_are_read_from() -> None:
    found = {name: get_objective(name).value(Facts(size=complexity("resnet50"))) for name in ("params", "activations")}
    assert found["params"] == 23_508_032 + 2 * 2048
    assert found["activations"] == complexity("resnet50").activation_elements > 1e6


def test_the_papers_slow_downs() -> None:
    assert slowdown_percent(1000 / 25.89, 36.917) == pytest.approx(4.6, abs=0.05)
    assert slowdown_percent(53.454, 36.917) == pytest.approx(44.8, abs=0.05)


def test_an_unknown_objective_lists_the_known_ones() -> None:
    with pytest.raises(LatencyError, match="did you mean 'latency_ms'"):
        get_objective("latency")
