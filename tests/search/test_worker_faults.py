"""Whose fault the end of a training is, and what a worker, its runner and the command make of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from fault_builders import FaultStudy, until, workers_of
from search_builders import open_study, study_file, work
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from nas.errors import DataError, SpaceError, StorageError, StudyError, TrainingError, causes
from nas.latency.isolation import exclusive_measurement
from nas.networks.weights import find_weights, read_state
from nas.project import diagnosis
from nas.search import worker as working
from nas.search.checkpoints import CheckpointFiles
from nas.search.context import StudyContext
from nas.search.execution import Execution
from nas.search.joining import joined
from nas.search.launchers import local as running
from nas.search.launchers.base import HUNG, JobPool, WorkerTask, exit_words
from nas.search.launchers.choice import launcher_for, launchers_here
from nas.search.launchers.local import LocalLauncher
from nas.search.worker import Worker
from nas.spaces import DesignSpace, own_code
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.models import Epoch
from nas.storage.standing import StudyStatus
from nas.training.failures import Diverged, OutOfMemory, TrainingInterrupted, fault_of
from nas.training.recipe import load_recipe, with_teachers
from nas.training.results import EpochRecord

STAGES: list[Any] = [{"sweep": {"design": "stratified", "candidates": 3, "baselines": False}}]


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (TrainingInterrupted("stop"), "stopped"),
        (KeyboardInterrupt(), "stopped"),
        (PermissionError(13, "Permission denied", "work/a.pt"), "surroundings"),
        (OSError(28, "No space left on device"), "surroundings"),
        (raised_from(TrainingError("cannot be written"), OSError(30, "Read-only file system")), "surroundings"),
        (DataError("images are missing"), "surroundings"),
        (StudyError("the far device is unknown"), "surroundings"),
        (StorageError("the checkpoint store s3://bucket/nas cannot be used"), "surroundings"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "device"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "device"),
        (OutOfMemory("out of memory on cuda"), "candidate"),
        (Diverged("loss is nan"), "candidate"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "candidate"),
        (KeyError("x"), "candidate"),
    ],
)
def test_every_end_has_one_whose_fault_it_is(error: BaseException, fault: str) -> None:
    assert fault_of(error) == fault


def test_epochs_of_a_time_without_the_database_are_delivered_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training waited for the database at the end of each epoch, and was given up after five minutes."""
    _, repository, context = open_study(study_file(tmp_path, STAGES))
    Worker(context, None).advance()  # type: ignore[arg-type]
    claim = repository.claim_training(context.study_id, "me", 60.0)
    assert claim is not None
    execution = Execution(context, None)  # type: ignore[arg-type]

    def away() -> None:
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection unexpectedly"))

    with monkeypatch.context() as outage:
        outage.setattr(repository.database, "write", away)
        for epoch in (1, 2):
            execution._note_epoch(claim, EpochRecord(epoch, 0.1, {"id": 1.0}, 2.0, 8))
    assert repository.rows(select(Epoch.epoch)) == []
    execution._note_epoch(claim, EpochRecord(3, 0.1, {"id": 0.5}, 2.0, 8))
    assert [row.epoch for row in repository.rows(select(Epoch.epoch).order_by(Epoch.epoch))] == [1, 2, 3]


def test_files_that_are_not_there_are_no_candidate_s_fault(tmp_path: Path) -> None:
    """On a machine without them every candidate would fail, one after the other."""
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04 no archive")
    taught = load_recipe({"distil": {"teacher": str(tmp_path / "none.pt")}})
    for look in (
        lambda: find_weights("resnet18", tmp_path / "none.pth"),
        lambda: read_state(tmp_path / "broken.pth"),
        lambda: with_teachers(taught),
    ):
        with pytest.raises(TrainingError) as caught:
            look()
        assert fault_of(caught.value) == "surroundings"


def test_causes_that_lead_back_to_themselves_end() -> None:
    error = ValueError("first")
    error.__cause__ = error
    other = RuntimeError("second")
    other.__cause__ = error
    assert list(causes(other)) == [other, error]
    assert fault_of(other) == "candidate"


