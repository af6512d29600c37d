"""Real trainings that are interrupted, whose checkpoints are damaged, or that cannot succeed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from fault_builders import (
    SHARE_AT_ONCE,
    STAND,
    TRAIN_NO_FURTHER,
    FaultStudy,
    Row,
    after_saves,
    end,
    spoil,
    until,
    until_it_stands,
    write_faulty_blocks,
)
from sqlalchemy import text

from nas.storage import Repository, open_database

pytestmark = pytest.mark.slow

SHARED = "SELECT id FROM nas_training WHERE checkpoint_uri IS NOT NULL AND status = 'running'"


def test_a_training_goes_on_on_another_machine(tmp_path: Path, expected_real: list[Row]) -> None:
    study = FaultStudy.real(tmp_path, checkpoints=str(tmp_path / "shared"))
    with study.watched():
        lost = study.worker(
            hooks=SHARE_AT_ONCE + after_saves(3, TRAIN_NO_FURTHER), NAS_HOME=str(tmp_path / "machine-a")
        )
        with open_database(study.url) as database:
            repository = Repository(database)
            until(
                lambda: bool(repository.rows(text(SHARED))), "a checkpoint in the shared store that others are told of"
            )
            end(lost)
            preempted = study.worker(hooks=after_saves(3, STAND), NAS_HOME=str(tmp_path / "machine-b"))
            until_it_stands(preempted)
            preempted.terminate()
            preempted.send_signal(signal.SIGCONT)
            study.finish(preempted)
            assert repository.status(study.name)["running"] == []
        study.finish(study.worker(NAS_HOME=str(tmp_path / "machine-c")))
    assert study.resumed() >= 2
    counts = study.counts(expected_real)
    assert counts.whole, counts.sentence()


@pytest.mark.parametrize("how", ["cut off", pytest.param("changed", marks=pytest.mark.heavy)])
def test_a_damaged_checkpoint_costs_time_only(tmp_path: Path, how: str, expected_real: list[Row]) -> None:
    study = FaultStudy.real(tmp_path)
    folder = tmp_path / ".nas" / "work"
    with study.watched():
        worker = study.worker(hooks=after_saves(3, STAND))
        until_it_stands(worker)
        end(worker)
        for path in folder.glob("*.pt"):
            spoil(path, how)
        study.finish(study.worker())
    assert list(folder.glob("*.unreadable"))
    counts = study.counts(expected_real)
    assert counts.whole, counts.sentence()


def test_trainings_that_cannot_succeed_are_told_apart(tmp_path: Path) -> None:
    study = FaultStudy.real(tmp_path, max_attempts=2, **write_faulty_blocks(tmp_path))
    study.finish(study.worker())
    with open_database(study.url) as database:
        repository = Repository(database)
        status = repository.status(study.name)
        results = repository.results(study.name)
        rows = [repository.training(int(i)) or {} for i in results["training_id"]]
    assert status["finished"]
    assert status["trainings"] == {"waiting": 0, "running": 0, "finished": 2, "failed": 6}
    assert status["failures"] == {"diverged": 2, "error": 2, "out_of_memory": 2}
    for row in rows:
        kind = row["failure_kind"]
        assert row["attempts"] == (2 if kind == "error" else 1)  # the others would fail again
        assert (row["failure_reason"] is None) == (kind is None)
        assert kind is None or "Traceback" in row["failure_traceback"]
    assert any("this block always fails" in (row["failure_reason"] or "") for row in rows)
