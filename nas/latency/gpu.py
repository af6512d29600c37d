"""Readings of an NVIDIA GPU through NVML: name, driver, clocks, temperature, throttling, energy, programs on it.

Every reading is None where the device or its library does not give it; nothing here needs torch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def _handle(index: int) -> Iterator[tuple[Any, Any] | None]:
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


def _find(nvml: Any, index: int) -> Any:
    """The handle of the device that programs here see at that index: NVML itself knows no `CUDA_VISIBLE_DEVICES`."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    name = visible[index] if index < len(visible) else str(index)
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)


def _read(nvml: Any, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except nvml.NVMLError:
        return None


def gpu_index(device: str) -> int | None:
    """The index in `cuda:N`; 0 for `cuda`; None for a CPU."""
    kind, _, number = device.partition(":")
    return None if kind != "cuda" else int(number or 0)


def read_gpu(index: int) -> dict[str, Any] | None:
    """Name, driver, memory and power limit of a GPU, or None."""
    with _handle(index) as found:
        if found is None:
            return None
        nvml, handle = found
        limit = _read(nvml, lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle))
        return {
            "name": _read(nvml, lambda: nvml.nvmlDeviceGetName(handle)),
            "driver": _read(nvml, nvml.nvmlSystemGetDriverVersion),
            "memory_mb": _read(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total / 1e6),
            "power_limit_w": None if limit is None else limit / 1000.0,
        }


def read_clocks(index: int) -> dict[str, Any] | None:
    """Clocks in MHz, temperature in deg C and the throttle reasons (bit mask) of a GPU, or None."""
    with _handle(index) as found:
        if found is None:
            return None
        nvml, handle = found
        return {
            "sm_mhz": _read(nvml, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            "memory_mhz": _read(nvml, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            "temperature": _read(nvml, lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            "throttle": _read(nvml, lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
        }


def read_energy_mj(index: int) -> float | None:
    """Energy the GPU used since its driver was loaded, in millijoule, or None."""
    with _handle(index) as found:
        if found is None:
            return None
        nvml, handle = found
        energy = _read(nvml, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        return None if energy is None else float(energy)


def foreign_processes(index: int) -> int | None:
    """Number of computing programs on the GPU that are not this process, or None."""
    with _handle(index) as found:
        if found is None:
            return None
        nvml, handle = found
        running = _read(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        return None if running is None else sum(process.pid != os.getpid() for process in running)
