"""Several studies in one report: what may stand together, what is said of a row of the paper, two studies compared."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.errors import StudyError
from nas.reporting.combined import combine, systems, together
from nas.reporting.compare import compare_studies
from nas.reporting.document import Bullets, Link, Table
from nas.reporting.markdown import render_markdown
from nas.reporting.paper import as_paper, beside, deviations, speeds_beside, standing
from nas.reporting.story.paper import beside_the_paper, systems_beside
from nas.reporting.study_data import StudyData
from nas.results.intervals import Estimate, mean_from
from nas.spaces import Candidate


def renamed(data: StudyData, name: str, **changes: object) -> StudyData:
    return replace(data, name=name, **changes)


def test_means_are_held_against_each_other_by_welch() -> None:
    found = mean_from(0.881, 0.001, 3) - mean_from(0.880, 0.002, 5)
    assert found.value == pytest.approx(0.001)
    variance = 0.001**2 / 3 + 0.002**2 / 5
    assert found.se == pytest.approx(math.sqrt(variance))
    assert found.df == pytest.approx(variance**2 / ((0.001**2 / 3) ** 2 / 2 + (0.002**2 / 5) ** 2 / 4))
    assert not (mean_from(0.8, math.nan, 1) - mean_from(0.8, 0.001, 3)).known


@pytest.mark.parametrize(
    ("difference", "same", "said"),
    [
        (Estimate(0.0, 0.001, 4), True, "reproduced"),
        (Estimate(0.0040, 0.001, 4), True, "contradicted"),  # [0.0012, 0.0068]
        (Estimate(0.0040, 0.002, 4), True, "not told apart"),  # [-0.0016, 0.0096]
        (Estimate(0.0), True, "not told apart"),
        (Estimate(0.0, 0.001, 4), False, "form only"),
    ],
)
def test_what_may_be_said_of_a_row(difference: Estimate, same: bool, said: str) -> None:
    assert standing(difference, same) == said


def test_a_row_is_judged_only_where_everything_is_the_papers(full: StudyData) -> None:
    level = full.quoted
    assert level is not None
    exact = replace(level, split="test", epochs=120, start="scratch")
    assert deviations(full, exact, "resnet50+cnl@8") == []
    assert deviations(full, replace(exact, epochs=60, split="val"), "resnet50+cnl@8") == [
        "another split",
        "other epochs",
    ]
    assert deviations(full, exact, "resnet50(width=0.5)+cnl@8") == ["another network"]
    assert deviations(full, exact, "resnet50+se(start=identity)@8") == ["another network"]
    small = replace(full, definition={**full.definition, "recipe": {"input": [64, 32], "weights": None}})
    assert deviations(small, exact, "resnet50+cnl@8") == ["another size", "other first weights"]
    duke = replace(full, dataset={"name": "duke"}, definition={**full.definition, "data": {"duke": "x"}})
    both = beside(duke)
    assert set(both["standing"]) == {"form only"}
    assert both["why"].str.contains("other images").all()


def test_what_is_not_the_papers_is_said_once_below_the_table(full: StudyData) -> None:
    """As a last column it made the table twice as wide as the page, and each row six lines high."""
    duke = {"dataset": {"name": "duke"}, "definition": {**full.definition, "data": {"duke": "x"}}}
    table, _, why = systems_beside(systems([renamed(full, "one", **duke), renamed(full, "two", **duke)]))
    assert isinstance(table, Table)
    assert len(table.headings) == len(table.rows[0]) == 10
    assert isinstance(why, Bullets)
    assert why.items == ["other images: every row."]  # that the paper has no mAP of ResNet-50 is no difference


def test_names_of_narrow_networks_are_the_papers() -> None:
    assert as_paper(Candidate.parse("resnet50(width=0.25)+cnl(start=identity)@6,8,14")) == "resnet50+cnl@6,8,14"


def test_a_study_that_only_timed_shows_the_papers_speeds_beside(full: StudyData) -> None:
    timed = replace(full, results=full.results.iloc[:0])
    both = speeds_beside(timed).set_index("notation")
    assert {"resnet50", "resnet50+cnl@8"} <= set(both.index)
    own = full.latencies.set_index("notation")["median_ms"].astype(float)
    assert both.loc["resnet50+cnl@8", "ours_increment_ms"] == pytest.approx(own["resnet50+cnl@8"] - own["resnet50"])
    assert both.loc["resnet50+cnl@8", "increment_ms"] == 0.54
    section = beside_the_paper(timed)
    assert section is not None
    assert section.title == "Speeds beside the paper"
    narrow = full.latencies.assign(notation=full.latencies["notation"].str.replace("resnet50", "resnet50(width=0.5)"))
    assert beside_the_paper(replace(timed, latencies=narrow)) is None
    assert beside_the_paper(replace(timed, latencies=full.latencies.iloc[:0])) is None


def test_studies_under_two_protocols_stand_apart_and_it_is_said(full: StudyData) -> None:
    other = renamed(full, "other", protocol={"backend": "eager", "precision": "fp32"})
    same = renamed(full, "same")
    assert [len(group.studies) for group in together([full, other, same])] == [2, 1]
    text = render_markdown(combine([full, other, same]), {})
    assert "2 figures: numbers of different figures are not compared" in text
    names = [figure.name for figure in combine([full, other, same]).figures]
    assert len(set(names)) == len(names)  # ids of a page: of two alike only one would be drawn
    assert "Table I beside the paper" in text
    assert "Rows of the paper that are in no space of these studies" in text
    assert set(systems([full, other])["study"]) == {full.name, "other"}
    with pytest.raises(StudyError, match="two different ones"):
        combine([full, full])


def test_studies_on_one_table_stand_together_and_devices_apart(full: StudyData) -> None:
    table = {"objective": {"table": "t.csv"}, "latency": {}}
    split = full.results.assign(split="table", epochs=np.nan, fidelity="full")
    one, two = (renamed(full, name, definition={**full.definition, **table}, results=split) for name in ("one", "two"))
    assert [len(group.studies) for group in together([one, two])] == [2]
    places = [{"timed on": {"device": name}} for name in ("Xavier", "Orin")]
    timed = [renamed(full, f"on-{i}", environment=place) for i, place in enumerate(places)]
    assert [len(group.studies) for group in together(timed)] == [1, 1]


def test_the_report_of_a_study_is_a_link_where_it_lies(
    full: StudyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports" / "one").mkdir(parents=True)
    (tmp_path / "reports" / "one" / "report.html").touch()
    found = combine([renamed(full, "one"), renamed(full, "two")], folder=Path("reports/both"))
    (table,) = [block for block in found.sections[0].blocks if isinstance(block, Table)]
    assert [row[-1] for row in table.rows] == [
        Link("reports/one/report.html", "../one/report.html"),
        "reports/two/report.html",
    ]


def test_two_studies_share_networks_order_and_rules(full: StudyData) -> None:
    noise = np.random.default_rng(1).normal(0, 1e-5, len(full.results))
    again = renamed(full, "again", results=full.results.assign(map=full.results["map"] + noise))
    found = compare_studies(full, again)
    assert found.differs == ()
    assert found.tau > 0.9
    assert not found.only_first
    assert not found.only_second
    assert (found.networks["low"] < found.networks["high"]).any()
    elsewhere = renamed(full, "duke", results=full.results.assign(dataset_id="another"), findings=())
    apart = compare_studies(full, elsewhere)
    assert apart.differs == ("images",)
    assert apart.networks["difference"].isna().all()
    assert "numbers are not compared" in apart.sentence()
    assert apart.only_first == found.both


def test_two_studies_of_another_metric_are_compared_in_its_words(full: StudyData) -> None:
    error = {"judged": "error", "metrics": {"error": {"unit": "%", "better": "less"}}}
    definition = {**full.definition, "objective": error}
    one = renamed(full, "one", definition=definition)
    more = renamed(one, "more", results=full.results.assign(map=full.results["map"] + 0.1))
    found = compare_studies(more, one)
    assert "more minus one: +0.1000 -error" in found.sentence()  # stored so that more is better, and named so
    assert "mAP" not in found.sentence()
    assert set(found.networks["verdict"]) <= {"better", "not told apart"}
    assert compare_studies(one, full).differs == ("what trainings are judged by",)
