"""A folder of its own for every fuzz test, with nothing in the environment that leads out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fuzz.harness import Account, build_once, own_folder, stop_before_work


@pytest.fixture(autouse=True, scope="session")
def built_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        build_once(patch)
        yield


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the test; caches lie beside it."""
    return own_folder(tmp_path, monkeypatch)


@pytest.fixture
def stops_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_before_work(monkeypatch)


@pytest.fixture
def settle(record_property: Callable[[str, object], None]) -> Callable[[Account], None]:
    """Ends an account and hands its counts to the summary at the end of the run."""

    def end(account: Account) -> None:
        record_property("fuzz", (account.kind, account.settle()))

    return end
