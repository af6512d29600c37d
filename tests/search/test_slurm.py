"""Studies on a real Slurm: whole, with cancelled, requeued and timed-out workers, and with jobs that never start."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fault_builders import FaultStudy
from private_postgres import PASSWORD, PrivatePostgres, serving
from private_slurm import MISSING, PrivateSlurm, can_start
from sqlalchemy import select

from nas.errors import StudyError
from nas.search.launchers import slurm as launching
from nas.search.launchers.base import WorkerTask
from nas.search.launchers.settings import SlurmSettings, minutes
from nas.storage import Repository, open_database
from nas.storage.models import Training
from nas.storage.standing import StudyStatus

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
SWEEP: list[Any] = [{"sweep": {"candidates": 10, "baselines": False}}]
WAIT_S = 120.0


@pytest.fixture(scope="module")
def slurm() -> Iterator[PrivateSlurm]:
    """One cluster of four slots."""
    if not can_start():
        pytest.skip(MISSING)
    cluster = PrivateSlurm()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    """The database that all nodes reach."""
    yield from serving()


@pytest.fixture(autouse=True)
def _cluster(slurm: PrivateSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of Slurm, here and in what is started here, find the cluster."""
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    monkeypatch.setenv("NAS_LAUNCHER", "")


@pytest.fixture
def study(tmp_path: Path, postgres: PrivatePostgres) -> FaultStudy:
    """Ten trainings of a third of a second."""
    return small(tmp_path, postgres)


def small(tmp_path: Path, postgres: PrivatePostgres, **changes: Any) -> FaultStudy:
    jobs = {"max_workers": 3, "time": 20, "poll_s": 0.5, **changes.pop("slurm", {})}
    url = postgres.create_database()
    return FaultStudy.replayed(tmp_path, url, SWEEP, launcher={"slurm": jobs}, **{"seconds": 0.3, **changes})


def until(holds: Callable[[], Any], words: str, study: FaultStudy) -> Any:
    """Waits for something, and returns it."""
    end = time.monotonic() + WAIT_S
    while not (found := holds()):
        assert time.monotonic() < end, f"{words}\n{study.said()}"
        time.sleep(0.1)
    return found


def status(study: FaultStudy) -> StudyStatus:
    with open_database(study.url) as database:
        return Repository(database).status(study.name)


def test_a_whole_study_and_what_status_says_of_its_jobs(study: FaultStudy) -> None:
    process = study.run("--on", "slurm")
    study_status = until(lambda: study.url and _begun(study), "no job is in the status", study)
    assert study_status["launch"]["launcher"] == "slurm"
    assert Path(study_status["launch"]["jobs"][0]["log"]).is_relative_to(study.folder / ".nas" / "slurm")
    commands = [process.args, *(p.info["cmdline"] for p in _processes())]
    assert PASSWORD not in str(commands)
    study.finish(process)
    assert status(study)["trainings"]["finished"] == 10
    assert status(study)["launch"] == {}
    logs = list((study.folder / ".nas" / "slurm" / study.name).glob("*_log.err"))
    assert any("finished" in log.read_text() for log in logs)
    held = [p for p in study.folder.rglob("*") if p.is_file() and PASSWORD in p.read_bytes().decode("latin-1")]
    assert [p.name for p in held] == ["study.yaml"]


def _begun(study: FaultStudy) -> StudyStatus | None:
    try:
        found = status(study)
    except Exception:  # not registered yet
        return None
    return found if found["launch"].get("jobs") else None


def _processes() -> Iterator[Any]:
    return iter(psutil.process_iter(["cmdline"]))


@pytest.mark.heavy
def test_a_cancelled_worker_gives_back_and_another_one_comes(study: FaultStudy, slurm: PrivateSlurm) -> None:
    with study.watched():
        process = study.run("--on", "slurm")
        study.wait_for(2, process)
        (victim, *_) = until(slurm.jobs, "no job runs", study)
        slurm.ask("scancel", victim)
        study.finish(process)
    assert status(study)["trainings"] == {"waiting": 0, "running": 0, "finished": 10, "failed": 0}


@pytest.mark.heavy
def test_a_requeued_worker_comes_back_as_the_same_job(
    tmp_path: Path, postgres: PrivatePostgres, slurm: PrivateSlurm
) -> None:
    study = small(tmp_path, postgres, seconds=1.5, slurm={"max_workers": 1})
    with study.watched():
        process = study.run("--on", "slurm")
        study.wait_for(1, process)
        (job, *_) = until(slurm.jobs, "no job runs", study)
        slurm.ask("scontrol", "requeue", job)
        study.finish(process)
    assert "Restarts=1" in slurm.ask("scontrol", "show", "job", job)
    assert status(study)["trainings"]["finished"] == 10


