"""What a machine tells about itself without any library: processor, board, temperatures, load, power."""

from __future__ import annotations

import glob
import os
import platform
import re
import time
from collections.abc import Callable

QUIET_SHARE = 0.10  # others may keep this share of the processors busy before a figure counts as disturbed


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


def read_machine(root: str = "/") -> dict[str, object]:
    """What can be read about the machine without any library, below `root`; None for what cannot."""
    governor = read_text(os.path.join(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "cpus": usable_cpus(),
        "governor": governor,
        "board": read_text(os.path.join(root, "proc/device-tree/model")),
        "jetson_release": (read_text(os.path.join(root, "etc/nv_tegra_release")) or "").split(", GCID")[0] or None,
        "power_mode": power_mode(root),
    }


def power_mode(root: str = "/") -> str | None:
    """The power mode of a Jetson by the name that its table gives it, as MAXN or 15W; None elsewhere."""
    state = re.search(r"pmode:0*(\d+)", read_text(os.path.join(root, "var/lib/nvpmodel/status")) or "")
    if state is None:
        return None
    table = read_text(os.path.join(root, "etc/nvpmodel.conf")) or ""
    names: dict[str, str] = dict(re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", table))
    return names.get(state.group(1), "mode " + state.group(1))


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


def busy_seconds() -> float | None:
    """Seconds all processors together were busy since the system started, or None (not Linux)."""
    line = (read_text("/proc/stat") or "").partition("\n")[0].split()
    if len(line) < 9 or line[0] != "cpu":
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in line[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Processor seconds this process and its finished children used."""
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system


def work_so_far() -> tuple[float, float | None, float]:
    """The time now, and what all processors together and this process worked until now, in seconds."""
    return time.monotonic(), busy_seconds(), own_seconds()


def others_share(
    since: tuple[float, float | None, float], until: tuple[float, float | None, float] | None = None
) -> float | None:
    """Share of the machine's processor time that others used since a `work_so_far` until another (None: until now), 0
    to 1; None when not read.
    """
    (begun, busy, own), (now, busy_now, own_now) = since, until or work_so_far()
    if busy is None or busy_now is None or now <= begun:
        return None
    others = (busy_now - busy) - (own_now - own)
    return min(1.0, max(0.0, others / ((now - begun) * (os.cpu_count() or 1))))


def power_rails(root: str = "/") -> dict[str, Callable[[], float | None]]:
    """Readers of milliwatt, by rail, from the INA3221 monitors of a Jetson; empty elsewhere.

    JetPack 4 shows `in_power0_input` (mW) beside `rail_name_0`; JetPack 5 and later show `in1_input` (mV) and
    `curr1_input` (mA) beside `in1_label`.
    """
    rails: dict[str, Callable[[], float | None]] = {}
    drivers = os.path.join(root, "sys/bus/i2c/drivers")
    for path in sorted(glob.glob(os.path.join(drivers, "ina3221x/*/iio:device*/in_power*_input"))):
        folder, number = os.path.dirname(path), os.path.basename(path)[len("in_power") : -len("_input")]
        rails[read_text(os.path.join(folder, "rail_name_" + number)) or path] = _scaled(1.0, path)
    for path in sorted(glob.glob(os.path.join(drivers, "ina3221/*/hwmon/hwmon*/in[1-3]_input"))):
        stem = path[: -len("_input")]
        current = os.path.join(os.path.dirname(path), "curr" + stem[-1] + "_input")
        rails[read_text(stem + "_label") or path] = _scaled(1e-3, path, current)
    # A rail that carries the whole board stands for all of them.
    return {name: rails[name] for name in rails if name == "VDD_IN"} or rails


def _scaled(scale: float, *paths: str) -> Callable[[], float | None]:
    def read() -> float | None:
        product = scale
        for path in paths:
            text = read_text(path)
            if text is None or not text.lstrip("-").isdigit():
                return None
            product *= int(text)
        return product

    return read


class PowerMeter:
    """Mean power over a measurement, sampled between batches at most ten times a second."""

    def __init__(self, rails: dict[str, Callable[[], float | None]]) -> None:
        self._rails, self._samples, self._next = rails, [], 0.0  # type: ignore[var-annotated]

    def reads(self) -> bool:
        """Whether there is a monitor."""
        return bool(self._rails)

    def sample(self) -> None:
        """Reads all rails; does nothing when the last reading is fresh."""
        now = time.monotonic()
        if not self._rails or now < self._next:
            return
        self._next = now + 0.1
        values = [read() for read in self._rails.values()]
        if all(value is not None for value in values):
            self._samples.append(sum(value for value in values if value is not None))

    def mean_mw(self) -> float | None:
        """Mean of the samples in milliwatt, None without any."""
        return sum(self._samples) / len(self._samples) if self._samples else None
