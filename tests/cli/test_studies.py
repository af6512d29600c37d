"""`nas studies`: list, delete and rename with confirmation, retry."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from storage_builders import fill, finish_all

from nas.cli.main import main
from nas.storage import Repository, open_database


@pytest.fixture(autouse=True)
def two_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    with open_database("nas.db") as database:
        repository = Repository(database)
        first, (stage,), _ = fill(repository, 3, study="first")
        finish_all(repository, first)
        repository.set_stage(stage, status="finished")
        second, _, _ = fill(repository, 4, study="second")
        claim = repository.claim_training(second, "w")
        assert claim is not None
        repository.fail_training(claim.id, "w", "out_of_memory", "needs 9 GiB")


def names() -> list[str]:
    with open_database("nas.db") as database:
        return [study.name for study in Repository(database).studies()]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studies", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["study"], first["state"], first["stages_finished"]) == ("first", "finished", 1)
    assert second["trainings"] == {"waiting": 0, "running": 0, "finished": 3, "failed": 1}
    assert main(["studies"]) == 0
    assert "first" in capsys.readouterr().out


def test_deleting_asks_first(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["studies", "delete", "first"]) == 2
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert main(["studies", "delete", "first"]) == 2
    assert "0 trainings of its own" in capsys.readouterr().err
    assert names() == ["first", "second"]
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert main(["studies", "delete", "first"]) == 0
    assert names() == ["second"]
    assert main(["studies", "--db", "nas.db", "delete", "second", "--yes", "--json"]) == 0
    assert names() == []


def test_renaming_asks_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studies", "rename", "first", "third"]) == 2
    assert main(["studies", "rename", "first", "second", "--yes"]) == 2
    assert "already" in capsys.readouterr().err
    assert main(["studies", "rename", "first", "third", "--yes"]) == 0
    assert names() == ["third", "second"]


def test_failures_can_be_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studies", "retry", "second", "--kind", "diverged", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["waiting_again"] == 0
    assert main(["studies", "retry", "second", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["waiting_again"] == 1
    assert main(["studies", "retry", "secnd"]) == 2
    assert "did you mean 'second'" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("width", [20, 40, 58, 200])
def test_headings_never_break_within_a_word(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 40 columns it said "finishe", "d" and "waitin", "g"."""
    monkeypatch.setenv("COLUMNS", str(width))
    for command in (["studies"], ["status", "second"]):
        assert main(command) == 0
        shown = capsys.readouterr().out
        assert all(re.search(rf"\b{word}\b", shown) for word in ("finished", "running", "waiting", "failed")), shown
    assert ("  failed: 1\n" in shown) == (width < 60)
