"""Campaigns: what is checked before anything runs, one budget, and one report at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from search_builders import open_study, study_file

import nas
from nas.cli.main import main
from nas.errors import DataError, StudyError
from nas.project.layout import shipped
from nas.reporting import stills
from nas.reporting.paper import paper_table
from nas.search.campaign import is_campaign, load_campaign
from nas.search.checks import check_study
from nas.search.context import StudyParts
from nas.search.definition import load_study
from nas.spaces import Candidate

SWEEP = [{"sweep": {"blocks": 1, "candidates": 4}}]


def files(folder: Path, **second: Any) -> list[Path]:
    """Two studies on one table."""
    first = study_file(folder, SWEEP, name="first").rename(folder / "first.yaml")
    other = study_file(folder, SWEEP, name="second")
    data = {**yaml.safe_load(other.read_text()), **second}
    other.write_text(yaml.safe_dump(data))
    return [first, other.rename(folder / "second.yaml")]


def test_the_papers_campaign_is_in_order() -> None:
    path = shipped("studies") / "paper.yaml"
    assert is_campaign(path)
    for profile in (None, "smoke"):
        campaign = load_campaign([path], profile)
        assert [study.name.removesuffix("-smoke") for study in campaign.studies][1:3] == [
            "paper_single",
            "paper_multiple",
        ]


ON_MARKET = [path for path in sorted(shipped("studies").glob("*.yaml")) if "{market1501: data/" in path.read_text()]


@pytest.mark.parametrize("path", ON_MARKET, ids=lambda path: path.stem)
def test_shipped_studies_are_whole_but_for_their_images(path: Path) -> None:
    """What their smoke profiles replace: spaces, named networks, sweeps that can answer the shrink behind them."""
    study = load_study(path)
    with pytest.raises(DataError):
        check_study(study, fetch=False)  # the last that is looked at
    space = StudyParts(study).searched
    for stage in study.named_stages():
        listed = getattr(stage.settings, "candidates", None)
        named = [*(listed if isinstance(listed, list) else ()), *getattr(stage.settings, "named", ())]
        for candidate in map(Candidate.parse, named):
            assert space.contains(candidate) or not candidate.placements, (stage.name, str(candidate))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"name": "first"}, "two studies named 'first'"),
        ({"space": {"within": "space.yaml", "study": "first"}}, "no `shrink` stage"),
        ({"recipe": {"study": "first"}}, "no `tune` stage"),
        ({"database": "sqlite:///other.db", "space": {"within": "space.yaml", "study": "third"}}, ""),
    ],
)
def test_what_the_next_study_lacks_is_one_sentence(tmp_path: Path, second: dict[str, Any], message: str) -> None:
    paths = files(tmp_path, **second)
    if not message:  # asked of a study that is not in the campaign: its database may hold it
        assert len(load_campaign(paths).studies) == 2
        return
    with pytest.raises(StudyError, match=message):
        load_campaign(paths)
    with pytest.raises(StudyError, match=r"comes after it|two studies"):
        load_campaign(paths[::-1])


@pytest.mark.slow
def test_several_studies_run_in_order_to_one_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [str(path) for path in files(tmp_path, seed=7)]
    assert main(["run", *paths, "--dry-run"]) == 0
    assert "Campaign campaign" in capsys.readouterr().out
    assert main(["run", *paths, "--json"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert [study["study"] for study in told["studies"]] == ["first", "second"]
    assert "Study 2 of 2: second" in said.err
    text = (tmp_path / "reports" / "campaign" / "report.md").read_text()
    assert "first" in text
    assert "form only" in text  # the table's networks are named like the paper's, and are none of its trainings
    assert main(["report", "first", "second", "--out", "again"]) == 0
    assert (tmp_path / "again" / "report.html").is_file()
    campaign = {"name": "both", "question": "What do both say?", "studies": ["first.yaml", "second.yaml"]}
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(campaign))
    assert main(["report", "both.yaml"]) == 0
    assert "What do both say?" in (tmp_path / "reports" / "both" / "report.md").read_text()
    assert main(["status", "both.yaml"]) == 2
    assert "both.yaml lists studies" in capsys.readouterr().err
    assert main(["compare", "first", "second", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differs"] == []
    assert main(["compare", "first", "first"]) == 2


def _campaign(folder: Path, *studies: str) -> None:
    (folder / "both.yaml").write_text(yaml.safe_dump({"name": "both", "studies": list(studies)}))


def test_a_profile_that_was_run_is_not_the_campaigns_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = files(tmp_path, profiles={"smoke": {"name": "second-smoke"}})
    third = tmp_path / "third.yaml"
    third.write_text(yaml.safe_dump(yaml.safe_load(paths[0].read_text()) | {"name": "third"}))
    _campaign(tmp_path, "first.yaml", "second.yaml", "third.yaml")
    for path, profile in ((paths[0], None), (paths[1], "smoke"), (third, None)):
        open_study(path, profile)[1].database.close()
    assert main(["report", "both.yaml", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["studies"] == ["first", "third"]
    assert "Study 'second' has not begun, so it is not in the report." in said.err
    assert "second-smoke" not in (tmp_path / "reports" / "both" / "report.md").read_text()


def test_how_many_have_begun_is_said_where_two_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = files(tmp_path)
    _campaign(tmp_path, "first.yaml", "second.yaml")
    assert main(["report", "both.yaml"]) == 2
    assert "of 2 studies none has begun" in capsys.readouterr().err
    open_study(paths[0])[1].database.close()
    for command in (["report", "both.yaml"], ["report", "first", "second.yaml"], ["compare", "first", "second.yaml"]):
        assert main(command) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "of 2 studies only 'first' has begun" in said
        assert "`nas report first`" in said
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    "option",
    [["--format", "latex"], ["--plotlyjs", "directory"], ["--rank-lists", "3"], ["--maps", "3"], ["--no-images"]],
)
def test_what_only_the_report_of_one_study_knows_is_refused(
    option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _campaign(tmp_path, "first.yaml", "second.yaml")
    assert main(["report", "both.yaml", *option]) == 2
    assert f"{option[0]}: only for the report of one study" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(900)  # five studies and their pictures, beside the other tests
def test_the_gallery_of_the_documentation_runs_from_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stills, "_BROWSERS", ())  # the pictures of the documentation are drawn by its command
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    gallery = Path(nas.__file__).parents[1] / "benchmarks" / "placement_table" / "gallery.yaml"
    assert main(["run", str(gallery), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [study["trainings"]["failed"] for study in told["studies"]] == [0] * 5
    text = (tmp_path / "reports" / "gallery" / "report.md").read_text()
    assert "stand in 4 figures: numbers of different figures are not compared" in text  # one for a table
    rows = pd.read_csv(tmp_path / "reports" / "gallery" / "paper.csv")
    assert set(zip(rows["notation"], rows["loss"], strict=True)) == set(
        zip(paper_table()["notation"], paper_table()["loss"], strict=True)
    )
    assert set(rows["standing"]) == {"form only"}
    assert rows["seeds"].eq(3).all()
    assert rows["slowdown"].dropna().ge(0).all()  # no network is faster than the one whose layers it contains
    assert "Rows of the paper that" not in text  # each is there
    moved = text.partition("Table II beside the paper")[2]
    assert [moved.count(how) for how in ("| none |", "| two-step |")] == [2, 2]
    page = (tmp_path / "reports" / "gallery" / "report.html").read_text()
    assert 'href="../gallery_single/report.html"' in page


def test_the_budget_is_of_all_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    campaign = {"name": "both", "studies": ["first.yaml", "second.yaml"], "hours": 1e-9}
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(campaign))
    assert main(["run", "both.yaml"]) == 2
    assert "hours are spent, in study 'first'" in capsys.readouterr().err
