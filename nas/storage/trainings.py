"""Candidates, data sets and trainings: what is asked for, and the facts that come of it.

A training is keyed by (candidate, code, recipe, data, fidelity, start, seed); a stage that asks for one that is
there already shares it. Who runs it, and until when, is in `nas.storage.claims`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from nas.errors import StorageError
from nas.files.plain import JsonDict, clean, clean_text
from nas.storage.base import RepositoryPart, chunks, counted, insert_missing, insert_or_update
from nas.storage.models import (
    BY_PROTOCOL,
    KEY_NAMES,
    TRAINING_STATUSES,
    CandidateRow,
    DatasetRow,
    RecipeRow,
    Stage,
    StageTraining,
    Training,
)
from nas.storage.records import TrainingRequest

log = logging.getLogger(__name__)
OPEN = ("waiting", "running")
KEY = tuple(getattr(Training, name) for name in KEY_NAMES)
_Key: TypeAlias = tuple[str | int, ...]


class Trainings(RepositoryPart):
    """Stores what can be trained and what is asked for."""

    def ensure_candidates(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Stores candidates that are not there yet.

        A row has `id`, `architecture_id`, `notation`, `backbone`, `n_blocks` and `definition` (plain data).
        """
        stored = [{**row, "definition": clean(row["definition"])} for row in rows]
        self.write(lambda session: insert_missing(session, CandidateRow, stored))

    def set_complexity(
        self,
        architecture_id: str,
        params: int,
        macs: int,
        details: JsonDict | None = None,
        *,
        protocol_id: str | None = None,
    ) -> None:
        """Stores parameters and multiply-adds of an architecture, for all its candidates.

        Studies deploy it with heads and for images of their own: those of each protocol are kept beside the last.
        """
        told = clean({"params": params, "macs": macs, **(details or {})})

        def work(session: Session) -> None:
            rows = select(CandidateRow).filter_by(architecture_id=architecture_id).order_by(CandidateRow.id)
            for row in session.scalars(rows.with_for_update()):
                others = row.complexity.get(BY_PROTOCOL) if isinstance(row.complexity, dict) else None
                own = {} if protocol_id is None else {protocol_id: told}
                kept = {**(others if isinstance(others, dict) else {}), **own}
                row.params, row.macs = params, macs
                row.complexity = {**told, **({BY_PROTOCOL: kept} if kept else {})}

        self.write(work)

    def ensure_dataset(
        self, dataset_id: str, name: str, spec: JsonDict, counts: JsonDict, warnings: Sequence[JsonDict] | None = None
    ) -> None:
        """Stores a data-set view once; `spec` says how to make it again, `warnings` as in the table."""
        told = None if warnings is None else clean(list(warnings))
        row = {"id": dataset_id, "name": name, "spec": clean(spec), "counts": clean(counts), "warnings": told}
        self.write(lambda session: insert_missing(session, DatasetRow, [row]))

    def request_trainings(self, stage_id: int, requests: Sequence[TrainingRequest]) -> list[int]:
        """Asks for trainings, all in one transaction; returns their ids.

        An existing training is linked, never repeated. A (role, batch) of a stage is planned once: when
        it is there already, its stored ids are returned (in order of position) and nothing changes, so
        that a planner that was cut off, or two at once, end with one plan. Without an earlier plan
        the ids come in the order of the requests.

        Raises:
            StorageError: a candidate or data set of a request was not stored before.
        """
        return self.write(lambda session: _request(session, stage_id, requests))

    def knows_start(self, start: str) -> bool:
        """Whether a training of any study goes on from a start, moved or not."""
        query = select(Training.id).where(Training.start.startswith(start, autoescape=True)).limit(1)
        return bool(self.rows(query))

    def stage_trainings(self, stage_id: int) -> dict[str, int]:
        """How many trainings of a stage are waiting, running, finished and failed."""
        query = (
            select(Training.status, func.count())
            .join(StageTraining, StageTraining.training_id == Training.id)
            .where(StageTraining.stage_id == stage_id)
            .group_by(Training.status)
        )
        found: dict[str, int] = counted(self.rows(query))
        return {status: found.get(status, 0) for status in TRAINING_STATUSES}

    def has_open_trainings(self, stage_id: int) -> bool:
        """Whether a stage still waits for a training (a fast poll)."""
        query = select(StageTraining.training_id).where(StageTraining.stage_id == stage_id, StageTraining.is_open)
        return self.read(lambda session: session.scalar(query.limit(1))) is not None

    def training(self, training_id: int) -> dict[str, Any] | None:
        """All that is stored of one training, candidate, recipe and data included."""
        query = (
            select(Training, CandidateRow, RecipeRow.definition, DatasetRow)
            .join(CandidateRow, CandidateRow.id == Training.candidate_id)
            .join(RecipeRow, RecipeRow.id == Training.recipe_id)
            .join(DatasetRow, DatasetRow.id == Training.dataset_id)
            .where(Training.id == training_id)
        )
        row = self.read(lambda session: session.execute(query).one_or_none())
        if row is None:
            return None
        training, candidate, recipe, dataset = row
        columns = {column.key: getattr(training, column.key) for column in Training.__table__.columns}
        return {
            **columns,
            "notation": candidate.notation,
            "architecture_id": candidate.architecture_id,
            "candidate": candidate.definition,
            "params": candidate.params,
            "macs": candidate.macs,
            "recipe": recipe,
            "dataset": dataset.spec,
            "dataset_name": dataset.name,
            "dataset_known_by": dataset.known_by,
        }