def worker_of(folder: Path, **changes: Any) -> tuple[Worker, Any]:
    _, repository, context = open_study(study_file(folder, STAGES, **changes))
    files = CheckpointFiles(CheckpointStore(folder / "store"), folder / "work")
    return Worker(context, files), repository


def test_a_fault_of_the_surroundings_is_not_booked_on_the_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied", "/shared/work")

    worker, repository = worker_of(tmp_path)
    monkeypatch.setattr(Execution, "run", refused)
    with pytest.raises(PermissionError):
        worker.run()
    status = repository.status("replayed")
    assert status["trainings"]["failed"] == 0
    assert status["trainings"]["running"] == 0
    assert status["trainings"]["waiting"] == 3


def test_a_lost_gpu_costs_no_candidate_its_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    worker, repository = worker_of(tmp_path)
    monkeypatch.setattr(Execution, "run", lost)
    for _ in range(2):  # max_attempts is 3: two processes may be lost with it
        with pytest.raises(RuntimeError):
            worker.run()
        assert repository.status("replayed")["trainings"]["failed"] == 0
    with pytest.raises(RuntimeError):
        worker.run()
    assert repository.status("replayed")["trainings"]["failed"] == 1  # it takes every process with it: not for ever


def test_a_sign_of_life_that_comes_late_says_nothing_of_the_next_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database was slow, the next training was given up as another worker's, and waited for its lease."""
    worker, repository = worker_of(tmp_path)
    worker.lease_s = 0.03
    monkeypatch.setattr(working, "BEAT_S", 0.0)
    beating, begun = threading.Event(), threading.Event()
    hearts: list[threading.Thread] = []
    heartbeat, run = repository.heartbeat, Execution.run
    stopped: list[bool] = []

    def slow(training: int, owner: str) -> bool:
        if hearts:
            return bool(heartbeat(training, owner))
        hearts.append(threading.current_thread())
        beating.set()
        assert begun.wait(240)
        return bool(heartbeat(training, owner))  # of a training that has ended

    def trained(execution: Execution, claim: Any, should_stop: Any) -> Any:
        if not stopped:
            assert beating.wait(240)
        else:
            begun.set()
            hearts[0].join()
        stopped.append(should_stop())
        return run(execution, claim, should_stop)

    monkeypatch.setattr(repository, "heartbeat", slow)
    monkeypatch.setattr(Execution, "run", trained)
    assert worker.run() == 3
    assert stopped == [False] * 3


def test_a_training_over_its_limit_is_a_timeout(tmp_path: Path) -> None:
    _, repository, context = open_study(study_file(tmp_path, STAGES, seconds=30.0, max_training_hours=1e-5))
    files = CheckpointFiles(CheckpointStore(tmp_path / "store"), tmp_path / "work")
    assert Worker(context, files, lease_s=0.3).run() == 0
    assert repository.status("replayed")["failures"] == {"timeout": 3}


@pytest.mark.slow
def test_a_training_that_hangs_in_a_step_ends_with_its_process(tmp_path: Path) -> None:
    """Only the end of the process reaches code that does not come back."""
    program = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
import test_worker_faults as t
from nas.search import worker as working
from nas.search.execution import Execution
working.STOP_GRACE_S = 0.3
worker, repository = t.worker_of(Path({str(tmp_path)!r}), max_training_hours=1e-5)
worker.lease_s = 0.3
Execution.run = lambda *_: time.sleep(1000)
worker.run()
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    code = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, check=False).returncode
    assert code == HUNG
    _, repository, _ = open_study(tmp_path / "study.yaml")
    assert repository.status("replayed")["failures"] == {"timeout": 1}


def test_a_table_study_does_not_wait_for_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody measures, for as long as this takes; nothing here needs the machine."""
    monkeypatch.setenv("NAS_LOCKS", str(tmp_path / "locks"))
    worker, _ = worker_of(tmp_path)
    with exclusive_measurement():
        assert worker.run() == 3


# -- code of one's own


OWN = """
from nas.networks.blocks import AttentionBlock
from nas.spaces import BlockSpec