@pytest.mark.heavy
@pytest.mark.parametrize("number", ["USR2", "USR1", "TERM"])
def test_a_signal_of_the_cluster_gives_the_claim_back(
    tmp_path: Path, postgres: PrivatePostgres, slurm: PrivateSlurm, number: str
) -> None:
    study = small(tmp_path, postgres, seconds=1.0, slurm={"max_workers": 1})
    with study.watched():
        process = study.run("--on", "slurm")
        study.wait_for(1, process)
        (job, *_) = until(slurm.jobs, "no job runs", study)
        slurm.ask("scancel", f"--signal={number}", job)
        study.finish(process)
    counts = status(study)["trainings"]
    assert counts == {"waiting": 0, "running": 0, "finished": 10, "failed": 0}
    with open_database(study.url) as database:
        attempts = [row.attempts for row in Repository(database).rows(_attempts())]
    assert attempts == [1] * 10  # what was given back does not count


def _attempts() -> Any:
    return select(Training.attempts)


@pytest.mark.heavy
def test_a_killed_worker_costs_one_attempt_and_no_result(study: FaultStudy, slurm: PrivateSlurm) -> None:
    with study.watched():
        process = study.run("--on", "slurm")
        study.wait_for(2, process)
        (victim, *_) = until(slurm.jobs, "no job runs", study)
        slurm.ask("scancel", "--signal=KILL", "--full", victim)
        study.finish(process)
    assert status(study)["trainings"]["finished"] == 10


def test_a_wrong_partition_is_refused_in_the_words_of_sbatch(tmp_path: Path, postgres: PrivatePostgres) -> None:
    study = small(tmp_path, postgres, slurm={"partition": "nowhere"})
    study.finish(study.run("--on", "slurm"), 2)
    assert "Slurm takes no worker: invalid partition specified: nowhere" in " ".join(study.said().split())


@pytest.mark.heavy
def test_a_job_that_never_starts_is_told_with_slurms_reason_and_stopped_from_anywhere(
    tmp_path: Path, postgres: PrivatePostgres, slurm: PrivateSlurm
) -> None:
    study = small(tmp_path, postgres, slurm={"partition": "closed"})
    process = study.run("--on", "slurm", "--detach")
    study.finish(process)
    found = until(lambda: _begun(study), "no job is in the status", study)
    assert found["launch"]["jobs"][0]["state"] == "waiting"
    until(lambda: "PartitionDown" in study.said(), "the reason is not told", study)
    asked = study._start(["status", study.name, "--db", study.url], "", {})
    assert asked.wait(60) == 0
    assert "waiting, PartitionDown" in study.said()
    ended = study._start(["stop", study.name, "--now", "--db", study.url], "", {})
    assert ended.wait(60) == 0
    until(lambda: not slurm.jobs("PENDING"), "the jobs are still there", study)
    until(lambda: status(study)["launch"] == {}, "the runner is still there", study)
    assert "has stopped" in study.said()


@pytest.mark.heavy
def test_a_full_queue_is_waited_for(tmp_path: Path, postgres: PrivatePostgres, slurm: PrivateSlurm) -> None:
    blocker = slurm.ask("sbatch", "--cpus-per-task=4", "--output=/dev/null", "--wrap=sleep 8").split()[-1]
    study = small(tmp_path, postgres)
    study.finish(study.run("--on", "slurm"))
    slurm.ask("scancel", blocker)
    assert "waits: Resources" in study.said() or "waits: Priority" in study.said()
    assert status(study)["trainings"]["finished"] == 10


def test_sqlite_is_refused_for_workers_on_other_machines(tmp_path: Path) -> None:
    study = FaultStudy.replayed(tmp_path, stages=SWEEP)
    study.finish(study.run("--on", "slurm"), 2)
    said = " ".join(study.said().split())
    assert "is an SQLite file, which serves one" in said
    assert "initdb -D" in said


def test_without_a_controller_the_reason_is_one_sentence(
    study: FaultStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nowhere = tmp_path / "slurm.conf"
    nowhere.write_text("ClusterName=none\nSlurmctldHost=x(127.0.0.1)\nSlurmctldPort=1\nMessageTimeout=2\n")
    monkeypatch.setenv("SLURM_CONF", str(nowhere))
    study.finish(study.run("--on", "slurm"), 2)
    assert "Slurm cannot be used here" in study.said()


def test_time_limits_are_read_as_slurm_writes_them() -> None:
    assert [minutes(t) for t in (5, "90", "00:30:00", "2-00:00:00")] == [5, 90, 30, 2880]
    with pytest.raises(ValueError, match="time"):
        SlurmSettings(time=0)


def test_an_array_larger_than_the_cluster_takes_is_sent_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = launching.SlurmLauncher(WorkerTask("study", "sqlite://"), SlurmSettings(partition="closed"), tmp_path)
    launcher._largest = 2
    launcher.submit(5)
    ids = sorted(job.id for job in launcher.jobs())
    assert len({number.split("_")[0] for number in ids}) == 3
    launcher.end()
    assert (subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout) == ""
    with pytest.raises(StudyError, match="invalid partition"):
        launching.SlurmLauncher(WorkerTask("s", "sqlite://"), SlurmSettings(partition="no"), tmp_path).submit(1)
