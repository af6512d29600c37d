"""Databases for the latency tests: a fresh one a test, on each engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from private_postgres import PrivatePostgres, serving

from nas.storage import Repository, open_database


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    """One private PostgreSQL server for the tests of a module."""
    yield from serving()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    server: PrivatePostgres = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.fixture
def repository(url: str) -> Iterator[Repository]:
    """A repository on a fresh database."""
    with open_database(url) as database:
        yield Repository(database, patience_s=20)


@pytest.fixture
def sqlite_repository(tmp_path: Path) -> Iterator[Repository]:
    """A repository on a fresh SQLite file, where the engine does not matter."""
    with open_database(f"sqlite:///{tmp_path}/study.db") as database:
        yield Repository(database)
