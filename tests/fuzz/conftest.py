"""A folder of its own for every fuzz test, with nothing in the environment that leads out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from fuzz.harness import Account

from nas.cli import main


@pytest.fixture(autouse=True, scope="session")
def built_once() -> Iterator[None]:
    """The tree of commands, made once for thousands of command lines."""
    command = typer.main.get_command(main.build_app())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "build_app", lambda: command)
        yield


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the test; caches lie beside it."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAS_DEBUG", "1")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NAS_DATABASE", "NAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    return here


@pytest.fixture
def stops_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nas run` ends well where it would make its database: what it was given was good enough to begin."""
    from nas import storage

    open_database = storage.open_database

    def stop(url: str, **settings: bool) -> Any:
        if settings or url == "sqlite://":  # a dry run looks for results
            return open_database(url, **settings)
        raise typer.Exit(0)

    monkeypatch.setattr(storage, "open_database", stop)


@pytest.fixture
def settle(record_property: Callable[[str, object], None]) -> Callable[[Account], None]:
    """Ends an account and hands its counts to the summary at the end of the run."""

    def end(account: Account) -> None:
        record_property("fuzz", (account.kind, account.settle()))

    return end
