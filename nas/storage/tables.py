"""What statistics, reports and the dashboard read: pandas tables, one query each.

Columns are fixed and documented here; what was not measured is NaN or None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import pandas as pd
from sqlalchemy import ColumnElement, Float, Integer, Numeric, String, func, select

from nas.results.columns import RESULT_COLUMNS
from nas.results.cost_tables import beside_told, given_table, time_table, with_costs
from nas.storage.base import AnyRow, AnySelect, trainings_of
from nas.storage.latencies import NEWEST_FIRST
from nas.storage.models import (
    BY_PROTOCOL,
    CandidateRow,
    DatasetRow,
    Epoch,
    Latency,
    Stage,
    StageTraining,
    StudyRow,
    Training,
)
from nas.storage.retry import damaged
from nas.storage.studies import Studies

_NUMBERS = (
    "map",
    "rank1",
    "minp",
    "latency_ms",
    "latency_p5_ms",
    "latency_p95_ms",
    "batches_per_s",
    "peak_memory_mb",
    "energy_j",
    "latency_low_ms",
    "latency_high_ms",
    "params",
    "macs",
    "activations",
    "seconds",
    "images_per_s",
    "epochs",
)
LATENCY_COLUMNS = tuple(column.key for column in Latency.__table__.columns if column.key not in ("protocol", "record"))
_COSTS = [
    *(Latency.architecture_id, Latency.notation, Latency.measured, Latency.median_ms, Latency.p5_ms, Latency.p95_ms),
    *(Latency.drift, Latency.isolated, Latency.peak_memory_mb),
    *(
        Latency.record[key].as_float().label(key)
        for key in ("energy_mj", "ratio", "ratio_low", "ratio_high", "reference_ms")
    ),
    Latency.record["reference"].as_string().label("reference"),
    Latency.record["builds"].label("builds"),
    Latency.record["environment"]["others_cpu_share"].as_float().label("others_cpu_share"),
]
# What pandas says of the values of a column, by the column's type.
_KINDS: tuple[tuple[tuple[type, ...], set[str]], ...] = (
    ((String,), {"string", "empty"}),
    ((Integer, Numeric, Float), {"integer", "floating", "mixed-integer-float", "empty"}),
)
_GIVEN: dict[str, pd.DataFrame] = {}
"""Costs of replayed tables by id, which is of their content: a search asks for results again and again."""


class Tables(Studies):
    """Tables of a study."""

    def results(self, study: str) -> pd.DataFrame:
        """One row a (stage, training), in the order they were planned.

        Costs are those of `costs`; `latencies` has times as they were measured.

        Raises:
            StudyError: there is no study of this name.
        """
        query = results_query(study, sizes(self.study(study).protocol_id))
        return with_costs(self._frame(query), self.costs(study)).reindex(columns=list(RESULT_COLUMNS))

    def costs(self, study: str) -> pd.DataFrame:
        """What the study's networks cost, one row an architecture, by `architecture_id`.

        Columns as in `nas.results.cost_tables.time_table`; what follows from a network alone stands in the results.
        Times are those of the study's own protocol and device (`set_study_latency`), on a table those of the table.

        Raises:
            StudyError: there is no study of this name.
        """
        info = self.study(study)
        return self.costs_by(
            study,
            info.definition.get("objective") or {},
            lambda: time_table(self.newest_records(info.protocol_id, info.device)),
            lambda timed: beside_told(timed, given_table(self._told_costs(study), "told")),
        )

    def costs_by(
        self,
        study: str,
        objective: Mapping[str, object],
        timed: Callable[[], pd.DataFrame],
        beside: Callable[[pd.DataFrame], pd.DataFrame],
    ) -> pd.DataFrame:
        """Costs by a study's objective: its table's, else the measured ones, which what was told stands beside."""
        if objective.get("table"):
            return self._given_costs(study)
        return beside(timed()) if objective.get("costs") else timed()

    def newest_records(self, protocol_id: str | None, device: str | None) -> list[dict[str, object]]:
        """The newest figure of every architecture, a measured one before a predicted one: what costs are read from."""
        if protocol_id is None or device is None:
            return []
        query = (
            select(*_COSTS).where(Latency.protocol_id == protocol_id, Latency.device == device).order_by(*NEWEST_FIRST)
        )
        found: dict[str, dict[str, object]] = {}
        for row in self.rows(query):
            values = dict(row._mapping)
            values["environment"] = {"others_cpu_share": values.pop("others_cpu_share")}
            found.setdefault(row.architecture_id, values)
        return list(found.values())

    def _given_costs(self, study: str) -> pd.DataFrame:
        """The costs that a replayed table gives; the same object as long as they are the same."""
        table = self.replayed_table(study)
        if table is None:
            return given_table({})
        if table not in _GIVEN:
            specs = self.rows(select(DatasetRow.spec).where(DatasetRow.id == table))
            _GIVEN[table] = given_table(specs[0].spec.get("costs") or {})
        return _GIVEN[table]

    def _told_costs(self, study: str) -> dict[str, dict[str, float]]:
        """Mean of the costs that one's own trainer gave, by name and notation."""
        rows = self.rows(_told_query(study))
        return mean_costs((notation, (metrics or {}).get("costs") or {}) for notation, metrics in rows)

    def told(self, study: str) -> pd.DataFrame:
        """All numbers that one's own trainer gave: training_id and one column a metric."""
        rows = self.rows(_told_query(study).add_columns(Training.id))
        told = [{"training_id": number, **((metrics or {}).get("told") or {})} for _, metrics, number in rows]
        return pd.DataFrame(told, columns=None if told else ["training_id"])

    def replayed_table(self, study: str) -> str | None:
        """Id of the table that a study replays; None before its first training was asked for."""
        query = (
            select(DatasetRow.id)
            .join(Training, Training.dataset_id == DatasetRow.id)
            .where(DatasetRow.name == "table", Training.id.in_(trainings_of(study)))
            .limit(1)
        )
        return next((str(row.id) for row in self.rows(query)), None)

    def latencies(self, *, protocol_id: str | None = None, device: str | None = None) -> pd.DataFrame:
        """All latencies, one row a measurement, oldest first; columns as `LATENCY_COLUMNS`."""
        query = select(*[getattr(Latency, name) for name in LATENCY_COLUMNS]).order_by(Latency.id)
        if protocol_id is not None:
            query = query.where(Latency.protocol_id == protocol_id)
        if device is not None:
            query = query.where(Latency.device == device)
        return self._frame(query)

    def epochs(self, training_id: int) -> pd.DataFrame:
        """The curve of one training: epoch, lr, seconds, images and one column a loss term."""
        query = (
            select(Epoch.epoch, Epoch.lr, Epoch.seconds, Epoch.images, Epoch.losses)
            .where(Epoch.training_id == training_id)
            .order_by(Epoch.epoch)
        )
        rows = self.rows(query)
        return pd.DataFrame([{**row._mapping, **row.losses} for row in rows]).drop(columns="losses", errors="ignore")

    def _frame(self, query: AnySelect) -> pd.DataFrame:
        return self.framed(query, self.rows(query))

    def framed(self, query: AnySelect, rows: Sequence[AnyRow] | Sequence[tuple[object, ...]]) -> pd.DataFrame:
        """Rows of a query as a table, each column of the type that is documented."""
        columns = query.selected_columns
        frame = pd.DataFrame.from_records(rows, columns=[column.name for column in columns])
        for column in columns:
            kinds = next((kinds for types, kinds in _KINDS if isinstance(column.type, types)), None)
            if kinds and (found := pd.api.types.infer_dtype(frame[column.name], skipna=True)) not in kinds:
                raise damaged(self.database.url, f"values of {column.name} are {found}")
        for name in _NUMBERS:
            if name in frame:
                frame[name] = pd.to_numeric(frame[name]).astype("float64")
        for name in ("finished_at", "measured_at"):
            if name in frame:
                frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
        return frame


