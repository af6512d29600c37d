"""Workers that are paused, cannot reach the database for a while, or share a machine; and what they print."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from fault_builders import FaultStudy, Row, stop_when, until, workers_of
from private_postgres import PASSWORD, PrivatePostgres
from search_builders import open_study, study_file

from nas.errors import StorageError
from nas.search.checkpoints import CheckpointFiles
from nas.search.launchers import local as running
from nas.search.launchers.base import WorkerTask
from nas.search.worker import Worker
from nas.storage import Repository, open_database
from nas.storage.checkpoint_store import CheckpointStore

SWEEP = [{"sweep": {"design": "stratified", "candidates": 3, "baselines": False}}]


@pytest.mark.slow
def test_a_worker_that_slept_too_long_finds_its_training_gone(tmp_path: Path, expected: list[Row]) -> None:
    study = FaultStudy.replayed(tmp_path, seconds=0.5)
    with study.watched():
        sleeper = study.worker("--name", "sleeper", lease=1)
        with open_database(study.url) as database:
            repository = Repository(database)

            def trains() -> bool:
                """It has a training, and stands in no transaction, which would hold everybody up."""
                with suppress(sqlite3.OperationalError), closing(sqlite3.connect(tmp_path / "study.db", 0.2)) as other:
                    other.execute("BEGIN IMMEDIATE")
                    return bool(repository.status(study.name)["running"])
                return False

            stop_when(sleeper, trains, "a running training")
            (held,) = repository.status(study.name)["running"]
            study.finish(study.worker(lease=1))
            stored = repository.training(held["training_id"]) or {}
        sleeper.send_signal(signal.SIGCONT)
        study.finish(sleeper)
    assert (held["owner"], stored["status"], stored["attempts"]) == ("sleeper", "finished", 2)
    assert stored["owner"] != "sleeper"
    counts = study.counts(expected)
    assert counts.whole, counts.sentence()


def test_the_heart_goes_on_after_an_error(tmp_path: Path) -> None:
    _, _, context = open_study(study_file(tmp_path, SWEEP))
    worker = Worker(context, CheckpointFiles(CheckpointStore(tmp_path / "store"), tmp_path / "work"), lease_s=0.03)
    beats: list[float] = []

    def beat() -> None:
        beats.append(time.monotonic())
        if len(beats) < 3:
            raise StorageError("the database is away")

    with worker._renewing(beat):
        until(lambda: len(beats) >= 5, "beats after the error")


def test_workers_share_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(running, "usable_cores", lambda: 8)
    task = WorkerTask("study", f"postgresql://robot:{PASSWORD}@h/d")
    workers = running.LocalLauncher(task, 3, tmp_path)
    assert workers._threads() == 2
    seen = [workers._environment() for _ in range(3)]
    assert {values["OMP_NUM_THREADS"] for values in seen} == {"2"}
    assert {values["NAS_DATABASE"] for values in seen} == {task.url}
    assert PASSWORD not in repr(workers)


@pytest.mark.slow
@pytest.mark.postgres
def test_the_password_is_nowhere_to_be_seen(tmp_path: Path, postgres: PrivatePostgres) -> None:
    study = FaultStudy.replayed(tmp_path, "sqlite:///unused.db", SWEEP, seconds=0.5)
    study.url = postgres.create_database()
    with study.held("sweep"):
        process = study.run(report=True, NAS_DATABASE=study.url)
        until(lambda: process.poll() is not None or bool(workers_of(process)), "a worker")
        commands = [process.args, *(worker.cmdline() for worker in workers_of(process))]
    study.finish(process)
    assert PASSWORD not in str(commands)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "report.html" for path in files)
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []
    wrong = study.url.replace(PASSWORD, PASSWORD + "-wrong")
    study.finish(study.run(NAS_DATABASE=wrong), 2)
    assert "refuses the user or password" in study.said()
    assert PASSWORD not in study.said(None)
