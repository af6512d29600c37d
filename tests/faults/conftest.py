"""A PostgreSQL for the fault tests, and studies that nobody disturbs to compare with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fault_builders import FaultStudy, Row, undisturbed
from private_postgres import PrivatePostgres, serving


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """One private PostgreSQL server for the fault tests of this process."""
    yield from serving()


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """The rows of the short replayed study when nobody disturbs it."""
    return undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="session")
def expected_real(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """The rows of the study of real trainings when nobody disturbs it."""
    study = FaultStudy.real(tmp_path_factory.mktemp("undisturbed-real"))
    study.finish(study.worker())
    return study.plan()
