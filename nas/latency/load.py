"""How busy others keep the machine while we measure: processor shares and foreign programs on the GPU.

Counts what the lock of `nas.latency.isolation` cannot know: programs that are not ours, and other guests of the same
host (`steal`).
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from types import TracebackType

import psutil

from nas.latency.gpu import foreign_processes

QUIET_SHARE = 0.10
"""Others may keep this share of the machine's processors busy before a figure counts as disturbed."""

PROBE_S = 0.2


@dataclass(frozen=True)
class Load:
    """What others did during a span of time.

    Attributes:
        cpu_share: share of the machine's processor time others used, 0 to 1; None when not read.
        gpu_processes: programs of others on the GPU; None when there is no GPU or it was not read.
    """

    cpu_share: float | None
    gpu_processes: int | None = None

    @property
    def quiet(self) -> bool:
        """Whether the load is too small to matter."""
        return (self.cpu_share or 0.0) <= QUIET_SHARE and not self.gpu_processes

    def sentence(self) -> str:
        """The load in words."""
        parts = [] if self.cpu_share is None else [f"other programs use {self.cpu_share:.0%} of the processors"]
        if self.gpu_processes:
            parts.append(f"{self.gpu_processes} other program(s) run on the GPU")
        return " and ".join(parts) or "no load was read"


class LoadMeter:
    """Reads others' load over a `with` block; `.load` afterwards."""

    def __init__(self, gpu: int | None = None) -> None:
        self._gpu = gpu
        self.load = Load(None)

    def __enter__(self) -> LoadMeter:
        self._begun = time.monotonic()
        self._busy, self._own = _machine_busy_s(), _own_s()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        span = time.monotonic() - self._begun
        others = (_machine_busy_s() - self._busy) - (_own_s() - self._own)
        share = None
        if span > 0:
            share = min(1.0, max(0.0, others / (span * (psutil.cpu_count() or 1))))
        self.load = Load(share, None if self._gpu is None else foreign_processes(self._gpu))


def busiest(count: int = 3, span_s: float = PROBE_S) -> list[str]:
    """Names of the programs of others that use the processors most, for a message."""
    seen = []
    for process in psutil.process_iter(["pid", "name"]):
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid():
                process.cpu_percent()  # the first call only starts the measurement
                seen.append(process)
    time.sleep(span_s)
    used: list[tuple[float, str]] = []
    for process in seen:
        with contextlib.suppress(psutil.Error):
            used.append((process.cpu_percent(), f"{process.info['name']} (process {process.pid})"))
    return [name for percent, name in sorted(used, reverse=True)[:count] if percent > 5.0]


def probe(gpu: int | None = None, span_s: float = PROBE_S) -> Load:
    """The load over a short span in which this process does nothing.

    Args:
        gpu: index of the GPU to look at, None for none.
        span_s: seconds to watch.
    """
    with LoadMeter(gpu) as meter:
        time.sleep(span_s)
    return meter.load


def _machine_busy_s() -> float:
    times = psutil.cpu_times()
    # Guest time is part of user time; waiting for disks is not work.
    idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle)


def _own_s() -> float:
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system
