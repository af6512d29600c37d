"""Databases for the storage tests: a fresh one a test, on each engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from early_database import make_early_database
from private_postgres import PrivatePostgres, serving

from nas.storage import Database, Repository, open_database


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """One private PostgreSQL server for all tests of the session."""
    yield from serving()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    server: PrivatePostgres = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """An open database with the newest schema."""
    with open_database(url) as opened:
        yield opened


@pytest.fixture
def repository(database: Database) -> Repository:
    """A repository on a fresh database."""
    return Repository(database, patience_s=20)


@pytest.fixture
def early_url(url: str) -> str:
    """The address of a database as the last version before the first release (schema "0002") left it."""
    return make_early_database(url)
