"""Trainings and measurements of several processes on one machine, some of them killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nas.errors import LatencyError
from nas.latency import TrainingPresence, exclusive_measurement
from nas.latency.isolation import FileLock

HOLD = """
import sys, time
from nas.latency.isolation import exclusive_measurement, TrainingPresence
with {kind}():
    print("held", flush=True)
    time.sleep(1000)
"""


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_LOCKS", str(tmp_path / "locks"))


@pytest.fixture
def holder() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def hold(kind: str, started: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD.format(kind=kind)], stdout=subprocess.PIPE, text=True)
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_trainings_share_the_machine(holder: list[subprocess.Popen[str]]) -> None:
    hold("TrainingPresence", holder)
    with TrainingPresence(timeout_s=60):
        pass


@pytest.mark.parametrize("kind", ["TrainingPresence", "exclusive_measurement"])
def test_a_measurement_waits_and_says_for_whom(kind: str, holder: list[subprocess.Popen[str]]) -> None:
    process = hold(kind, holder)
    with pytest.raises(LatencyError) as caught, exclusive_measurement(timeout_s=0.1):
        pass
    assert "stayed busy for 0.1 s" in caught.value.message
    if sys.platform == "linux":
        assert str(process.pid) in caught.value.message


@pytest.mark.parametrize("kind", ["TrainingPresence", "exclusive_measurement"])
def test_a_killed_holder_leaves_nothing_behind(kind: str, holder: list[subprocess.Popen[str]]) -> None:
    hold(kind, holder).kill()
    with exclusive_measurement(timeout_s=60):
        pass


def test_a_training_gives_way_and_goes_on() -> None:
    order: list[str] = []

    def measure() -> None:
        with exclusive_measurement(timeout_s=60):
            order.append("measured")
            time.sleep(0.1)
            order.append("done")

    with TrainingPresence() as presence:
        assert presence.give_way() == 0.0
        thread = threading.Thread(target=measure)
        thread.start()
        while not order:
            presence.give_way()
            time.sleep(0.005)
        order.append("training")
        thread.join()
    assert order == ["measured", "done", "training"]


def test_a_new_training_does_not_overtake_a_waiting_measurement() -> None:
    with TrainingPresence() as first:
        waiting = threading.Thread(target=lambda: exclusive_measurement(timeout_s=60).__enter__())
        waiting.daemon = True
        waiting.start()
        while first._open(first._locks[0][0]):
            time.sleep(0.005)
        with pytest.raises(LatencyError), TrainingPresence(timeout_s=0.1):
            pass
        first.__exit__()
    waiting.join()


def test_a_waiting_training_can_be_stopped() -> None:
    class StopError(Exception):
        pass

    def stop(_words: str) -> None:
        raise StopError

    with exclusive_measurement(), pytest.raises(StopError), TrainingPresence(while_waiting=stop):
        pass


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.try_acquire(exclusive=True)
    child = os.fork()
    if child == 0:
        time.sleep(1000)
        os._exit(0)
    try:
        lock.release()
        while not FileLock(tmp_path / "lock").try_acquire(exclusive=True):  # until the child, too, has let it go
            time.sleep(0.01)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


# -- a lock a device


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.latency.isolation.gpu_name_of_lock", lambda index: f"GPU-{index}")


@pytest.mark.usefixtures("two_cards")
def test_a_measurement_on_one_card_lets_trainings_on_others_go_on() -> None:
    with TrainingPresence(device="cuda:1") as other, exclusive_measurement(timeout_s=60, device="cuda:0"):
        assert other.give_way() == 0.0
        with TrainingPresence(60, device="cuda:1"):
            pass
        with pytest.raises(LatencyError, match="stayed busy"), TrainingPresence(timeout_s=0.1, device="cuda:0"):
            pass


def busy() -> pytest.RaisesExc[LatencyError]:
    return pytest.raises(LatencyError, match="stayed busy")


@pytest.mark.usefixtures("two_cards")
def test_a_measurement_on_the_cpu_waits_for_all_and_all_wait_for_it() -> None:
    for device in ("cuda:0", "cuda:1", "cpu"):
        with TrainingPresence(device=device), busy(), exclusive_measurement(timeout_s=0.1):
            pass
        with exclusive_measurement(timeout_s=60), busy(), TrainingPresence(timeout_s=0.1, device=device):
            pass
        with exclusive_measurement(timeout_s=60), busy(), exclusive_measurement(timeout_s=0.1, device=device):
            pass
    with exclusive_measurement(timeout_s=60, device="cuda:0"), busy(), exclusive_measurement(timeout_s=0.1):
        pass
    with exclusive_measurement(timeout_s=60):
        pass


@pytest.mark.usefixtures("two_cards")
def test_a_training_on_a_card_gives_way_to_the_cards_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    ended: list[str] = []  # cards whose queued steps were waited for
    monkeypatch.setattr(torch.cuda, "synchronize", ended.append)

    def measure() -> None:
        with exclusive_measurement(timeout_s=60, device="cuda:1"):
            done.set()

    with TrainingPresence(device="cuda:1") as presence:
        thread = threading.Thread(target=measure)
        thread.start()
        while not done.is_set():
            presence.give_way()
            time.sleep(0.005)
        thread.join()
    assert set(ended) == {"cuda:1"}


# -- a folder that several people share


def test_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "target").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    monkeypatch.setenv("NAS_LOCKS", str(tmp_path / "link"))
    with pytest.raises(LatencyError, match="it is a link or a file, not a folder") as caught, TrainingPresence():
        pass
    assert "NAS_LOCKS" in str(caught.value.hint)
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o700, "its permissions stay"
    folder = tmp_path / "locks"
    folder.mkdir()
    (folder / "machine").symlink_to(tmp_path / "victim")
    monkeypatch.setenv("NAS_LOCKS", str(folder))
    with pytest.raises(LatencyError, match="cannot be used: machine"), TrainingPresence():
        pass
    assert not (tmp_path / "victim").exists()


def test_a_folder_that_others_may_tamper_with_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("NAS_LOCKS", str(tmp_path / "open"))
    with pytest.raises(LatencyError, match="no sticky bit"), TrainingPresence():
        pass


def test_a_pipe_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "locks"
    folder.mkdir()
    os.mkfifo(folder / "gate")
    with pytest.raises(LatencyError, match="gate is no file"), TrainingPresence():
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="needs two users: run as root")
def test_two_users_keep_each_other_from_measuring_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Path(tempfile.mkdtemp(prefix="nas-test-"))
    shared.chmod(0o755)
    monkeypatch.setenv("NAS_LOCKS", str(shared / "locks"))
    before = os.umask(0o077)
    try:
        with exclusive_measurement(timeout_s=60):
            pass  # makes the folder and its files, as the first user would
        child = os.fork()
        if child == 0:
            os.setgid(65534)
            os.setuid(65534)
            with exclusive_measurement(timeout_s=60):
                (shared / "locks" / "held").touch()
                time.sleep(1000)
            os._exit(0)
        while not (shared / "locks" / "held").exists():
            time.sleep(0.01)
        with pytest.raises(LatencyError, match=str(child)), exclusive_measurement(timeout_s=0.1):
            pass
    finally:
        os.umask(before)
        os.kill(child, 9)
        os.waitpid(child, 0)
        shutil.rmtree(shared)


def test_a_long_wait_says_for_whom(
    holder: list[subprocess.Popen[str]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.latency.isolation.TELL_AFTER_S", 0.0)
    process = hold("exclusive_measurement", holder)
    with pytest.raises(LatencyError), TrainingPresence(timeout_s=0.3):
        pass
    (line,) = [record.getMessage() for record in caplog.records if record.name == "nas.latency"]
    assert line.startswith(f"training: waiting for the machine, held by process {process.pid}, which runs since ")
