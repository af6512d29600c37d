"""Studies are found by file, name, database, or nothing; what is ambiguous is said with the names."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
import yaml
from search_builders import open_study, study_file

from nas.cli.main import main
from nas.errors import StudyError
from nas.search import find_databases, find_study, studies_here
from nas.storage import Repository, open_database

SWEEP = [{"sweep": {"blocks": 1, "candidates": 3, "seeds": 1}}]


def _registered(folder: Path, name: str, database: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = study_file(folder, SWEEP, name=name, database=database)
    open_study(path)[1].database.close()
    return path


def _wish_of(name: str, database: str) -> str:
    with open_database(database, create=False, read_only=True) as opened:
        return str(Repository(opened).status(name)["wish"])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    return tmp_path


def test_the_only_study_needs_no_name(here: Path) -> None:
    _registered(here / "elsewhere", "one", "sqlite:///one.db")
    assert find_study(None) == ("one", "sqlite:///one.db")
    assert find_databases(None) == ["sqlite:///one.db"]


def test_by_name_in_any_database_of_the_folder(here: Path) -> None:
    _registered(here / "a", "one", "sqlite:///one.db")
    _registered(here / "b", "two", "sqlite:///two.sqlite3")
    (here / "notes.db").write_text("not a database")
    assert find_study("two") == ("two", "sqlite:///two.sqlite3")
    assert find_study("one.db") == ("one", "one.db")
    assert [study.name for study in studies_here()] == ["one", "two"]
    with pytest.raises(StudyError, match=r"2 studies here: one \(waiting\), two \(waiting\)"):
        find_study(None)
    assert find_databases(None) == ["sqlite:///notes.db", "sqlite:///one.db", "sqlite:///two.sqlite3"]
    assert find_databases("two") == ["sqlite:///two.sqlite3"]
    with pytest.raises(StudyError, match="unknown study 'tow'; did you mean 'two'"):
        find_study("tow")


def test_databases_that_study_files_name_are_looked_at(here: Path) -> None:
    (here / "data").mkdir()
    _registered(here / "studies", "deep", "sqlite:///data/deep.db")
    assert find_study("deep") == ("deep", "sqlite:///data/deep.db")


def test_a_profile_that_was_run_is_found_by_its_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _registered(here / "a", "deep_smoke", "sqlite:///smoke.db")
    written = yaml.safe_load(path.read_text())
    written |= {"name": "deep", "database": "sqlite:///deep.db"}
    written["profiles"] = {"smoke": {"name": "deep_smoke", "database": "sqlite:///smoke.db"}}
    path.write_text(yaml.safe_dump(written))
    assert find_study(str(path)) == ("deep_smoke", "sqlite:///smoke.db")
    assert main(["status", str(path)]) == 0
    assert "Study 'deep' itself has not run" in capsys.readouterr().err
    _registered(here / "b", "deep", "sqlite:///deep.db")
    assert find_study(str(path)) == ("deep", "sqlite:///deep.db")
    capsys.readouterr()
    assert main(["status", str(path), "--profile", "smoke", "--json"]) == 0
    told = capsys.readouterr()
    assert (json.loads(told.out)["study"], told.err) == ("deep_smoke", "")
    assert main(["report", str(path), "--profile", "smoke", "--format", "md"]) == 0
    assert (here / "reports" / "deep_smoke" / "report.md").exists()
    assert main(["pause", str(path), "--profile", "smoke"]) == 0
    assert "Study 'deep_smoke' is paused. Go on" in capsys.readouterr().err
    assert (_wish_of("deep_smoke", "sqlite:///smoke.db"), _wish_of("deep", "sqlite:///deep.db")) == ("pause", "run")
    assert find_study(str(path), "sqlite:///smoke.db", "smoke") == ("deep_smoke", "sqlite:///smoke.db")
    with pytest.raises(StudyError, match="unknown profile 'smok'; did you mean 'smoke'"):
        find_study(str(path), profile="smok")
    with pytest.raises(StudyError, match="--profile smoke is a profile of a study's file"):
        find_study("deep", profile="smoke")


def test_a_profile_that_changes_only_the_database_is_found_by_its_file(here: Path) -> None:
    path = _registered(here / "a", "deep", "sqlite:///smoke.db")
    written = yaml.safe_load(path.read_text())
    written |= {"database": "sqlite:///deep.db", "profiles": {"smoke": {"database": "sqlite:///smoke.db"}}}
    path.write_text(yaml.safe_dump(written))
    assert find_study(str(path)) == find_study(str(path), profile="smoke") == ("deep", "sqlite:///smoke.db")
    _registered(here / "b", "deep", "sqlite:///long.db")
    written["profiles"] |= {"long": {"database": "sqlite:///long.db"}}
    path.write_text(yaml.safe_dump(written))
    with pytest.raises(StudyError, match=r"several profiles of .* were run: long, smoke"):
        find_study(str(path))
    assert find_study(str(path), "sqlite:///long.db") == ("deep", "sqlite:///long.db")


def test_one_name_in_two_databases_is_asked_for(here: Path) -> None:
    _registered(here / "a", "one", "sqlite:///one.db")
    _registered(here / "b", "one", "sqlite:///two.db")
    with pytest.raises(StudyError, match="several databases have a study 'one'"):
        find_study("one")
    assert find_study("one", "sqlite:///two.db") == ("one", "sqlite:///two.db")


def test_nothing_here_is_said(here: Path) -> None:
    with pytest.raises(StudyError, match="no database with a study"):
        find_study(None)
    with pytest.raises(StudyError, match="this folder holds no study"):
        find_study("one")


def test_commands_take_what_is_here(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _registered(here / "a", "one", "sqlite:///one.db")
    assert main(["status"]) == 0
    assert "Study one" in capsys.readouterr().out
    assert main(["studies", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(row["study"], row["database"]) for row in listed] == [("one", "sqlite:///one.db")]
    assert main(["studies"]) == 0
    assert "sqlite:///one.db" in capsys.readouterr().out


def test_databases_that_cannot_be_read_are_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _registered(here / "a", "one", "sqlite:///one.db")
    with sqlite3.connect("one.db") as database:
        database.execute("UPDATE nas_alembic_version SET version_num = '9999_later'")
    database.close()
    Path("pictures.db").write_bytes(b"no database at all" * 100)
    for ask in (find_study, find_databases):
        with pytest.raises(StudyError, match=r"no database with a study; one.db was passed over: .*; pictures.db was"):
            ask(None)
    assert main(["studies", "list", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == []
    assert "one.db was passed over" in said.err
