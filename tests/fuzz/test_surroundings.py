"""The same results, or a sentence, wherever a study is run."""

from __future__ import annotations

import pytest
from fault_builders import Row
from fuzz.surroundings import NAMES, expected, try_surroundings

pytestmark = [pytest.mark.slow, pytest.mark.heavy, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return expected(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("name", NAMES)
def test_surroundings_change_no_result(name: str, right: list[Row]) -> None:
    found = try_surroundings(name, right)
    if found is None:
        pytest.skip("needs faketime, or to be run as root")
    assert found.wrong is None, found.wrong