def _request(session: Session, stage_id: int, requests: Sequence[TrainingRequest]) -> list[int]:
    # The stage's row is the lock under which a batch is planned.
    session.execute(select(Stage.id).where(Stage.id == stage_id).with_for_update())
    planned = _planned(session, stage_id, {(request.role, request.batch) for request in requests})
    _warn_of_longer_plans(stage_id, requests, planned)
    fresh = [request for request in requests if (request.role, request.batch) not in planned]
    ids = iter(_link(session, stage_id, fresh))
    return [training_id for batch in planned.values() for training_id in batch] + list(ids)


def _warn_of_longer_plans(
    stage_id: int, requests: Sequence[TrainingRequest], planned: Mapping[tuple[str, int], list[int]]
) -> None:
    asked = Counter((request.role, request.batch) for request in requests)
    for batch, ids in planned.items():
        if asked[batch] > len(ids):
            log.warning(
                "%s batch %d of stage %d was planned before with %d trainings; %d are not taken",
                *batch,
                stage_id,
                len(ids),
                asked[batch],
            )


def _planned(session: Session, stage_id: int, batches: set[tuple[str, int]]) -> dict[tuple[str, int], list[int]]:
    query = (
        select(StageTraining.role, StageTraining.batch, StageTraining.training_id)
        .where(StageTraining.stage_id == stage_id, tuple_(StageTraining.role, StageTraining.batch).in_(batches))
        .order_by(StageTraining.batch, StageTraining.position, StageTraining.training_id)
    )
    found: dict[tuple[str, int], list[int]] = {}
    for role, batch, training_id in session.execute(query):
        found.setdefault((role, batch), []).append(training_id)
    return found


def _link(session: Session, stage_id: int, requests: Sequence[TrainingRequest]) -> list[int]:
    if not requests:
        return []
    _check_known(session, CandidateRow, {request.candidate_id for request in requests}, "candidate")
    _check_known(session, DatasetRow, {request.dataset_id for request in requests}, "data set")
    recipes = {request.recipe_id: clean(request.recipe) for request in requests}
    # Content that is known here by its id replaces what an archive may have filed under it.
    rows = [{"id": key, "definition": value} for key, value in recipes.items()]
    insert_or_update(session, RecipeRow, rows, ("id",))
    insert_missing(session, Training, [_training_row(request) for request in requests])
    stored = _stored(session, [_key(request) for request in requests])
    links = [_link_row(stage_id, request, *stored[_key(request)]) for request in requests]
    insert_missing(session, StageTraining, links)
    return [stored[_key(request)][0] for request in requests]


def _check_known(session: Session, table: type[CandidateRow] | type[DatasetRow], ids: set[str], what: str) -> None:
    found: set[str] = set()
    for piece in chunks(sorted(ids)):
        found.update(session.scalars(select(table.id).where(table.id.in_(piece))))
    if missing := sorted(ids - found):
        raise StorageError(f"{what} {missing[0]} is not in the database", "store it before asking for its training")


def _key(request: TrainingRequest) -> _Key:
    return tuple(getattr(request, name) for name in KEY_NAMES)


def _stored(session: Session, keys: Sequence[_Key]) -> dict[_Key, tuple[int, str]]:
    found: dict[_Key, tuple[int, str]] = {}
    for piece in chunks(keys, 200):
        # Locked, or a training that ends at this moment would stay open for the stage that links it now.
        query = select(*KEY, Training.id, Training.status).where(tuple_(*KEY).in_(piece)).with_for_update(read=True)
        found.update({tuple(key): (id_, status) for *key, id_, status in session.execute(query)})
    return found


def _training_row(request: TrainingRequest) -> dict[str, object]:
    same = (*KEY_NAMES, "epochs", "stop_epoch", "view", "split")
    return {
        **{name: getattr(request, name) for name in same},
        "fidelity_label": clean_text(request.fidelity_label),
        "fidelity": clean(request.fidelity),
        "resume_from_id": request.resume_from,
        "init_from_id": request.init_from,
    }


def _link_row(stage_id: int, request: TrainingRequest, training_id: int, status: str) -> dict[str, object]:
    return {
        **{name: getattr(request, name) for name in ("role", "sampler", "batch", "position")},
        "stage_id": stage_id,
        "training_id": training_id,
        "sampler_attrs": clean(request.sampler_attrs),
        "is_open": status in OPEN,
    }
