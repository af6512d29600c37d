"""`nas report` and `nas dashboard` from the command line: files, JSON, exit codes, one sentence."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from reporting_builders import ResultsBuilder, empty_study, store_study

from nas.cli.main import main
from nas.reporting import Study
from nas.storage import Repository, open_database


def test_report_writes_and_says_where(stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "market1501", "--db", stored, "--out", str(tmp_path), "--format", "html,csv"]) == 0
    assert (tmp_path / "report.html").exists()
    told = capsys.readouterr()
    assert told.err.index("reading its results") < told.err.index("report.html")
    assert told.out == ""


def test_report_as_json(stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "nothing_yet", "--db", stored, "--out", str(tmp_path), "--format", "md", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"]["md"].endswith("report.md")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "market1510"], "did you mean"),
        (["report", "market1501", "--format", "word"], "unknown report format"),
        pytest.param(["report", "market1501", "--plotlyjs", "cdn"], "include plotly.js", marks=pytest.mark.slow),
    ],
)
def test_wrong_input_is_one_sentence(
    arguments: list[str], words: str, stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--db", stored, "--out", str(tmp_path / "new")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "new" / "report.html").exists()


def test_a_missing_database_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["report", "x"], ["dashboard"]):
        assert main([*command, "--db", f"sqlite:///{tmp_path}/none.db"]) == 2
        assert "no database" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.db").write_bytes(b"not a database" * 100)
    assert main(["dashboard", "--db", f"sqlite:///{tmp_path}/broken.db"]) == 2
    assert "Error" in capsys.readouterr().err


def test_a_taken_port_is_one_sentence(stored: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["dashboard", "--db", stored, "--port", str(taken.getsockname()[1])]) == 2
    assert "is taken" in capsys.readouterr().err


@pytest.mark.parametrize(("form", "words"), [("text", "Adopted"), ("md", "## Adopted"), ("json", '"format": 1')])
def test_rules_are_shown_without_a_report(
    form: str, words: str, stored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("show", "export"):
        assert main(["rules", command, "market1501", "--db", stored, "--format", form]) == 0
        assert words in capsys.readouterr().out
    assert main(["rules", "show", "market1510", "--db", stored]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_notes_are_written_listed_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url, name, build = f"sqlite:///{tmp_path}/own.db", "resnet50+cnl@8", ResultsBuilder()
    for notation in ("resnet50", name):
        build.add(notation, stage="2-sweep", kind="sweep", seeds=2)
    with open_database(url) as database:
        store_study(Repository(database), replace(empty_study("market1501"), results=build.table()))
    assert main(["note", "market1501", "--db", url]) == 0
    assert "Nothing is noted" in capsys.readouterr().err
    assert main(["note", "market1501", name, "--star", "--tag", "robot", "--comment", "fits", "--db", url]) == 0
    assert capsys.readouterr().out.strip() == "★ robot: fits"
    assert main(["note", "market1501", "--db", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"candidate": name, "star": True, "tags": ["robot"], "comment": "fits"}
    ]
    table = Study.open(url, "market1501").candidates().set_index("notation")
    assert table.loc[[name], "star"].all()
    assert set(table.loc[[name], "tags"]) == {"robot"}
    assert main(["report", "market1501", "--db", url, "--out", str(tmp_path / "r"), "--format", "md"]) == 0
    assert "★ robot: fits" in (tmp_path / "r" / "report.md").read_text()
    assert main(["note", "market1501", "--star", "--db", url]) == 2
    assert "which candidate" in capsys.readouterr().err