def mean_costs(told: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Mean of costs that were told with a notation each, by name and notation."""
    given: dict[str, dict[str, list[float]]] = {}
    for notation, costs in told:
        for name, value in costs.items():
            given.setdefault(name, {}).setdefault(notation, []).append(float(value))
    return {name: {n: fmean(values) for n, values in by.items()} for name, by in given.items()}


def _told_query(study: str) -> AnySelect:
    return (
        select(CandidateRow.notation, Training.metrics)
        .join(Training, Training.candidate_id == CandidateRow.id)
        .where(Training.status == "finished", Training.id.in_(trainings_of(study)))
        .order_by(Training.id)
    )


def sizes(protocol_id: str | None) -> list[ColumnElement[Any]]:
    """Sizes as a protocol's studies deploy a network; of those that stored none, as it was counted last."""
    stored = CandidateRow.complexity
    last: list[tuple[str, str, ColumnElement[Any]]] = [
        ("params", "params", CandidateRow.params.expression),
        ("macs", "macs", CandidateRow.macs.expression),
        ("activations", "activation_elements", stored["activation_elements"].as_float()),
    ]
    if protocol_id is None or not protocol_id.isalnum():
        return [size.label(name) for name, _, size in last]
    return [
        func.coalesce(stored[(BY_PROTOCOL, protocol_id, key)].as_float(), size).label(name) for name, key, size in last
    ]


def results_query(study: str, counted: Sequence[ColumnElement[Any]]) -> AnySelect:
    """Results without costs; `counted` are the columns `params`, `macs` and `activations`."""
    return (
        select(
            StudyRow.name.label("study"),
            Stage.name.label("stage"),
            Stage.kind.label("stage_kind"),
            StageTraining.role,
            StageTraining.sampler,
            StageTraining.batch,
            Training.id.label("training_id"),
            Training.candidate_id,
            CandidateRow.architecture_id,
            CandidateRow.notation,
            CandidateRow.backbone,
            CandidateRow.n_blocks,
            Training.fidelity_label.label("fidelity"),
            Training.epochs,
            Training.start,
            Training.code,
            Training.seed,
            Training.split,
            Training.status,
            Training.failure_kind,
            Training.map,
            Training.rank1,
            Training.minp,
            *counted,
            Training.seconds,
            Training.images_per_s,
            Training.finished_at,
            Stage.space_id,
        )
        .join(Stage, Stage.study_id == StudyRow.id)
        .join(StageTraining, StageTraining.stage_id == Stage.id)
        .join(Training, Training.id == StageTraining.training_id)
        .join(CandidateRow, CandidateRow.id == Training.candidate_id)
        .where(StudyRow.name == study)
        .order_by(Stage.position, StageTraining.batch, StageTraining.position, Training.id)
    )
