"""A study that pays with something else than time: nothing that is told of its front is told as time."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from nas.reporting.document import Table
from nas.reporting.figures import MapByPosition, NetworkDrawing, ParetoFront
from nas.reporting.files import PARETO_COLUMNS, pareto_table
from nas.reporting.health import health
from nas.reporting.latex import front_latex
from nas.reporting.story.beside import beside
from nas.reporting.story.results import front
from nas.reporting.story.setting import protocol
from nas.reporting.story.times import times
from nas.reporting.study_data import StudyData
from nas.results.costs import COSTS


def paying(full: StudyData, cost: str, **more: object) -> StudyData:
    """The study with another cost, of which the slowest network needs least."""
    planted = full.results.assign(**{COSTS[cost].column: (500.0 - full.results["latency_ms"]) * COSTS[cost].scale})
    return replace(full, results=planted, definition={**full.definition, "cost": cost, **more})


OTHERS = [
    ("activations", "activations (million elements)", "activations"),
    ("peak_memory_mb", "peak memory (MB)", "memory"),
    ("energy_j", "energy (J)", "energy"),
    ("latency_p95_ms", "slow latency (ms)", "slow batches"),
]


@pytest.mark.parametrize(
    ("cost", "heading", "noun"),
    [*OTHERS, ("params", "size (million parameters)", "size"), ("macs", "work (million multiply-adds)", "work")],
)
def test_the_front_in_latex_is_of_what_is_paid(full: StudyData, cost: str, heading: str, noun: str) -> None:
    data = paying(full, cost)
    members = data.candidates(data.quoted).query("on_front").sort_values(cost)
    text = front_latex(data)
    assert heading in text
    assert f"in both mAP and {noun}." in text
    assert "ms per batch" not in text
    assert "time" not in text.replace("lifetime", "")
    paid = [float(line.rsplit("&", 1)[1].strip(" \\")) for line in text.splitlines() if r"$\pm$" in line]
    assert paid == pytest.approx(list(members[cost] / COSTS[cost].scale), abs=1e-3)
    assert paid == sorted(paid)


def test_the_front_in_latex_has_all_that_is_paid(full: StudyData) -> None:
    text = front_latex(paying(full, "activations", more_costs=["latency_ms", "activations"]))
    assert "in mAP, activations and time." in text
    assert "activations (million elements) & ms per batch" in text
    assert "in both mAP and time." in front_latex(full)


@pytest.mark.parametrize(("cost", "heading", "noun"), OTHERS)
def test_tables_of_candidates_have_what_is_paid(full: StudyData, cost: str, heading: str, noun: str) -> None:
    data = paying(full, cost)
    table = next(block for block in front(data).blocks if isinstance(block, Table))
    assert table.headings[-1] == heading
    assert len(table.headings) - 1 in table.numeric
    members = data.candidates(data.quoted).set_index("notation")
    for row in table.rows:
        value = members.loc[str(row[0]).strip("`"), cost] / COSTS[cost].scale
        assert float(str(row[-1])) == pytest.approx(value, abs=1e-3)
    assert pareto_table(data)[cost].notna().any()
    assert heading.split(" (")[0] in str(beside(data, "resnet50", "resnet50+cnl@8"))


@pytest.mark.parametrize("cost", ["latency_ms", "batches_per_s", "params", "macs"])
def test_no_column_is_told_twice(full: StudyData, cost: str) -> None:
    data = replace(full, definition={**full.definition, "cost": cost})
    table = next(block for block in front(data).blocks if isinstance(block, Table))
    assert list(table.headings)[-4:] == ["ms per batch", "batches/s", "params (M)", "GMAC"]
    assert list(pareto_table(data).columns) == list(PARETO_COLUMNS)


def test_figures_name_what_is_paid(full: StudyData) -> None:
    data = paying(full, "activations")
    hover = ParetoFront().table(data)["_size"]
    assert hover.str.contains("million elements (activations)", regex=False).all()
    assert not ParetoFront().table(full)["_size"].str.contains("million").any()
    notes = [note.text for note in NetworkDrawing()(data).layout.annotations]
    assert all(note.endswith(" million elements") for note in notes)
    assert all(note.text.endswith(" ms") for note in NetworkDrawing()(full).layout.annotations)


def test_bars_are_pale_by_what_is_paid(full: StudyData) -> None:
    by_time = MapByPosition().table(full)
    assert "slower than the reference" in MapByPosition().caption(by_time)
    plain = full.results["notation"].isin(["resnet50", "resnet101"])
    # Every block takes more elements than the reference, and no network is more accurate.
    planted = full.results.assign(activations=plain.map({True: 1e6, False: 2e6}), map=0.5)
    data = replace(full, results=planted, definition={**full.definition, "cost": "activations"})
    table = MapByPosition().table(data)
    assert table.loc[table["kind"] == "single", "hopeless"].all()
    assert "with more activations than the reference" in MapByPosition().caption(table)
    assert "slower" not in MapByPosition().caption(table)
    few = replace(data, results=planted.assign(activations=1e6, latency_ms=plain.map({True: 1.0, False: 9.0})))
    assert not MapByPosition().table(few)["hopeless"].eq(True).any()


@pytest.mark.parametrize(("cost", "nowhere"), [("latency_ms", True), ("latency_p95_ms", True), ("activations", False)])
def test_an_unknown_time_keeps_from_the_front_where_time_is_paid(full: StudyData, cost: str, nowhere: bool) -> None:
    lost = pd.DataFrame([{"notation": "resnet50+cnl@8", "unknown": "too few pairs", "isolated": True, "drift": 0.0}])
    data = replace(full, latencies=lost, definition={**full.definition, "cost": cost})
    said = next(limit.consequence for limit in health(data) if limit.kind == "times")
    assert ("on no front" in said) == nowhere
    assert ("on no front" in str(protocol(data))) == nowhere
    assert (times(data).title == "What networks cost") == nowhere
