"""Notes on candidates: kept, changed in part, of one study, and gone with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from storage_builders import fill, real_row

from nas.errors import StudyError
from nas.storage import NoteInfo, Repository, delete_study, export_study, import_study, open_database

CNL = str(real_row(3)["notation"])


@pytest.fixture
def noted(repository: Repository) -> Repository:
    """Two studies of the same five candidates."""
    for name in ("one", "other"):
        fill(repository, 5, study=name, row_of=real_row)
    return repository


def test_what_is_not_told_stays(noted: Repository) -> None:
    before = noted.change_token("one")
    assert noted.note("one", CNL, star=True, tags=["robot", "robot", "small"]) == NoteInfo(True, ("robot", "small"))
    assert noted.note("one", CNL, comment=" fits ") == NoteInfo(True, ("robot", "small"), "fits")
    assert noted.note("one", str(real_row(3)["id"]), star=False) == NoteInfo(False, ("robot", "small"), "fits")
    assert noted.named_notes("one") == {CNL: NoteInfo(False, ("robot", "small"), "fits")}
    assert noted.named_notes("other") == {}
    assert noted.change_token("one") != before  # an open dashboard shows it


def test_what_others_note_meanwhile_stays(noted: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    write = noted.write

    def later(work: Any) -> Any:
        monkeypatch.setattr(noted, "write", write)
        noted.note("one", CNL, comment="theirs")
        return write(work)

    monkeypatch.setattr(noted, "write", later)
    assert noted.note("one", CNL, star=True) == NoteInfo(True, (), "theirs")


def test_an_empty_note_is_none(noted: Repository) -> None:
    noted.note("one", CNL, star=True, comment="x")
    assert noted.note("one", CNL, star=False, comment="") == NoteInfo()
    assert noted.named_notes("one") == {}


@pytest.mark.parametrize(
    ("candidate", "changes", "words"),
    [
        ("resnet50+cnl@44", {"star": True}, "no candidate"),
        (CNL, {"tags": ["a,b"]}, "a tag is"),
        (CNL, {"tags": [""]}, "a tag is"),
        (CNL, {"comment": "x" * 20_000}, "10000 characters"),
    ],
)
def test_what_cannot_be_noted_is_said(
    noted: Repository, candidate: str, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(StudyError, match=words):
        noted.note("one", candidate, **changes)  # type: ignore[arg-type]
    assert noted.named_notes("one") == {}


def test_notes_travel_in_archives_and_go_with_their_study(noted: Repository, tmp_path: Path) -> None:
    noted.note("one", CNL, star=True, comment="★ keep")
    noted.note("other", CNL, comment="mine")
    export_study(noted, "one", tmp_path / "one.zip")
    delete_study(noted, "one")
    assert noted.named_notes("other") == {CNL: NoteInfo(comment="mine")}
    with open_database(f"sqlite:///{tmp_path}/far.db") as database:
        far = Repository(database)
        import_study(far, tmp_path / "one.zip", name="again")
        assert far.named_notes("again") == {CNL: NoteInfo(True, (), "★ keep")}
