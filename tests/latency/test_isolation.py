"""Trainings and measurements of several processes on one machine, some of them killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.errors import LatencyError
from nas.latency import exclusive_measurement, training_presence
from nas.latency.isolation import FileLock

HOLD = """
import sys, time
from nas.latency.isolation import exclusive_measurement, training_presence
with {kind}():
    print("held", flush=True)
    time.sleep(60)
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
    hold("training_presence", holder)
    with training_presence(timeout_s=5):
        pass


@pytest.mark.parametrize("kind", ["training_presence", "exclusive_measurement"])
def test_a_measurement_waits_and_says_for_whom(kind: str, holder: list[subprocess.Popen[str]]) -> None:
    process = hold(kind, holder)
    with pytest.raises(LatencyError) as caught, exclusive_measurement(timeout_s=0.1):
        pass
    assert "stayed busy for 0.1 s" in caught.value.message
    if sys.platform == "linux":
        assert str(process.pid) in caught.value.message


@pytest.mark.parametrize("kind", ["training_presence", "exclusive_measurement"])
def test_a_killed_holder_leaves_nothing_behind(kind: str, holder: list[subprocess.Popen[str]]) -> None:
    hold(kind, holder).kill()
    with exclusive_measurement(timeout_s=5):
        pass


def test_a_training_gives_way_and_goes_on() -> None:
    order: list[str] = []

    def measure() -> None:
        with exclusive_measurement(timeout_s=10):
            order.append("measured")
            time.sleep(0.1)
            order.append("done")

    with training_presence() as presence:
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
    with training_presence() as first:
        waiting = threading.Thread(target=lambda: exclusive_measurement(timeout_s=10).__enter__())
        waiting.daemon = True
        waiting.start()
        time.sleep(0.1)
        with pytest.raises(LatencyError), training_presence(timeout_s=0.1):
            pass
        first.leave()
    waiting.join(5)


def test_a_waiting_training_can_be_stopped() -> None:
    class StopError(Exception):
        pass

    def stop() -> None:
        raise StopError

    with exclusive_measurement(), pytest.raises(StopError), training_presence(while_waiting=stop):
        pass


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.try_acquire(exclusive=True)
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    try:
        lock.release()
        deadline = time.monotonic() + 5
        while not FileLock(tmp_path / "lock").try_acquire(exclusive=True):
            assert time.monotonic() < deadline, "the child still holds the lock"
            time.sleep(0.01)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
