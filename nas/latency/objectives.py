"""What a network costs, as objectives a study can name: time, memory, energy, size.

One table; each entry reads its value from a latency record, the baseline's record or the network's complexity, and
gives None where that was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Protocol

from nas.errors import LatencyError, unknown_name
from nas.latency.record import LatencyRecord


class Size(Protocol):
    """What is read of a network's complexity (`nas.networks.complexity`)."""

    @property
    def params(self) -> int:
        """Parameters, the classifier left out."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""

    @property
    def activation_elements(self) -> int:
        """Elements in the outputs of convolutions and matrix products, for one image."""


@dataclass(frozen=True)
class Facts:
    """What is known of a network.

    Attributes:
        record: its latency; None when not measured.
        baseline: latency of its backbone without blocks; None when not measured.
        size: its complexity; None when not counted.
    """

    record: LatencyRecord | None = None
    baseline: LatencyRecord | None = None
    size: Size | None = None


@dataclass(frozen=True)
class Objective:
    """One cost.

    Attributes:
        name: as a study writes it.
        label: for axes and tables.
        unit: "" for a plain number.
        direction: whether less or more is better.
        value: reads it; None when not measured.
    """

    name: str
    label: str
    unit: str
    direction: Literal["minimize", "maximize"]
    value: Callable[[Facts], float | None]

    @property
    def measured(self) -> bool:
        """Whether it needs a latency record (else it is counted from the network alone)."""
        return self.name not in ("params", "macs", "activations")


def slowdown_percent(ms: float, baseline_ms: float) -> float:
    """How much slower than the baseline, in percent.

    >>> round(slowdown_percent(38.63, 36.917), 1)
    4.6
    """
    return 100.0 * (ms / baseline_ms - 1.0)


def _of_record(read: Callable[[LatencyRecord], float | None]) -> Callable[[Facts], float | None]:
    return lambda facts: None if facts.record is None else read(facts.record)


def _slowdown(facts: Facts) -> float | None:
    if facts.record is None or facts.baseline is None:
        return None
    return slowdown_percent(facts.record.corrected_ms, facts.baseline.corrected_ms)


def _of_size(name: str) -> Callable[[Facts], float | None]:
    def read(facts: Facts) -> float | None:
        value: Any = None if facts.size is None else getattr(facts.size, name)
        return None if value is None else float(value)

    return read


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        objective.name: objective
        for objective in (
            Objective("latency_ms", "latency", "ms a batch", "minimize", _of_record(lambda r: r.median_ms)),
            Objective("batches_per_s", "speed", "batches/s", "maximize", _of_record(lambda r: r.batches_per_s)),
            Objective("slowdown_percent", "slow-down against the baseline", "%", "minimize", _slowdown),
            Objective("peak_memory_mb", "peak memory", "MB", "minimize", _of_record(lambda r: r.peak_memory_mb)),
            Objective("energy_j", "energy", "J a batch", "minimize", _of_record(lambda r: _scaled(r.energy_mj, 1e-3))),
            Objective("params", "parameters", "", "minimize", _of_size("params")),
            Objective("macs", "multiply-accumulates", "an image", "minimize", _of_size("macs")),
            Objective("activations", "activations", "an image", "minimize", _of_size("activation_elements")),
        )
    }
)
"""Every cost a study can put against mAP, by name."""


def get_objective(name: str) -> Objective:
    """The objective of that name.

    Raises:
        LatencyError: for an unknown name; lists the known ones.
    """
    if name not in OBJECTIVES:
        raise LatencyError(unknown_name("cost", name, OBJECTIVES))
    return OBJECTIVES[name]
