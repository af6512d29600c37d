"""A study on a table: its front, speeds and words are the table's; nothing is said to have been trained or timed."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_builders import open_study, study_file, true_ms, work

from nas.cli.main import main
from nas.reporting.figures import Hypervolume, SpeedByPosition
from nas.reporting.loading import load_study_data
from nas.reporting.numbers import MISSING
from nas.reporting.story import tell
from nas.reporting.story.setting import data_section, protocol
from nas.reporting.story.times import _table
from nas.reporting.study_data import StudyData
from nas.search.cost_model import CostModel
from nas.search.runner import register
from nas.spaces import Candidate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> StudyData:
    folder: Path = tmp_path_factory.mktemp("replayed")
    stage = {"sweep": {"design": "exhaustive", "blocks": 1, "seeds": 2}}
    _, repository, context = open_study(study_file(folder, [stage]))
    work(context)
    loaded = load_study_data(repository.database, "replayed")
    costs = CostModel.of(context)
    assert [costs.cost(Candidate.parse(n)) for n in loaded.results["notation"]] == loaded.results["latency_ms"].tolist()
    return loaded


def test_front_hypervolume_and_speeds_are_the_tables(data: StudyData) -> None:
    summary = data.candidates(data.quoted)
    front = summary[summary["on_front"]]
    assert "resnet50" in set(front["notation"])  # the cheapest of all
    assert front["latency_ms"].tolist() == [true_ms(Candidate.parse(n)) for n in front["notation"]]
    assert Hypervolume().table(data)["hypervolume"].max() > 0
    speeds = SpeedByPosition().table(data)
    assert speeds["batches_per_s"].tolist() == pytest.approx(
        [1000 / true_ms(Candidate.parse(n)) for n in speeds["notation"]]
    )
    assert "timed" not in SpeedByPosition().caption(speeds)


def test_a_report_is_named_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = study_file(tmp_path, [{"sweep": {"candidates": 2, "baselines": False}}])
    definition, _, context = open_study(file)
    work(context)
    page = Path("reports", "replayed", "report.html")
    for written in (False, True):
        assert main(["status", "replayed", "--db", definition.database]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert (f"report: {page}" in said, "`nas report replayed` writes the report" in said) == (written, not written)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.touch()


def test_what_was_not_trained_is_not_described_as_trained(data: StudyData) -> None:
    text = f"{data_section(data)} {protocol(data)}"
    for word in ("recipe", "epoch", "latency:", "cuda", "timed one", "held out", "test split"):
        assert word not in text, word
    level = data.quoted
    assert level is not None
    assert level.words == "the table's values"
    assert data.environment == {}


def test_what_a_table_does_not_hold_is_left_out(data: StudyData) -> None:
    pytest.importorskip("dash", reason="the dashboard needs Dash: pip install 'nas-reid[dashboard]'")
    from nas.reporting.dashboard.pages.candidate import _latency_facts

    rows = data.results[data.results["notation"] == "resnet50+cnl@8"]
    assert [what for what, _ in _latency_facts(data, rows).pairs] == ["time of a batch", "speed"]
    assert {row[2] for row in _table(data).rows} == {MISSING}
    assert ". Dashed lines" in SpeedByPosition().caption(SpeedByPosition().table(data))


def test_the_commands_to_reproduce_name_the_file_and_profile_that_were_run(tmp_path: Path) -> None:
    folder = tmp_path / "studies"
    folder.mkdir()
    file = study_file(
        folder, [{"sweep": {"candidates": 4}}], name="people", profiles={"smoke": {"name": "people-smoke"}}
    )
    own = file.rename(folder / "my people.yaml")
    for profile, name in (("smoke", "people-smoke"), (None, "people")):
        definition, repository, _ = open_study(own, profile)
        register(definition, repository)  # again: nothing has changed
        sections = tell(load_study_data(repository.database, name)).sections
        said = str(next(section for section in sections if section.anchor == "reproduce").blocks)
        over = " --profile smoke" if profile else ""
        assert f"nas run 'studies/my people.yaml'{over}\\nnas report {name}" in said
        assert ("with its profile `smoke` as it was run" in said) == bool(profile)
        assert "profile: smoke" not in said
