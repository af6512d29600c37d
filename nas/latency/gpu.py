"""Readings of an NVIDIA GPU through NVML: name, driver, clocks, temperature, throttling, energy, programs on it.

Every reading is None where the device or its library does not give it. Which card an index means is torch's word.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Concatenate, ParamSpec, TypeVar

from nas import latency

P = ParamSpec("P")
T = TypeVar("T")


@contextlib.contextmanager
def _handle(index: int) -> Iterator[tuple[ModuleType, object] | None]:
    """The library and the device's handle, or None without driver or library."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # ImportError, or NVMLError without a driver: both mean "not read"
        yield None
        return
    try:
        yield pynvml, _find(pynvml, index)
    except pynvml.NVMLError:
        yield None
    finally:
        pynvml.nvmlShutdown()


def _find(nvml: ModuleType, index: int) -> object:
    """The handle of the device that programs here see at that index.

    NVML counts the machine's cards in its own order and knows no `CUDA_VISIBLE_DEVICES`: torch's UUID tells which card
    it is, or else that variable.
    """
    name = gpu_uuid(index) or _visible(index)
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)


def _visible(index: int) -> str:
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible[index] if index < len(visible) else str(index)


def gpu_uuid(index: int) -> str | None:
    """The card's own name, `GPU-...`, from torch; None where torch does not tell it."""
    uuid = getattr(latency.card_properties(index), "uuid", None)
    return None if uuid is None else f"GPU-{str(uuid).removeprefix('GPU-')}"


def gpu_model(index: int) -> str | None:
    """The card's model, such as `NVIDIA H200`: from torch, else through NVML."""
    name = getattr(latency.card_properties(index), "name", None) or (read_gpu(index) or {}).get("name")
    return None if name is None else str(name)


def gpu_name_of_lock(index: int) -> str:
    """A name of the card that every process of this machine gives it, whatever it calls it itself."""
    with _handle(index) as found:
        uuid = None if found is None else _read(found[0], lambda: found[0].nvmlDeviceGetUUID(found[1]))
    return str(uuid or gpu_uuid(index) or f"cuda-{_visible(index)}")


def _read(nvml: ModuleType, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except nvml.NVMLError:
        return None


def _of_the_card(question: Callable[Concatenate[ModuleType, object, P], T]) -> Callable[Concatenate[int, P], T | None]:
    """A question to NVML about a card's handle as one about its index; None without driver, library or card."""

    @functools.wraps(question)
    def ask(index: int, /, *more: P.args, **named: P.kwargs) -> T | None:
        with _handle(index) as found:
            return None if found is None else question(found[0], found[1], *more, **named)

    return ask


def gpu_index(device: str) -> int | None:
    """The index in `cuda:N`; 0 for `cuda`; None for a CPU."""
    kind, _, number = device.partition(":")
    return None if kind != "cuda" else int(number or 0)


@_of_the_card
def read_gpu(nvml: ModuleType, card: object) -> dict[str, str | float | None]:
    """Name, driver, memory and power limit of a GPU."""
    limit = _read(nvml, lambda: nvml.nvmlDeviceGetPowerManagementLimit(card))
    return {
        "name": _read(nvml, lambda: nvml.nvmlDeviceGetName(card)),
        "driver": _read(nvml, nvml.nvmlSystemGetDriverVersion),
        "memory_mb": _read(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(card).total / 1e6),
        "power_limit_w": None if limit is None else limit / 1000.0,
    }


@_of_the_card
def read_clocks(nvml: ModuleType, card: object) -> dict[str, int | None]:
    """Clocks in MHz, temperature in deg C and the throttle reasons (bit mask) of a GPU."""
    return {
        "sm_mhz": _read(nvml, lambda: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM)),
        "memory_mhz": _read(nvml, lambda: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_MEM)),
        "temperature": _read(nvml, lambda: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)),
        "throttle": _read(nvml, lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)),
    }


@_of_the_card
def read_energy_mj(nvml: ModuleType, card: object) -> float | None:
    """Energy the GPU used since its driver was loaded, in millijoule."""
    energy = _read(nvml, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(card))
    return None if energy is None else float(energy)


@_of_the_card
def others_gpu_share(nvml: ModuleType, card: object, begun: float, own_pid: int) -> float | None:
    """Share of a span in which others kept the GPU busy, 0 to 1; None when it cannot be told.

    By NVML's utilisation of every process, this one left out: a program that only holds a context (an idle notebook,
    a worker of ours that stepped aside) counts as nothing.

    Args:
        card: its handle of the GPU; who asks gives the index instead of the two.
        begun: seconds since the epoch at which the span began.
        own_pid: process that is left out. In a container NVML knows other numbers than the processes themselves; where
            this one is not among those it lists, nothing can be told while it works.
    """
    running = _read(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(card))
    if running is None or own_pid not in {process.pid for process in running}:
        return None
    samples = _read(nvml, lambda: nvml.nvmlDeviceGetProcessUtilization(card, int(begun * 1e6)))
    by_process: dict[int, list[int]] = {}
    for sample in samples or []:
        if sample.pid != own_pid:
            by_process.setdefault(sample.pid, []).append(sample.smUtil)
    return min(1.0, sum(sum(values) / len(values) for values in by_process.values()) / 100.0)


@_of_the_card
def idle_gpu_share(nvml: ModuleType, card: object) -> float | None:
    """How busy the GPU is while this process does nothing, so: by others, 0 to 1; None when not read."""
    rates = _read(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(card))
    return None if rates is None else rates.gpu / 100.0


class GpuSampler:
    """Clocks, temperature and throttling of a GPU while it works, read between batches at most ten times a second.

    `index` is the card's; None stands for a CPU, of which nothing is read.
    """

    def __init__(self, index: int | None) -> None:
        self._index, self._next = index, 0.0
        self._readings: list[dict[str, int | None]] = []
        self._open = contextlib.ExitStack()

    def __enter__(self) -> GpuSampler:
        if self._index is not None:
            # Kept open: finding the card anew at every reading would take longer than a batch.
            self._open.enter_context(_handle(self._index))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def sample(self) -> None:
        """Reads the card, unless that was done just now."""
        if self._index is None or (now := time.monotonic()) < self._next:
            return
        self._next = now + 0.1
        reading = read_clocks(self._index)
        if reading is not None:
            self._readings.append(reading)

    def summary(self) -> dict[str, object] | None:
        """Lowest and highest clock, highest temperature and every reason for throttling seen; None without readings."""
        if not self._readings:
            return None
        found: dict[str, object] = {"readings": len(self._readings)}
        for name, summarise in _SUMMARIES.items():
            values = [value for reading in self._readings if (value := reading[name]) is not None]
            found[name] = summarise(values) if values else None
        return found


_SUMMARIES: dict[str, Callable[[list[int]], object]] = {
    "sm_mhz": lambda values: [min(values), max(values)],
    "memory_mhz": lambda values: [min(values), max(values)],
    "temperature": max,
    "throttle": lambda masks: functools.reduce(operator.or_, masks),
}
