"""What a candidate costs in the study's unit: measured where it was measured, else predicted.

The unit is the study's `cost` key. Latency-like costs come from stored measurements and, for
networks not measured, from the additive model; sizes are computed from the network's structure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nas.errors import LatencyError, NasError
from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.latency import AdditiveModel
    from nas.search.context import StudyContext


@dataclass
class CostModel:
    """Costs of candidates in one study, from what is stored at this moment.

    Attributes:
        unit: the study's `cost` key, e.g. `latency_ms`.
        measured: value by architecture id, measured ones only.
        additive: predicts latency of the others; None before a baseline was measured.
        baseline: the networks without blocks, for slow-downs.
    """

    unit: str
    measured: dict[str, float]
    additive: AdditiveModel | None
    baselines: tuple[Candidate, ...]
    input_size: tuple[int, int]
    table: dict[str, float] = field(default_factory=dict)
    _computed: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, context: StudyContext) -> CostModel:
        """The cost model of a study, from the latencies in its database."""
        if context.replay is not None:
            costs = context.replay.costs()
            return cls("table", {}, None, tuple(context.baselines), (0, 0), costs)
        unit = context.definition.cost
        record_key = _RECORD_KEYS.get(unit, "median_ms")
        found = context.repository.find_latencies(None, context.protocol.id, context.device_name).values()
        values = {i.architecture_id: getattr(i, record_key, None) or i.record.get(record_key) for i in found}
        measured = {key: float(value) for key, value in values.items() if value is not None}
        additive = None
        if record_key == "median_ms":
            rows = [(Candidate.parse(i.notation), i.median_ms) for i in found]
            additive = _fitted(rows)
        return cls(unit, measured, additive, tuple(context.baselines), context.definition.latency.input)

    def cost(self, candidate: Candidate) -> float | None:
        """Cost of a candidate; None when neither measured nor predictable."""
        if self.table:
            return self.table.get(candidate.notation)
        if self.unit in ("params", "macs"):
            return self._size(candidate)
        value = self.latency(candidate)
        if self.unit != "slowdown_percent" or value is None:
            return value
        base = self.latency(candidate.baseline)
        return None if not base else 100.0 * (value / base - 1.0)

    def latency(self, candidate: Candidate) -> float | None:
        """Measured value, or the additive prediction."""
        architecture = candidate.architecture
        if architecture.id in self.measured:
            return self.measured[architecture.id]
        return None if self.additive is None else self.additive.predict(architecture)

    def limit(self, max_ms: float | None, max_slowdown: float | None) -> float | None:
        """The tighter of two latency limits in the study's unit; None without any.

        Raises:
            LatencyError: a limit was set but the baseline's latency is not known.
        """
        if max_ms is None and max_slowdown is None:
            return None
        if self.unit == "slowdown_percent":
            return max_slowdown
        limits = [] if max_ms is None else [max_ms]
        if max_slowdown is not None:
            base = self.latency(self.baselines[0])
            if base is None:
                raise LatencyError("max_slowdown needs the baseline's latency", "put a `profile` stage first")
            limits.append(base * (1.0 + max_slowdown / 100.0))
        return min(limits)

    def _size(self, candidate: Candidate) -> float | None:
        key = candidate.architecture.id
        if key not in self._computed:
            from nas.networks import complexity

            try:
                found = complexity(candidate.architecture, input_size=self.input_size)
                self._computed[key] = float(getattr(found, self.unit))
            except NasError:
                self._computed[key] = None
        return self._computed[key]


_RECORD_KEYS = {"peak_memory_mb": "peak_memory_mb", "energy_j": "energy_mj"}


def _fitted(rows: list[tuple[Candidate, float]]) -> AdditiveModel | None:
    """The additive model with a once-per-network cost when multi-block networks were measured."""
    from nas.latency import AdditiveModel

    bare = {c.baseline for c, _ in rows if not c.placements}
    usable = [(c, ms) for c, ms in rows if c.baseline in bare]
    if not usable:
        return None
    several = sum(1 for c, _ in usable if len(c.placements) > 1)
    return AdditiveModel.fit(usable, once="network" if several >= 8 else "none")
