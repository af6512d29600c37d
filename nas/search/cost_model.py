"""What a candidate costs in the study's unit: as `nas.results` reads what is stored, else predicted.

The unit is the study's `cost` key. Time and energy come from stored measurements (or from a replayed table) and, for
networks not measured, from the additive model; sizes are computed from the network's structure. Limits may be set in
any of these units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nas.errors import LatencyError, NasError
from nas.results.additive import AdditiveModel, Once, Row, cross_validate, twins
from nas.results.cost_tables import parse_once, time_quote
from nas.results.costs import COSTS, UNKNOWN, Quote, ratio
from nas.spaces import Candidate

if TYPE_CHECKING:
    import pandas as pd

    from nas.networks.complexity import Complexity
    from nas.search.context import StudyContext
    from nas.search.definition import TrainingStage

ENOUGH = 8
"""Measured networks with several blocks that it takes to fit a cost once a network, and to judge a prediction."""
DRAW_ATTEMPTS = 30
"""Draws of the whole number until enough candidates are new and inside the limits; then there are fewer of them."""
MOST_VALIDATED = 40
"""Of these, how many are left out in turn for the judgement at most: a search asks often."""


@dataclass
class CostModel:
    """Costs of candidates in one unit, from what is stored at this moment.

    Attributes:
        unit: a name of `nas.results.costs.COSTS`.
        known: cost of each network that was measured, or that a table gives, in the unit of its column.
        additive: predicts the others; None where nothing can be predicted, or before a baseline was measured.
        count: sizes of a candidate as it is deployed; None: a table says all there is.
        slow_downs: whether what is known are slow-downs already, not times.
    """

    unit: str
    known: dict[Candidate, Quote]
    additive: AdditiveModel | None = None
    count: Callable[[Candidate], Complexity] | None = None
    slow_downs: bool = False
    _counted: dict[Candidate, Quote] = field(default_factory=dict)

    @classmethod
    def of(cls, context: StudyContext, unit: str | None = None) -> CostModel:
        """The cost model of a study, from the costs in its database or table; the last one while these are the same.

        Args:
            unit: what is counted; None: the study's `cost`.
        """
        unit = unit or context.definition.cost
        given = context.replay is not None or (COSTS[unit].kind == "counted" and not context.tells(unit))
        costs = None if given else context.costs()
        known = context.cost_models.get(unit)
        if known is None or known[0] is not costs:
            known = context.cost_models[unit] = costs, cls._made(context, unit, costs)
        return known[1]

    @classmethod
    def _made(cls, context: StudyContext, unit: str, costs: pd.DataFrame | None) -> CostModel:
        """From what is known; without costs from the table, or by counting."""
        cost = COSTS[unit]
        if context.replay is not None:
            given = context.replay.given
            if unit == "slowdown_percent" and unit in given:
                return cls(unit, _quotes(given, unit), slow_downs=True)
            known = _quotes(given, cost.column) if cost.column in given else {}
            return cls(unit, known, None, context.complexity if cost.kind == "counted" and not known else None)
        if costs is None:
            return cls(unit, {}, None, context.complexity)
        known = _quotes(costs, cost.column)
        if unit in ("peak_memory_mb", "latency_p95_ms"):  # blocks share memory, percentiles are no sums
            return cls(unit, known)
        rows = [Row(candidate, q.value) for candidate, q in known.items() if q.value is not None]
        additive = _fitted(rows, 100.0 * context.definition.latency.max_relative_error)
        return cls(unit, known | {twin: known[one] for twin, one in twins(known).items()}, additive)

    def cost(self, candidate: Candidate) -> float | None:
        """Cost of a candidate, less is better; None when neither known nor predictable."""
        return self.quote(candidate).value

    def quote(self, candidate: Candidate) -> Quote:
        """The same, with how it is known and how surely."""
        network = candidate.architecture
        if self.unit != "slowdown_percent" or self.slow_downs:
            return self._plain(network)
        over = ratio(self._plain(network), self._plain(network.baseline))
        if over is None:
            return UNKNOWN
        low, value, high = (None if r is None else 100.0 * (r - 1.0) for r in (over.low, over.value, over.high))
        return Quote(value, low, high, self._plain(network).how)

    def _plain(self, network: Candidate) -> Quote:
        """Known, counted or predicted, in the unit of the column."""
        known = self.known.get(network, UNKNOWN)
        if known.value is not None:
            return known
        if self.count is not None:
            return self._count(network, self.count)
        predicted = None if self.additive is None else self.additive.predict(network)
        return known if predicted is None else Quote(predicted, how="predicted", why=_doubt(known))

    def _count(self, network: Candidate, count: Callable[[Candidate], Complexity]) -> Quote:
        if network not in self._counted:
            try:
                found = count(network)
            except NasError as error:
                self._counted[network] = Quote(why=error.message)
            else:
                value = {"params": found.params, "macs": found.macs, "activations": found.activation_elements}[
                    self.unit
                ]
                self._counted[network] = Quote.exactly(float(value), "counted")
        return self._counted[network]


def paid(context: StudyContext) -> list[CostModel]:
    """The models of everything that a study pays mAP with, its `cost` first."""
    return [CostModel.of(context, unit) for unit in (context.definition.cost, *context.definition.more_costs)]


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
        if not (most := settings.band):
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


def _quotes(costs: pd.DataFrame, column: str) -> dict[Candidate, Quote]:
    """A column of `Repository.costs` by network."""
    rows = costs.to_dict("records")
    if column == "latency_ms":
        return {parse_once(row["notation"]): time_quote(row) for row in rows}
    known = [(row, float(row[column])) for row in rows if row[column] is not None and row[column] == row[column]]
    return {
        parse_once(row["notation"]): Quote.exactly(value, "table")
        if row["latency_how"] == "table"
        else Quote(value, how="measured")
        for row, value in known
    }


def _doubt(quote: Quote) -> str:
    """Why a network that was timed is predicted all the same: no rule rests on such a time."""
    return "" if quote == UNKNOWN else quote.why


def _fitted(rows: list[Row], worst_percent: float) -> AdditiveModel | None:
    """The additive model, with a once-per-network cost when multi-block networks were measured.

    None when it was seen to be wrong: its mean error on networks left out of its fit is above `worst_percent`.
    """
    bare = {row.candidate.baseline for row in rows if not row.candidate.placements}
    usable = [row for row in rows if row.candidate.baseline in bare]
    if not usable:
        return None
    parts = [row for row in usable if len(row.candidate.placements) < 2]
    several = [row for row in usable if len(row.candidate.placements) > 1]
    once: Once = "network" if len(several) >= ENOUGH else "none"
    seen = cross_validate([*parts, *several[:MOST_VALIDATED]], once) if len(several) >= ENOUGH else None
    if seen is not None and seen.mean_percent > worst_percent:
        return None
    return AdditiveModel.fit(usable, once)
