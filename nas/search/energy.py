"""Energy that this machine and its card use meanwhile, where they tell it; nothing is estimated.

Linux tells of processors and memory (RAPL, `/sys/class/powercap`; often to root alone), NVML of NVIDIA cards.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nas.latency.gpu import gpu_index, gpu_name_of_lock, read_energy_mj

POWERCAP = Path("/sys/class/powercap")
BOOT = Path("/proc/sys/kernel/random/boot_id")
READ_EVERY_S = 30.0
"""A processor's counter begins anew after 65 to 262 kJ: at 400 W not within two and a half minutes."""


@dataclass
class Counter:
    """One counter of energy.

    Attributes:
        name: of the machine since it was started (never its host name) and of what is counted.
        read: what it says now, joules; None where it cannot be read.
        limit: joules at which it begins anew; 0: it does not.
    """

    name: str
    read: Callable[[], float | None]
    limit: float = 0.0
    joules: float = field(default=0.0, init=False)
    last: float | None = field(default=None, init=False)

    def look(self) -> None:
        """Adds what was used since the last look."""
        now = self.read()
        if now is not None and self.last is not None:
            step = now - self.last
            self.joules += step if step >= 0 else step + self.limit if self.limit else 0.0
        self.last = now if now is not None else self.last


def counters(device: str) -> list[Counter]:
    """The counters of this machine, and of the card where a training runs on one; empty where none can be read."""
    found = [*_processor(), *_card(device)]
    return [counter for counter in found if counter.read() is not None]


def _processor() -> Iterator[Counter]:
    """Packages, and memory where it is counted apart; cores and the rest are part of their package."""
    for zone in sorted(POWERCAP.glob("intel-rapl:*")):
        name = _text(zone / "name")
        if name.startswith("package") or name == "dram":
            limit = _number(zone / "max_energy_range_uj") or 0.0
            yield Counter(f"{_text(BOOT)[:8]}/{zone.name} {name}", partial(_number, zone / "energy_uj"), limit)


def _card(device: str) -> Iterator[Counter]:
    index = gpu_index(device)
    if index is not None:
        yield Counter(f"{gpu_name_of_lock(index)} gpu", partial(_card_joules, index))


def _card_joules(index: int) -> float | None:
    millijoules = read_energy_mj(index)
    return None if millijoules is None else millijoules / 1e3


def _text(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text().strip()
    return ""


def _number(file: Path) -> float | None:
    """Joules from a file of microjoules."""
    text = _text(file)
    return float(text) / 1e6 if text.isdecimal() else None


@contextlib.contextmanager
def metered(device: str, found: list[dict[str, Any]]) -> Iterator[None]:
    """Reads this machine's counters while something runs; what each ran up is in `found` afterwards."""
    running, over = counters(device), threading.Event()

    def look() -> None:
        while not over.wait(READ_EVERY_S):
            for counter in running:
                counter.look()

    for counter in running:
        counter.look()
    begun = time.time()
    reader = threading.Thread(target=look, name="energy", daemon=True)
    if running:
        reader.start()
    try:
        yield
    finally:
        over.set()
        if running:
            reader.join()
        for counter in running:
            counter.look()
            found.append({"counter": counter.name, "joules": counter.joules, "begun": begun, "ended": time.time()})
