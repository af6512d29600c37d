"""Load of others: seen while a program of somebody else runs, not made of our own work."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from nas.latency.load import Load, LoadMeter, busiest


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_our_own_work_is_not_others(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, own = iter([100.0, 103.0]), iter([10.0, 13.0])
    monkeypatch.setattr("nas.latency.device_agent.machine.busy_seconds", lambda: next(machine))
    monkeypatch.setattr("nas.latency.device_agent.machine.own_seconds", lambda: next(own))
    with LoadMeter() as meter:
        pass
    assert meter.load.cpu_share == 0.0
    assert meter.load.quiet


@pytest.mark.parametrize("kernel", [True, False])
def test_a_foreign_program_is_seen(kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernel:  # as on macOS and Windows
        monkeypatch.setattr("nas.latency.device_agent.machine.busy_seconds", lambda: None)
    command = [sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(command) for _ in range(psutil.cpu_count() or 1)]
    try:
        while any(sum(psutil.Process(process.pid).cpu_times()[:2]) < 0.2 for process in spinning):
            time.sleep(0.05)  # until each has begun
        with LoadMeter() as meter:
            time.sleep(0.6)
        names = busiest(count=50)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert meter.load.cpu_share is not None
    assert meter.load.cpu_share * (psutil.cpu_count() or 1) > 0.4  # processors kept busy; we may own but a few
    assert "% of the processors" in meter.load.sentence()
    assert any(str(spinning[0].pid) in name for name in names)


def test_what_was_not_read_is_no_load() -> None:
    assert Load(None).quiet
    assert Load(None).sentence() == "no load was read"
    assert Load(0.0, gpu_share=0.0).quiet
    assert not Load(0.0, gpu_share=0.4).quiet
    assert Load(0.0, 0.4).sentence() == "other programs use 0% of the processors and 40% of the GPU"
    assert not Load(0.5).quiet