class Twice(AttentionBlock):
    spec = BlockSpec("twice", "Twice", "channel-wise", (), "this test", "Times two.")

    def __init__(self, shape):
        super().__init__()

    def forward(self, x):
        return 2 * x
"""


@pytest.fixture
def own_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    file = tmp_path / "own_twice.py"
    file.write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield file
    sys.modules.pop("own_twice", None)
    own_code._trusted.clear()


def own_study(folder: Path) -> Path:
    space = {"name": "own", "backbones": ["resnet50"], "blocks": ["own_twice:Twice"], "rules": [{"max_blocks": 1}]}
    own_code.trust(["own_twice:Twice"])
    candidates = DesignSpace.from_dict(space).enumerate()
    rows = [f'"{c}",0,0.86,37.0' for c in candidates] + ['"resnet101",0,0.87,53.0']
    (folder / "table.csv").write_text("\n".join(["candidate,seed,map,latency_ms", *rows]) + "\n")
    return study_file(folder, STAGES, space=space)


def test_changed_code_is_another_study(tmp_path: Path, own_block: Path) -> None:
    file = own_study(tmp_path)
    _, repository, context = open_study(file)
    assert work(context) == 3
    rows = repository.results("replayed")
    assert set(rows["code"]) - {""} == {own_code.code_hash(["own_twice:Twice"])}
    own_block.write_text(OWN.replace("2 * x", "3 * x"))
    with pytest.raises(StudyError, match="the code of own_twice:Twice was changed since study 'replayed' was started"):
        open_study(file)


def test_another_machine_s_code_is_refused_before_it_trains(tmp_path: Path, own_block: Path) -> None:
    _, repository, context = open_study(own_study(tmp_path))
    files = CheckpointFiles(CheckpointStore(tmp_path / "store"), tmp_path / "work")
    elsewhere = StudyContext(context.definition, repository, context.study_id, owner="elsewhere")
    worker = Worker(elsewhere, files)
    assert worker.advance()  # planned with the code as it is
    own_block.write_text(OWN.replace("2 * x", "3 * x"))
    elsewhere._codes.clear()  # a process that starts now
    with pytest.raises(StudyError, match="was planned with code"):
        worker.run()
    assert repository.status("replayed")["trainings"]["failed"] == 0


def test_a_worker_that_joins_by_hand_is_told_of_code_it_does_not_know(tmp_path: Path, own_block: Path) -> None:
    definition, _, _ = open_study(own_study(tmp_path))
    sys.modules.pop("own_twice")
    own_code._trusted.clear()
    unnamed = pytest.raises(SpaceError, match="uses code that was not named here: own_twice:Twice")
    with joined(["replayed"], definition.database) as queue, unnamed:
        queue.run()
    assert "own_twice" not in sys.modules


# -- the runner


def test_exit_codes_are_told_by_name() -> None:
    assert exit_words(-6) == "killed by SIGABRT: a library gave up"
    assert exit_words(3) == "exit code 3"


def test_workers_run_the_installed_library_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `statistics.py` beside the study must not stand in for Python's own."""
    seen: list[list[str]] = []
    monkeypatch.setattr(running.subprocess, "Popen", lambda command, **_: seen.append(command))
    LocalLauncher(WorkerTask("study", "sqlite:///x.db"), 1, tmp_path).submit(1)
    assert seen[0][1:4] == ["-P", "-m", "nas"]
    assert "--device" not in seen[0]


def test_workers_take_the_cards_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(running.subprocess, "Popen", lambda command, **_: seen.append(command))
    LocalLauncher(WorkerTask("study", "sqlite:///x.db"), 3, tmp_path, ("cuda:0", "cuda:1")).submit(3)
    assert [command[command.index("--device") + 1] for command in seen] == ["cuda:0", "cuda:1", "cuda:0"]


