"""`nas db`: info, upgrade, check, export and import as a person uses them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from early_database import make_early_database
from sqlalchemy import text
from storage_builders import fill, finish_all, real_row

from nas.cli.main import main
from nas.storage import Repository, open_database
from nas.storage.schema import known_revisions
from nas.training import Recipe


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("NAS_DATABASE", "NAS_HOME", "NAS_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def made_up(tmp_path: Path) -> str:
    """`nas.db` with one finished study."""
    with open_database("nas.db") as database:
        repository = Repository(database)
        study_id, _, _ = fill(repository, 3, row_of=real_row, recipe_id=Recipe().id, recipe=Recipe().to_dict())
        finish_all(repository, study_id)
    return "sqlite:///nas.db"


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_info_tells_what_is_there(made_up: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "info", "--json"]) == 0
    found = answer(capsys)
    assert (found["url"], found["schema"], found["newest_schema"]) == (made_up, *2 * known_revisions()[-1:])
    assert found["rows"]["nas_training"] == 3  # type: ignore[index]
    assert main(["db", "info"]) == 0
    assert "the newest" in capsys.readouterr().out


def test_info_changes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["db", "info", "--db", "sqlite:///none.db"]) == 2
    assert "there is no database at none.db" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    make_early_database("sqlite:///old.db")
    assert main(["db", "info", "--db", "old.db"]) == 0
    assert "older: run `nas db upgrade`" in capsys.readouterr().out


def test_upgrade_makes_and_upgrades(capsys: pytest.CaptureFixture[str]) -> None:
    newest = known_revisions()[-1]
    assert main(["db", "upgrade", "--json"]) == 0
    assert answer(capsys) == {"url": "sqlite:///nas.db", "before": None, "after": newest}
    make_early_database("sqlite:///old.db")
    assert main(["db", "upgrade", "--db", "old.db", "--json"]) == 0
    assert answer(capsys)["before"] == "0002"
    assert main(["db", "upgrade"]) == 0
    assert f"is at schema {newest} already" in capsys.readouterr().err.replace("\n", " ")


def test_check_and_repair(made_up: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "check"]) == 0
    assert "Nothing is wrong" in capsys.readouterr().err
    with open_database(made_up) as database, database.engine.begin() as connection:
        connection.execute(text("UPDATE nas_stage_training SET is_open = 1 WHERE training_id = 1"))
    assert main(["db", "check", "--json"]) == 2
    assert answer(capsys)["left"] == ["ended_but_open"]
    assert main(["db", "check"]) == 2
    assert "1 training has ended" in capsys.readouterr().out
    assert main(["db", "check", "--repair"]) == 0
    assert "(repaired)" in capsys.readouterr().out
    assert main(["db", "check"]) == 0


def test_out_and_in_again(made_up: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "export", "made_up", "out/a.nas.zip"]) == 0
    assert "3 trainings" in capsys.readouterr().err.replace("\n", " ")
    assert main(["db", "import", "out/a.nas.zip", "--db", "other.db", "--name", "again", "--json"]) == 0
    assert answer(capsys)["study"] == "again"
    with open_database("other.db", create=False) as database:
        assert Repository(database).results("again")["map"].notna().all()


def test_checkpoints_go_to_a_folder_by_content_and_are_found_there(
    made_up: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, sha256 = tmp_path / "weights.pt", hashlib.sha256(b"weights").hexdigest()
    weights.write_bytes(b"weights")
    with open_database(made_up) as database, database.engine.begin() as connection:
        told = "UPDATE nas_training SET checkpoint_uri = :uri, checkpoint_sha256 = :sha256 WHERE id = 1"
        connection.execute(text(told), {"uri": str(weights), "sha256": sha256})
    kept = tmp_path / "kept" / f"{sha256}.pt"
    for content in (None, b"damaged", b"weights"):  # what is there before: nothing, another file, the file itself
        if content is not None:
            kept.write_bytes(content)
        assert main(["db", "export", "made_up", "a.nas.zip", "--checkpoints", "kept", "--json"]) == 0
        assert answer(capsys)["checkpoints"] == 1
        assert [kept] == list(kept.parent.iterdir())
        assert kept.read_bytes() == b"weights"
    assert zipfile.ZipFile("a.nas.zip").namelist() == ["study.db"]
    for name, content, found in (("again", b"weights", [str(kept)]), ("without", b"damaged", [])):
        kept.write_bytes(content)
        assert main(["db", "import", "a.nas.zip", "--db", f"{name}.db", "--checkpoints", "kept", "--json"]) == 0
        assert answer(capsys)["checkpoints"] == len(found)
        with open_database(f"{name}.db", create=False) as database:
            assert list(Repository(database).checkpoints_of("made_up")["checkpoint"].dropna()) == found


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["db", "export", "made_u", "a.zip"], "did you mean 'made_up'"),
        (["db", "export", "made_up", "a.zip", "--db", "none.db"], "there is no database"),
        (["db", "import", "none.zip", "--db", "other.db"], "there is no archive at none.zip"),
        (["db", "import", "nas.db", "--db", "other.db"], "is not an archive of a study"),
        (["db", "check", "--db", "redis://x"], "'redis' databases are not supported"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(
    made_up: str, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("nas.db-"))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err.replace("\n", " ")
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("nas.db-")) == before
