"""What a candidate costs in the study's unit: measured where it was measured, else predicted.

The unit is the study's `cost` key. Time and energy come from stored measurements and, for networks not measured, from
the additive model; sizes are computed from the network's structure. Limits may be set in any of these units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nas.errors import LatencyError, NasError
from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.latency import AdditiveModel
    from nas.latency.prediction import Once
    from nas.search.context import StudyContext
    from nas.search.definition import TrainingStage

SIZES: Mapping[str, str] = {"params": "params", "macs": "macs", "activations": "activation_elements"}
"""Costs counted from the network alone, and what `nas.networks.Complexity` calls them."""

FROM_TIME = frozenset({"latency_ms", "batches_per_s", "slowdown_percent"})
"""Costs that are the time of a batch in other words. Batches/s are paid as milliseconds: the order is the same."""

ENOUGH = 8
"""Measured networks with several blocks that it takes to fit a cost once a network, and to judge a prediction."""
MOST_VALIDATED = 40
"""Of these, how many are left out in turn for the judgement at most: a search asks often."""


@dataclass
class CostModel:
    """Costs of candidates in one unit, from what is stored at this moment.

    Attributes:
        unit: a name of `nas.search.definition.OBJECTIVES`, e.g. `latency_ms`.
        measured: value by architecture id, measured ones only.
        additive: predicts the others; None where nothing can be predicted, or before a baseline was measured.
        baselines: the networks without blocks, for slow-downs.
        input_size: height and width that sizes are counted for.
        table: costs by notation of a study that replays a table; they stand for everything but sizes.
    """

    unit: str
    measured: dict[str, float]
    additive: AdditiveModel | None
    baselines: tuple[Candidate, ...]
    input_size: tuple[int, int]
    table: dict[str, float] = field(default_factory=dict)
    _computed: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, context: StudyContext, unit: str | None = None) -> CostModel:
        """The cost model of a study, from the latencies in its database.

        Args:
            unit: what is counted; None: the study's `cost`.
        """
        own, given = context.definition.cost, unit or context.definition.cost
        size = context.definition.latency.input
        baselines = tuple(context.baselines)
        if context.replay is not None:
            return cls(given, {}, None, baselines, size, _of_table(context.replay.costs(), own, given))
        if given in SIZES:
            return cls(given, {}, None, baselines, size)
        found = context.repository.find_latencies(None, context.protocol.id, context.device_name).values()
        read = _READINGS.get(given, _corrected_ms)
        values = [(i, value) for i in found if (value := read(i.record)) is not None]
        measured = {i.architecture_id: value for i, value in values}
        rows = [] if given == "peak_memory_mb" else [(Candidate.parse(i.notation), v) for i, v in values]
        additive = _fitted(rows, 100.0 * context.definition.latency.max_relative_error)
        return cls(given, measured, additive, baselines, size)

    def cost(self, candidate: Candidate) -> float | None:
        """Cost of a candidate, less is better; None when neither measured nor predictable."""
        if self.table:
            return self.table.get(candidate.notation)
        if self.unit in SIZES:
            return self._size(candidate)
        value = self._plain(candidate)
        if self.unit != "slowdown_percent" or value is None:
            return value
        base = self._plain(candidate.baseline)
        return None if not base else 100.0 * (value / base - 1.0)

    def _plain(self, candidate: Candidate) -> float | None:
        """Measured value, or the additive prediction."""
        architecture = candidate.architecture
        if architecture.id in self.measured:
            return self.measured[architecture.id]
        return None if self.additive is None else self.additive.predict(architecture)

    def _size(self, candidate: Candidate) -> float | None:
        key = candidate.architecture.id
        if key not in self._computed:
            from nas.networks import complexity

            try:
                found = complexity(candidate.architecture, input_size=self.input_size)
                self._computed[key] = float(getattr(found, SIZES[self.unit]))
            except NasError:
                self._computed[key] = None
        return self._computed[key]


@dataclass(frozen=True)
class Limits:
    """Upper limits on costs, whatever the study pays mAP with.

    Attributes:
        most: the limit by unit.
        models: what candidates cost in these units.
    """

    most: Mapping[str, float]
    models: Mapping[str, CostModel]

    @classmethod
    def of(cls, context: StudyContext, settings: TrainingStage) -> Limits | None:
        """The limits of a stage; None without any.

        Raises:
            LatencyError: a slow-down is limited, but the baseline's latency is not known.
        """
        most = dict(settings.limits)
        for unit, value in (("latency_ms", settings.max_latency_ms), ("slowdown_percent", settings.max_slowdown)):
            if value is not None:
                most[unit] = min(value, most.get(unit, value))
        if not most:
            return None
        models = {unit: CostModel.of(context, unit) for unit in most}
        slowdown = models.get("slowdown_percent")
        if slowdown is not None and slowdown.cost(context.baselines[0]) is None:
            raise LatencyError("max_slowdown needs the baseline's latency", "put a `profile` stage first")
        return cls(most, models)

    def admit(self, candidate: Candidate) -> bool:
        """Whether a candidate is not known to be over a limit."""
        costs = {unit: model.cost(candidate) for unit, model in self.models.items()}
        return all(cost is None or cost <= self.most[unit] for unit, cost in costs.items())


def _corrected_ms(record: Mapping[str, Any]) -> float | None:
    """The median as it would be without the machine's drift, where that was read."""
    return float(record["median_ms"]) / (1.0 + float(record.get("drift") or 0.0))


def _reading(key: str, scale: float = 1.0) -> Callable[[Mapping[str, Any]], float | None]:
    def read(record: Mapping[str, Any]) -> float | None:
        value = record.get(key)
        return None if value is None else float(value) * scale

    return read


_READINGS = {"peak_memory_mb": _reading("peak_memory_mb"), "energy_j": _reading("energy_mj", 1e-3)}


def _of_table(costs: Mapping[str, float], own: str, unit: str) -> dict[str, float]:
    """A table's costs, which are in the study's unit, in another one; {} where that cannot be had."""
    if own == "batches_per_s":
        costs = {notation: 1000.0 / value for notation, value in costs.items()}
    if unit == own or {unit, own} <= FROM_TIME - {"slowdown_percent"}:
        return dict(costs)
    if unit != "slowdown_percent" or own not in FROM_TIME:
        return {}
    bases = {notation: costs.get(Candidate.parse(notation).baseline.notation) for notation in costs}
    return {notation: 100.0 * (costs[notation] / base - 1.0) for notation, base in bases.items() if base}


def _fitted(rows: list[tuple[Candidate, float]], worst_percent: float) -> AdditiveModel | None:
    """The additive model, with a once-per-network cost when multi-block networks were measured.

    None when it was seen to be wrong: its mean error on networks left out of its fit is above `worst_percent`.
    """
    from nas.latency import AdditiveModel
    from nas.latency.prediction import cross_validate

    bare = {c.baseline for c, _ in rows if not c.placements}
    usable = [(c, value) for c, value in rows if c.baseline in bare]
    if not usable:
        return None
    parts, several = [r for r in usable if len(r[0].placements) < 2], [r for r in usable if len(r[0].placements) > 1]
    once: Once = "network" if len(several) >= ENOUGH else "none"
    seen = cross_validate([*parts, *several[:MOST_VALIDATED]], once) if len(several) >= ENOUGH else None
    if seen is not None and seen.mean_percent > worst_percent:
        return None
    return AdditiveModel.fit(usable, once)
