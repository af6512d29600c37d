"""Reads a study's archive into a database, in one transaction.

Numbers are given anew; what is keyed by content (candidates, recipes, data, spaces, trainings, checkpoints) meets
what is there already, and what is there stays as it is, so a finished training stays one. That an archive can be
trusted is the business of `nas.storage.archive_reader`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.errors import StorageError, StudyError
from nas.progress import Progress, silent
from nas.storage.archive import TABLES, Archived, key_of
from nas.storage.archive_reader import NOTHING, Archive, ArchiveRow, IdOf, open_archive
from nas.storage.base import chunks, insert_missing
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.models import (
    KEY_NAMES,
    Base,
    CandidateRow,
    DatasetRow,
    Device,
    Environment,
    Epoch,
    FindingRow,
    Latency,
    Note,
    RecipeRow,
    SpaceRow,
    Stage,
    StageTraining,
    StudyRow,
    Training,
)
from nas.storage.repository import Repository
from nas.storage.studies import check_study_name
from nas.storage.trainings import KEY

_ID_KEYS = frozenset({"training_id", "training_ids"})


def import_study(
    repository: Repository,
    path: Path,
    *,
    name: str | None = None,
    store: CheckpointStore | None = None,
    ids: Mapping[str, IdOf] = NOTHING,
    progress: Progress = silent,
) -> Archived:
    """Brings a study from an archive into a database, all or nothing.

    Args:
        name: what to call it here; None for its own name.
        store: where its checkpoints go, named by their content; those that are there are taken as they are. Without
            it they are left in the archive.
        ids: see `open_archive`.

    Raises:
        StorageError: the archive cannot be read or is not what it says.
        StudyError: a study of that name is here already, or it cannot be a name.
    """
    if name is not None:
        check_study_name(name)
    with open_archive(path, ids) as archive:
        study = name or str(archive.rows(StudyRow)[0]["name"])
        if any(known.name == study for known in repository.studies()):
            raise StudyError(f"the database holds a study {study!r} already", "give another name: --name NAME")
        files = {} if store is None else _unpack_checkpoints(archive, store, progress)
        try:
            return repository.write(lambda session: _Import(session, archive, study, files).run())
        except IntegrityError as error:
            raise StorageError(f"{path} does not fit together: a row is not what it must be") from error


def _unpack_checkpoints(archive: Archive, store: CheckpointStore, progress: Progress) -> dict[str, str]:
    wanted = {row["checkpoint_sha256"] for row in archive.rows(Training)} - archive.checkpoints - {None}
    stored = {sha256: store.uri(key_of(sha256)) for sha256 in sorted(wanted)}
    stored = {sha256: uri for sha256, uri in stored.items() if store.is_intact(uri, sha256)}
    for done, sha256 in enumerate(sorted(archive.checkpoints)):
        progress(done, len(archive.checkpoints), "checkpoints")
        with tempfile.TemporaryDirectory() as folder:
            archive.unpack(sha256, Path(folder) / "checkpoint")
            stored[sha256], _ = store.put(Path(folder) / "checkpoint", key_of(sha256))
    return stored


class _Import:
    """One import in one transaction; `_ids` maps the archive's numbers to ours."""

    def __init__(self, session: Session, archive: Archive, study: str, files: Mapping[str, str]) -> None:
        self._session, self._archive, self._study, self._files = session, archive, study, files
        self._ids: dict[type[Base], dict[int, int]] = {StudyRow: {}, Stage: {}, Training: {}}

    def run(self) -> Archived:
        for model in (Environment, CandidateRow, RecipeRow, DatasetRow, Device):
            self._insert(model, self._archive.rows(model))
        self._spaces()
        (study,) = self._archive.rows(StudyRow)
        definition = {**study["definition"], **({"name": self._study} if "name" in study["definition"] else {})}
        self._new(StudyRow, {**study, "name": self._study, "definition": definition})
        for row in self._archive.rows(Stage):
            self._new(Stage, {**row, "study_id": self._ids[StudyRow][row["study_id"]]})
        settled = self._trainings()
        self._links()
        epochs = [{**row, "training_id": self._ids[Training][row["training_id"]]} for row in self._archive.rows(Epoch)]
        self._insert(Epoch, epochs)
        study_id = self._ids[StudyRow][study["id"]]
        self._insert(Note, [{**row, "study_id": study_id} for row in self._archive.rows(Note)])
        for row in self._archive.rows(FindingRow):
            owners = {"study_id": self._ids[StudyRow][row["study_id"]], "stage_id": self._ids[Stage][row["stage_id"]]}
            finding = renumbered(row["finding"], self._ids[Training])
            self._session.execute(insert(FindingRow).values({**_without_id(row), **owners, "finding": finding}))
        timed = self._latencies()
        counts = {model.__tablename__: len(self._archive.rows(model)) for model in TABLES}
        path = str(self._archive.path)
        return Archived(self._study, counts, len(self._files), path, self._touched(settled, timed))

    def _insert(self, model: type[Base], rows: list[ArchiveRow]) -> None:
        for piece in chunks(rows):
            insert_missing(self._session, model, piece)

    def _new(self, model: type[Base], row: ArchiveRow) -> None:
        statement = insert(model).values(_without_id(row)).returning(model.__table__.c.id)
        self._ids[model][row["id"]] = int(self._session.scalars(statement).one())

    def _spaces(self) -> None:
        left = {row["id"]: row for row in self._archive.rows(SpaceRow)}
        while left:  # parents first: a space refers to the one it was shrunk from
            ready = [row for row in left.values() if row["parent_id"] not in left]
            if not ready:
                raise self._archive.bad("its spaces descend from each other")
            insert_missing(self._session, SpaceRow, ready)
            left = {key: row for key, row in left.items() if row not in ready}

    def _trainings(self) -> list[int]:
        """Stores trainings that are new; returns those that were still to be done here and are settled now."""
        rows = self._archive.rows(Training)
        settled = [id_ for piece in chunks(rows, 200) for id_ in self._training_piece(piece)]
        ids = self._ids[Training]
        for row in rows:
            sources = {key: ids[row[key]] for key in ("resume_from_id", "init_from_id") if row[key] in ids}
            if sources:
                self._session.execute(update(Training).where(Training.id == ids[row["id"]]).values(sources))
        # Stages came before the trainings that their results speak of.
        for stage in self._session.scalars(select(Stage).where(Stage.id.in_(self._ids[Stage].values()))):
            if stage.result is not None:
                stage.result = renumbered(stage.result, ids)
        return settled

    def _training_piece(self, piece: Iterable[ArchiveRow]) -> list[int]:
        rows = {tuple(row[name] for name in KEY_NAMES): row for row in piece}
        insert_missing(self._session, Training, [self._training(row) for row in rows.values()])
        query = select(*KEY, Training.id, Training.status).where(tuple_(*KEY).in_(list(rows)))
        settled = []
        for *key, id_, status in self._session.execute(query).all():
            row = rows[tuple(key)]
            self._ids[Training][row["id"]] = id_
            if row["status"] == "finished" and status != "finished":
                self._session.execute(update(Training).where(Training.id == id_).values(self._training(row)))
                settled.append(id_)
        return settled

    def _training(self, row: ArchiveRow) -> ArchiveRow:
        uri = self._files.get(row["checkpoint_sha256"] or "")
        return {
            **_without_id(row),
            "status": "waiting" if row["status"] == "running" else row["status"],
            "attempts": 0,
            "resume_from_id": None,
            "init_from_id": None,
            "checkpoint_uri": uri,
            "checkpoint_sha256": row["checkpoint_sha256"] if uri else None,
            "imported": self._archive.label,
        }

    def _links(self) -> None:
        rows = [
            {
                **row,
                "stage_id": self._ids[Stage][row["stage_id"]],
                "training_id": self._ids[Training][row["training_id"]],
                "is_open": True,
            }
            for row in self._archive.rows(StageTraining)
        ]
        self._insert(StageTraining, rows)
        ended = select(Training.id).where(Training.status.in_(("finished", "failed")))
        closed = update(StageTraining).where(StageTraining.is_open, StageTraining.training_id.in_(ended))
        self._session.execute(closed.values(is_open=False))

    def _latencies(self) -> list[ArchiveRow]:
        """Files the latencies that are new, marked; returns them."""
        names = ("architecture_id", "protocol_id", "device", "measured", "measured_at")
        here = {tuple(row) for row in self._session.execute(select(*[getattr(Latency, name) for name in names]))}
        rows = [row for row in self._archive.rows(Latency) if tuple(row[name] for name in names) not in here]
        new = [{**_without_id(row), "imported": self._archive.label} for row in rows]
        for piece in chunks(new):
            self._session.execute(insert(Latency), list(piece))
        return new

    def _touched(self, settled: list[int], timed: list[ArchiveRow]) -> tuple[str, ...]:
        """What other studies of this database see of the import."""
        others = StudyRow.id != next(iter(self._ids[StudyRow].values()))
        asked = (
            select(StudyRow.name, func.count())
            .join(Stage, Stage.study_id == StudyRow.id)
            .join(StageTraining, StageTraining.stage_id == Stage.id)
            .where(StageTraining.training_id.in_(settled), others)
            .group_by(StudyRow.name)
            .order_by(StudyRow.name)
        )
        said = [f"{count} trainings that {name!r} waited for" for name, count in self._session.execute(asked)]
        speak = select(StudyRow.name, StudyRow.protocol_id, StudyRow.device).where(others).order_by(StudyRow.name)
        for name, protocol, device in self._session.execute(speak):
            count = sum((row["protocol_id"], row["device"]) == (protocol, device) for row in timed)
            if count:
                said.append(f"{count} latencies on the device of {name!r}, used where it has none of its own")
        return tuple(said)


def _without_id(row: ArchiveRow) -> ArchiveRow:
    return {key: value for key, value in row.items() if key != "id"}


def renumbered(value: object, ids: Mapping[int, int]) -> Any:
    """Plain data with the training ids in it (`training_id`, `training_ids`) given anew; unknown ones dropped.

    >>> renumbered({"evidence": {"training_ids": [1, 2, 9], "p": 1}}, {1: 11, 2: 12})
    {'evidence': {'training_ids': [11, 12], 'p': 1}}
    """
    if isinstance(value, list):
        return [renumbered(item, ids) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _renumbered_ids(item, ids) if key in _ID_KEYS else renumbered(item, ids) for key, item in value.items()
    }


def _renumbered_ids(value: object, ids: Mapping[int, int]) -> Any:
    if isinstance(value, list):
        return [ids[item] for item in value if item in ids]
    return ids.get(value) if isinstance(value, int) else value
