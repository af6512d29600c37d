"""What a job of an engine does with its worker, without the engine."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas.search.launchers.ray import connect
from nas.search.launchers.slurm import SlurmWorker

GIVES_BACK = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
pathlib.Path("ready").touch()
time.sleep(1000)
"""


def test_a_signal_in_the_midst_of_waiting_for_the_worker_lets_it_give_back(tmp_path: Path) -> None:
    (tmp_path / "address").write_text("sqlite:///study.db")
    worker = SlurmWorker([sys.executable, "-c", GIVES_BACK], str(tmp_path), str(tmp_path / "address"))
    again: list[Any] = []

    def stop(*_: object) -> None:
        if (tmp_path / "ready").exists() and not again:
            again.append(worker.checkpoint())

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
        assert worker() == 7
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert (again[0].function.command, again[0].function._child) == (worker.command, None)


def test_a_cluster_of_this_machine_is_not_one_that_was_left_running_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray looks for one unless it is told not to, and refuses what it is told of a new one."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=lambda **options: asked.append(options)))
    for address in ("", "10.0.0.1:6379"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        connect()
    assert [options["address"] for options in asked] == ["local", "10.0.0.1:6379"]
