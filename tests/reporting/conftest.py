"""Studies made once for all tests of reports and dashboard (nobody changes them)."""

from __future__ import annotations

from pathlib import Path

import pytest
from reporting_builders import empty_study, full_study, hostile_study, store_study

from nas.reporting.study_data import StudyData
from nas.storage import Repository, open_database


@pytest.fixture(scope="session")
def full() -> StudyData:
    """A finished study with everything in it."""
    return full_study()


@pytest.fixture(scope="session")
def empty() -> StudyData:
    """A study that has not begun."""
    return empty_study()


@pytest.fixture(scope="session")
def hostile() -> StudyData:
    """A study whose texts try to be markup."""
    return hostile_study()


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory, full: StudyData, empty: StudyData) -> str:
    """The URL of a database that holds the finished and the empty study."""
    url = f"sqlite:///{tmp_path_factory.mktemp('database')}/study.db"
    with open_database(url) as database:
        store_study(Repository(database), full)
        store_study(Repository(database), empty)
    return url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a report goes."""
    return tmp_path / "report"
