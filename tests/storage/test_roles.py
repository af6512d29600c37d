"""A role that only reads: made by the SQL of the documentation, it sees everything and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_snippets import ROOT, snippets
from private_postgres import PASSWORD, PrivatePostgres, serving
from search_builders import study_file
from storage_builders import request

from nas.cli.main import main
from nas.errors import StorageError
from nas.reporting.dashboard.source import StudySource
from nas.search.definition import load_study
from nas.search.runner import register
from nas.storage import Repository, open_database

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server() -> Iterator[PrivatePostgres]:
    """A server of this module's own: roles belong to a whole server."""
    yield from serving()


def test_a_reader_sees_everything_and_writes_nothing(
    server: PrivatePostgres, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = server.create_database()
    file = study_file(tmp_path, [{"sweep": {"candidates": 3}}], database=url)
    with open_database(url) as database:
        register(load_study(file), Repository(database))
    page = ROOT / "docs" / "how-to" / "database.md"
    (sql,) = [s.text for s in snippets(page) if s.language == "sql"]
    server.psql(sql.replace("LOGIN", "LOGIN PASSWORD 'looks-only'"), database=url.rsplit("/", 1)[1])
    reader = re.sub(rf"nas:{PASSWORD}@", "nas_reader:looks-only@", url)
    assert main(["status", "replayed", "--db", reader]) == 0
    assert "sweep" in capsys.readouterr().out
    assert [row["study"] for row in StudySource(reader).studies()] == ["replayed"]
    assert main(["stop", "replayed", "--db", reader]) == 2
    assert "looks-only" not in capsys.readouterr().err
    with open_database(reader) as database, pytest.raises(StorageError):
        Repository(database).request_trainings(1, [request(0)])
    with open_database(url) as database:
        assert Repository(database).status("replayed")["wish"] == "run"