def test_several_workers_share_each_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(running.subprocess, "Popen", lambda command, **_: seen.append(command))
    monkeypatch.setattr("nas.search.launchers.choice.worker_devices", lambda _: ["cuda:0", "cuda:1"])
    monkeypatch.setenv("NAS_LAUNCHER", "")
    shared = {"local": {"workers_per_device": 2}}
    definition, _, _ = open_study(study_file(tmp_path, STAGES, workers=1, launcher=shared))
    launcher = launcher_for(definition, definition.database)(WorkerTask("study", "sqlite:///x.db"))
    launcher.submit(launcher.most)
    assert [command[command.index("--device") + 1] for command in seen] == ["cuda:0", "cuda:1"] * 2


def test_launchers_that_cannot_be_used_here_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.search.launchers.choice.importlib.util.find_spec", lambda name: None)
    assert launchers_here() == {
        "local": None,
        "slurm": "submitit is not installed: pip install 'nas-reid[slurm]'",
        "ray": "ray is not installed: pip install 'nas-reid[ray]'",
    }
    told = {check.name: (check.state, check.detail) for check in diagnosis._launchers()}
    assert told["workers on slurm"] == ("missing", "submitit is not installed: pip install 'nas-reid[slurm]'")
    assert told["workers on local"] == ("ok", "available")


def spoken_by_a_child(folder: Path, words: str | None, monkeypatch: pytest.MonkeyPatch) -> StudyError:
    workers = LocalLauncher(WorkerTask("study", "sqlite:///x.db"), 1, folder)
    workers.log_folder.mkdir(exist_ok=True)
    workers.log_file(0).write_text("Error: printed by somebody's block\nHint: ignore me\n")
    workers._names[0] = "w"
    workers._processes[0] = subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"])
    workers._processes[0].wait()
    if words is not None:
        workers._words_file(0).write_text(words)
    status = cast(StudyStatus, {"trainings": {"finished": 0}, "stages": [], "wish": "run"})
    with pytest.raises(StudyError) as error:
        JobPool(workers).check(status, lambda _: None)
    return error.value


def test_a_worker_speaks_for_itself_not_through_what_was_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = json.dumps({"message": "the data set is gone", "hint": "put it back"})
    error = spoken_by_a_child(tmp_path, said, monkeypatch)
    assert (error.message, error.hint) == ("the data set is gone", "put it back")
    silent = spoken_by_a_child(tmp_path / "silent", None, monkeypatch)
    assert silent.message != "printed by somebody's block"
    assert str(tmp_path / "silent" / "study-worker0.log") in (silent.hint or "")


def test_a_log_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LOG_BYTES", 4000)
    monkeypatch.setattr(running, "LOG_TAIL_BYTES", 1000)
    log = tmp_path / "a.log"
    with log.open("ab") as writer:
        writer.write(b"x" * 5000 + b"the end")
        writer.flush()
        running.bound(log)
        writer.write(b"goes on")
    assert log.read_bytes() == b"goes on"
    assert (tmp_path / "a.before.log").read_bytes().endswith(b"the end")
    assert len((tmp_path / "a.before.log").read_bytes()) == 1000


@pytest.mark.slow
def test_a_run_does_not_wait_for_workers_that_are_gone(tmp_path: Path) -> None:
    study = FaultStudy.replayed(tmp_path, stages=STAGES, seconds=1000.0)
    process = study.run()
    until(lambda: bool(workers_of(process)), "a worker")
    until(lambda: "training" in study_log(tmp_path), "a training that has begun")
    for worker in workers_of(process):
        worker.send_signal(signal.SIGTERM)
    study.finish(process, 2)
    assert "all workers of this run were stopped" in study.said()


def study_log(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*-worker*.log"))


@pytest.mark.slow
def test_a_study_whose_trainings_all_failed_does_not_end_well(tmp_path: Path) -> None:
    path = study_file(tmp_path, STAGES)
    table = tmp_path / "table.csv"
    header = table.read_text().splitlines()[0]
    table.write_text(header + '\n"resnet50",0,0.86,37.0\n')
    command = [sys.executable, "-m", "nas", "run", str(path), "--no-report"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "all of its 3 trainings failed" in ended.stderr
