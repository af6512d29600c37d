"""The paper's numbers: complete, consistent with themselves, and beside ours only where that is fair."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from reporting_builders import ResultsBuilder

from nas.reporting.combined import combine, systems
from nas.reporting.document import Table
from nas.reporting.paper import beside, is_the_papers, paper_folder, paper_table
from nas.reporting.study_data import StudyData
from nas.reporting.tables import loss_of
from nas.spaces.candidate import Candidate


def test_every_file_names_its_source() -> None:
    folder = paper_folder()
    assert folder is not None
    for path in folder.glob("*.csv"):
        table = pd.read_csv(path)
        assert table["source"].str.contains("arXiv 2302.14574").all(), path.name
        for notation in table["notation"]:
            assert Candidate.parse(notation).notation == notation


def test_table_one_is_the_papers() -> None:
    table = paper_table().set_index(["notation", "loss"])
    assert len(table) == 2 + 12
    assert table.loc[("resnet50+cnl@6,8,14", "ce"), "map"] == 0.8806
    assert table.loc[("resnet50+agw@6,8,14", "circle"), "batches_per_s"] == 19.88
    assert table.loc[("resnet50", "ce"), "batches_per_s"] == pytest.approx(1000 / 36.917, abs=0.01)


def test_increments_agree_with_batches_per_second() -> None:
    folder = paper_folder()
    assert folder is not None
    increments = pd.read_csv(folder / "latency_increments.csv").set_index("notation")["increment_ms"]
    speed = paper_table().query("loss == 'ce'").set_index("notation")["batches_per_s"]
    for notation, added in increments.items():
        assert 36.917 + added == pytest.approx(1000 / speed[notation], abs=0.03), notation


def test_ours_stand_beside_theirs(full: StudyData) -> None:
    assert is_the_papers(full)
    both = beside(full).set_index("notation")
    assert set(both.index) >= {"resnet50", "resnet101", "resnet50+cnl@6,8,14"}
    row = both.loc["resnet50+cnl@8,14"]
    assert row["difference"] == pytest.approx(row["map_mean"] - 0.8788)


def test_another_data_set_is_not_the_papers(full: StudyData) -> None:
    other = replace(full, dataset={"name": "duke"}, definition={**full.definition, "data": {"duke": "x"}})
    assert not is_the_papers(other)


def test_a_narrow_backbone_is_not_the_papers(full: StudyData) -> None:
    narrow = full.results.assign(notation=full.results["notation"].str.replace("resnet50", "resnet50(width=0.25)"))
    assert not is_the_papers(replace(full, results=narrow))


def test_a_sum_of_losses_is_called_by_its_set_up(full: StudyData) -> None:
    """The circle rows of a smoke profile, which writes the terms out, stood in no row of Table I."""
    for loss, called in (
        ("circle_softmax+triplet+center", "circle"),
        ("circle", "circle"),
        ("cross_entropy+triplet", "cross_entropy+triplet"),
    ):
        recipe = {"extends": "strong_baseline", "loss": loss}
        assert loss_of("resnet50", replace(full, definition={"recipe": recipe})) == called


def test_table_two_stands_beside_ours_in_a_report_over_several_studies(full: StudyData) -> None:
    build = ResultsBuilder("robot")
    for notation in ("resnet50(width=0.125)", "resnet50(width=0.125)+cnl@6,8,14"):
        build.add(notation, stage="pretrain", kind="pretrain", role="source", seeds=2, split="test")
        build.add(notation, stage="confirm", kind="confirm", seeds=2, split="test")
    robot = StudyData("robot", results=build.table())
    assert set(systems([full, robot])["study"]) == {full.name}  # it stood in Table I, too
    both = combine([full, robot])
    section = next(section for section in both.sections if section.anchor == "paper-transfer")
    table = section.blocks[1]
    assert isinstance(table, Table)
    assert [(row[0], row[2], row[3]) for row in table.rows] == [
        ("`ResNet-50`", "none", "0.6630"),
        ("`ResNet-50`", "two-step", "0.7551"),
        ("`C-NL @ 6,8,14`", "none", "0.6684"),
        ("`C-NL @ 6,8,14`", "two-step", "0.7658"),
    ]
    assert all("±" in str(row[5]) for row in table.rows)
