"""One rule "slower than": a profile's cost rules, the `cost` family of shrink and the pale bars of figures agree."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from latency_builders import make_record

from nas.latency.cost_rules import cost_findings
from nas.latency.placement_table import PlacementTable
from nas.reporting.figures.map_by_position import _slow_and_no_better
from nas.results.cost_tables import time_table
from nas.results.placement_costs import beside_reference
from nas.shrinking.derive import derive_findings
from nas.shrinking.settings import ShrinkSettings
from nas.spaces import Candidate, DesignSpace

TIMES = {"resnet50": 30.0, "resnet101": 50.0, "resnet50+raga@2": 50.4, "resnet50+raga@9": 52.0, "resnet50+cnl@9": 31.0}
SPACE = DesignSpace.from_dict({"name": "some", "backbones": ["resnet50"], "blocks": ["cnl", "raga"]})


def profiled(**changes: dict[str, Any]) -> PlacementTable:
    made = {text: make_record(ms, text, **changes.get(text, {})) for text, ms in TIMES.items()}
    return PlacementTable({Candidate.parse(text): record for text, record in made.items()})


def sites(findings: list[Any], verdict: str) -> dict[str, str]:
    rules = [f.rule.to_dict()["cost"]["placements"] for f in findings if f.verdict == verdict]
    return {block: str(where) for rule in rules for block, where in rule.items()}


@pytest.mark.parametrize(("margin", "slow"), [(0.01, "9-14"), (0.0, "[1-4, 9-14]"), (0.1, "")])
def test_a_profile_shrink_and_figures_agree(margin: float, slow: str) -> None:
    table = profiled()
    times = table.times
    found = beside_reference(times, times[Candidate.parse("resnet101")], margin)
    slower = sorted(b.site for b in found if b.slower)
    from_profile = cost_findings(table, "resnet101", margin=margin)
    from_shrink = derive_findings(
        pd.DataFrame({"notation": [], "map": [], "status": []}),
        SPACE,
        families=["cost"],
        latency=lambda candidate: times.get(candidate),
        reference="resnet101",
        settings=ShrinkSettings(slower=margin),
    )
    assert sites(from_profile, "adopted") == sites(from_shrink, "adopted")
    records = [r.to_dict() | {"architecture_id": c.id, "notation": c.notation} for c, r in table.records.items()]
    rows = time_table(records).assign(map_adjusted=0.5).set_index("notation", drop=False)
    reference = rows.loc["resnet101"]
    pale = [
        text
        for text, (_, row) in zip(rows["notation"], rows.iterrows(), strict=True)
        if "@" in text and _slow_and_no_better(row, reference, margin)
    ]
    assert sorted(int(text.partition("@")[2]) for text in pale) == [s for s in slower if s in (2, 9)]
    assert bool(slower) == bool(slow)


@pytest.mark.parametrize("changes", [{"drift": 3.77}, {"isolated": False}])
def test_what_a_disturbed_machine_said_makes_no_rule(changes: dict[str, Any]) -> None:
    table = profiled(**{"resnet50+raga@9": changes})
    times = table.times
    found = cost_findings(table, "resnet101")
    assert sites(found, "adopted") == {}
    assert "raga" in sites(found, "not enough data")
    shrunk = derive_findings(
        pd.DataFrame({"notation": [], "map": [], "status": []}),
        SPACE,
        families=["cost"],
        latency=lambda candidate: times.get(candidate),
        reference="resnet101",
    )
    assert sites(shrunk, "adopted") == {}
    assert "raga" in sites(shrunk, "not enough data")
