"""How busy others keep the machine while we measure: processor shares and foreign programs on the GPU.

Counts what the lock of `nas.latency.isolation` cannot know: programs that are not ours, and other guests of the same
host (`steal`).
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

import psutil

from nas.latency.device_agent.machine import QUIET_SHARE, others_share, work_so_far
from nas.latency.gpu import idle_gpu_share, others_gpu_share

PROBE_S = 0.2  # twenty ticks of the kernel's clock a core: a share is known to some percent
GPU_PROBE_S = 1.0  # NVML's utilisation is of the last sixth of a second to second, by card


@dataclass(frozen=True)
class Load:
    """What others did during a span of time.

    Attributes:
        cpu_share: share of the machine's processor time others used, 0 to 1; None when not read.
        gpu_share: share of the time in which others kept the GPU busy, 0 to 1; None without a GPU or when not read.
    """

    cpu_share: float | None
    gpu_share: float | None = None

    @property
    def quiet(self) -> bool:
        """Whether the load is too small to matter."""
        return max(self.cpu_share or 0.0, self.gpu_share or 0.0) <= QUIET_SHARE

    def sentence(self) -> str:
        """The load in words."""
        parts = [] if self.cpu_share is None else [f"other programs use {self.cpu_share:.0%} of the processors"]
        if self.gpu_share is not None:
            parts.append(f"{self.gpu_share:.0%} of the GPU")
        return " and ".join(parts) or "no load was read"


class LoadMeter:
    """Reads others' load over a `with` block; `.load` afterwards."""

    def __init__(self, gpu: int | None = None) -> None:
        self._gpu = gpu
        self.load = Load(None)

    def __enter__(self) -> LoadMeter:
        self._at, self._begun = time.time(), _work_so_far()
        return self

    def __exit__(self, *_: object) -> None:
        share = others_share(self._begun, _work_so_far())
        self.load = Load(share, None if self._gpu is None else others_gpu_share(self._gpu, self._at, os.getpid()))


def _work_so_far() -> tuple[float, float | None, float]:
    """As the device's agent reads it; outside Linux, where that tells nothing of all processors, by psutil."""
    now, busy, own = work_so_far()
    if busy is None:
        with contextlib.suppress(psutil.Error, OSError, NotImplementedError):
            times = psutil.cpu_times()
            busy = times.user + getattr(times, "nice", 0.0) + times.system  # Windows counts interrupts in `system`
    return now, busy, own


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


def probe(gpu: int | None = None, span_s: float | None = None) -> Load:
    """The load over a short span in which this process does nothing, of a GPU too where its index is given.

    `span_s` None: as long as its readings need.
    """
    with LoadMeter() as meter:
        time.sleep(span_s or (PROBE_S if gpu is None else GPU_PROBE_S))
    return Load(meter.load.cpu_share, None if gpu is None else idle_gpu_share(gpu))
