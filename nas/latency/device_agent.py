"""The part of a latency measurement that must run anywhere, in one module without dependencies of its own.

Python 3.8 and later, standard library only; ONNX Runtime or TensorRT are imported when used. Copied alone to a
device it is a program (see docs/how-to/jetson.md); inside the package its timing, statistics and machine readings
serve every backend, so that figures from a device and from here are made by the same lines.
"""

from __future__ import annotations

import gc
import math
import os
import platform
import time
from typing import Any, Callable, Sequence  # noqa: UP035 - Python 3.8

BLOCKS_KEPT = 20


# --- statistics -----------------------------------------------------------------------------------------------------
def percentile(ordered: Sequence[float], q: float) -> float:
    """The q-th percentile (0 to 100) of ascending values, linear between neighbours as numpy does.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.5
    """
    place = (len(ordered) - 1) * q / 100.0
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def block_medians(times: Sequence[float], blocks: int = BLOCKS_KEPT) -> list[float]:
    """Medians of at most `blocks` consecutive, nearly equal parts of the times.

    >>> block_medians([1.0, 2.0, 3.0, 9.0], 2)
    [1.5, 6.0]
    """
    count = min(blocks, len(times))
    edges = [round(i * len(times) / count) for i in range(count + 1)]
    return [percentile(sorted(times[low:high]), 50) for low, high in zip(edges, edges[1:])]  # noqa: B905, RUF007


def summarise(times: Sequence[float]) -> dict[str, Any]:
    """Median, mean, 5th and 95th percentile, sd, count and block medians of the times of single batches (ms)."""
    if not times:
        raise ValueError("no batch was timed")
    ordered, n = sorted(times), len(times)
    mean = math.fsum(times) / n
    sd = math.sqrt(math.fsum((t - mean) ** 2 for t in times) / (n - 1)) if n > 1 else None
    return {
        "median_ms": percentile(ordered, 50),
        "mean_ms": mean,
        "p5_ms": percentile(ordered, 5),
        "p95_ms": percentile(ordered, 95),
        "sd_ms": sd,
        "batches": n,
        "block_medians_ms": block_medians(times),
    }


# --- timing ---------------------------------------------------------------------------------------------------------
def time_batches(
    run: Callable[[], Any],
    warmup: int,
    batches: int | None,
    budget_s: float,
    min_batches: int = 5,
    on_batch: Callable[[int, int | None], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Milliseconds of single batches.

    Args:
        run: runs one batch and returns when it is finished.
        warmup: batches run first and thrown away.
        batches: how many to time; None: until `budget_s` seconds are spent, at least `min_batches`.
        budget_s: seconds of timing when `batches` is None.
        min_batches: see `batches`.
        on_batch: called between batches, outside the timed part, with the number done and the total if known.
        clock: seconds, monotonic.
    """
    for _ in range(warmup):
        run()
    times: list[float] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        until = clock() + budget_s
        while (len(times) < batches) if batches is not None else (len(times) < min_batches or clock() < until):
            begun = clock()
            run()
            times.append((clock() - begun) * 1000.0)
            if on_batch is not None:
                on_batch(len(times), batches)
    finally:
        if collecting:
            gc.enable()
    return times


# --- the machine ----------------------------------------------------------------------------------------------------
def read_text(path: str) -> str | None:
    """The stripped text of a small file, or None when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\x00\n\t ") or None
    except OSError:
        return None


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("model name", "hardware") and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def usable_cpus() -> int:
    """Processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def read_machine(root: str = "/") -> dict[str, Any]:
    """What can be read about the machine without any library; None for what cannot.

    Args:
        root: where the system's files are, `/` except in tests.
    """
    governor = read_text(os.path.join(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "cpus": usable_cpus(),
        "governor": governor,
        "board": read_text(os.path.join(root, "proc/device-tree/model")),
        "jetson_release": (read_text(os.path.join(root, "etc/nv_tegra_release")) or "").split(", GCID")[0] or None,
    }


def read_temperatures(root: str = "/") -> dict[str, float] | None:
    """Degrees Celsius of every thermal zone the system shows, or None without any."""
    base = os.path.join(root, "sys/class/thermal")
    try:
        zones = sorted(name for name in os.listdir(base) if name.startswith("thermal_zone"))
    except OSError:
        return None
    found = {}
    for zone in zones:
        kind, value = (read_text(os.path.join(base, zone, name)) for name in ("type", "temp"))
        if value is not None and value.lstrip("-").isdigit():
            found[kind or zone] = int(value) / 1000.0
    return found or None
