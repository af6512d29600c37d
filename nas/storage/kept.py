"""The results of one study as this process last read them, brought up to date at each look.

A search asks for its results again and again, and nearly all of them are facts by then. A look reads every row without
what is JSON and compares it with the one that is kept: only rows that are new or other are read in full, and tables are
made anew only where one is. Rows are told apart by their values, not by a mark beside them: ids are given again after a
deletion, clocks are set back, and a database may be an older copy of itself. (What a trainer told is read again when
the time at which it finished is another: both are written at once.)
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import pandas as pd
from sqlalchemy import String, cast, func, select
from sqlalchemy.orm import Session

from nas.errors import StudyError, unknown_name
from nas.results.columns import RESULT_COLUMNS
from nas.results.cost_tables import beside_told, given_table, time_table, with_costs
from nas.storage.base import chunks
from nas.storage.models import CandidateRow, Latency, Stage, StageTraining, StudyRow, Training
from nas.storage.repository import Repository
from nas.storage.tables import mean_costs, results_query, sizes

_Key: TypeAlias = tuple[str, int]
_Values: TypeAlias = tuple[object, ...]

# As text: to compare them is cheaper than to read them, and as exact.
_AS_STORED = (
    CandidateRow.params.label("params"),
    CandidateRow.macs.label("macs"),
    cast(CandidateRow.complexity, String).label("activations"),
)


class _Study(NamedTuple):
    """What a study's tables depend on beside its trainings and latencies."""

    id: int
    protocol_id: str | None
    device: str | None
    objective: Mapping[str, object]


class _Row(NamedTuple):
    """One row of the results: as it was compared, as it stands in the table, and what is beside it."""

    stored: _Values
    full: _Values
    notation: str
    attrs: Mapping[str, object]
    costs: Mapping[str, float]


class KeptResults:
    """Results and costs of one study, equal to those of `Repository`; safe to share between threads.

    Tables that were given out are not changed later; one that is the same object as before is the same in content.
    """

    def __init__(self, repository: Repository, study: str) -> None:
        self._repository, self._name = repository, study
        self._query = results_query(study, _AS_STORED).add_columns(
            cast(StageTraining.sampler_attrs, String).label("noted")
        )
        self._lock = threading.RLock()
        self._study: _Study | None = None
        self._rows: dict[_Key, _Row] = {}
        self._timed: tuple[object, pd.DataFrame] | None = None
        self._told: tuple[object, pd.DataFrame, pd.DataFrame] | None = None
        self._results: tuple[dict[_Key, _Row], pd.DataFrame, pd.DataFrame] | None = None

    def look(self) -> None:
        """Brings what is kept up to date.

        Raises:
            StudyError: there is no study of this name any more.
        """
        with self._lock:
            self._study, self._rows = self._repository.read(self._look)

    def results(self) -> pd.DataFrame:
        """As `Repository.results`, at the last look."""
        with self._lock:
            costs = self.costs()
            if self._results is None or self._results[0] is not self._rows or self._results[1] is not costs:
                query = results_query(self._name, sizes(self._known.protocol_id))
                table = self._repository.framed(query, [row.full for row in self._rows.values()])
                table = with_costs(table, costs).reindex(columns=list(RESULT_COLUMNS))
                self._results = self._rows, costs, table
            return self._results[2].copy(deep=False)

    def costs(self) -> pd.DataFrame:
        """As `Repository.costs`: what was told at the last look, and what is measured now."""
        with self._lock:
            study = self._known
            return self._repository.costs_by(self._name, study.objective, lambda: self._times(study), self._beside)

    def sampler_attrs(self) -> dict[int, Mapping[str, object]]:
        """What samplers noted beside their proposals, by training, at the last look; none where nothing was noted."""
        with self._lock:
            return {training: row.attrs for (_, training), row in self._rows.items() if row.attrs}

    @property
    def _known(self) -> _Study:
        if self._study is None:
            self.look()
        assert self._study is not None
        return self._study

    def _look(self, session: Session) -> tuple[_Study, dict[_Key, _Row]]:
        """What is there now; sets nothing, as its transaction may fail and be tried again."""
        objective = StudyRow.definition["objective"]
        found = session.execute(
            select(StudyRow.id, StudyRow.protocol_id, StudyRow.device, objective).where(StudyRow.name == self._name)
        ).one_or_none()
        if found is None:
            known = session.scalars(select(StudyRow.name)).all()
            raise StudyError(unknown_name("study", self._name, known), f"database: {self._repository.database.url}")
        study = _Study(found[0], found[1], found[2], found[3] or {})
        kept = self._rows if self._study is not None and self._study[:2] == study[:2] else {}
        names = [column.name for column in self._query.selected_columns]
        stage, training, notation, counted = map(names.index, ("stage", "training_id", "notation", "params"))
        stored = {(row[stage], row[training]): tuple(row) for row in session.connection().execute(self._query)}
        other = {key for key, values in stored.items() if key not in kept or kept[key].stored != values}
        if not other and len(stored) == len(kept) and list(stored) == list(kept):
            return study, kept
        read = dict(self._in_full(session, study, {number for _, number in other}))
        rows: dict[_Key, _Row] = {}
        for key, values in stored.items():
            if key not in other:
                rows[key] = kept[key]
                continue
            counts, attrs, costs = read[key]
            full = (*values[:counted], *counts, *values[counted + len(counts) : -1])
            rows[key] = _Row(values, full, str(values[notation]), attrs, costs)
        return study, rows

    def _in_full(
        self, session: Session, study: _Study, trainings: Iterable[int]
    ) -> Iterator[tuple[_Key, tuple[_Values, Mapping[str, object], Mapping[str, float]]]]:
        """Sizes, notes and told costs of rows, by key."""
        query = (
            select(Stage.name, Training.id, *sizes(study.protocol_id))
            .add_columns(StageTraining.sampler_attrs, Training.status, Training.metrics["costs"])
            .select_from(Stage)
            .join(StageTraining, StageTraining.stage_id == Stage.id)
            .join(Training, Training.id == StageTraining.training_id)
            .join(CandidateRow, CandidateRow.id == Training.candidate_id)
            .where(Stage.study_id == study.id)
        )
        for piece in chunks(sorted(trainings)):
            for stage, training, *counted, attrs, status, costs in session.execute(query.where(Training.id.in_(piece))):
                yield (stage, training), (tuple(counted), attrs, (status == "finished" and costs) or {})

    def _beside(self, timed: pd.DataFrame) -> pd.DataFrame:
        """Means of the costs that one's own trainer gave, beside the measured ones."""
        found = {training: (row.notation, row.costs) for (_, training), row in self._rows.items() if row.costs}
        told = dict(sorted(found.items()))
        if self._told is None or self._told[0] != told or self._told[1] is not timed:
            self._told = told, timed, beside_told(timed, given_table(mean_costs(told.values()), "told"))
        return self._told[2]

    def _times(self, study: _Study) -> pd.DataFrame:
        """Times of the study's protocol and device; latencies are only ever added."""
        if study.protocol_id is None or study.device is None:
            mark: object = None
        else:
            added = (func.count(), func.max(Latency.id), func.max(Latency.measured_at), func.sum(Latency.median_ms))
            query = select(*added).where(Latency.protocol_id == study.protocol_id, Latency.device == study.device)
            mark = study.protocol_id, study.device, *self._repository.rows(query)[0]
        if self._timed is None or self._timed[0] != mark:
            protocol, device = study.protocol_id, study.device
            records = [] if protocol is None or device is None else self._repository.newest_records(protocol, device)
            self._timed = mark, time_table(records)
        return self._timed[1]
