"""Reads a study's archive into a database, in one transaction.

Ids are given anew; what is keyed by content (candidates, recipes, data, spaces, trainings) meets
what is there already, so a finished training stays one. That an archive can be trusted is the business
of `nas.storage.archive_reader`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.errors import StorageError, StudyError
from nas.progress import Progress, silent
from nas.storage.archive import TABLES, Archived
from nas.storage.archive_reader import Archive, Row, open_archive
from nas.storage.base import insert_missing
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.models import Base, Epoch, Finding, Latency, Space, Stage, StageTraining, Study, Training
from nas.storage.repository import Repository

_ID_KEYS = frozenset({"training_id", "training_ids"})


def import_study(
    repository: Repository,
    path: Path,
    *,
    name: str | None = None,
    store: CheckpointStore | None = None,
    progress: Progress = silent,
) -> Archived:
    """Brings a study from an archive into a database, all or nothing.

    Args:
        name: what to call it here; None for its own name.
        store: where its checkpoints go; without it they are left in the archive.

    Raises:
        StorageError: the archive cannot be read or does not fit together.
        StudyError: a study of that name is here already.
    """
    with open_archive(path) as archive:
        study = name or str(archive.manifest["study"])
        if any(known.name == study for known in repository.studies()):
            raise StudyError(f"the database holds a study {study!r} already", "give another name: --name NAME")
        files = {} if store is None else _unpack_checkpoints(archive, store, progress)
        try:
            counts = repository.write(lambda session: _Import(session, archive, study, files, progress).run())
        except IntegrityError as error:
            raise StorageError(f"{path} does not fit together: a row refers to one that is not in it") from error
    return Archived(study, counts, len(files), str(path))


def _unpack_checkpoints(archive: Archive, store: CheckpointStore, progress: Progress) -> dict[str, str]:
    names = sorted(name for name in archive.members if name.startswith("checkpoints/"))
    stored = {}
    for done, name in enumerate(names):
        progress(done, len(names), "checkpoints")
        sha256 = name.partition("/")[2]
        key = str(archive.members[name].get("key") or f"{sha256}.pt")
        with tempfile.TemporaryDirectory() as folder:
            archive.unpack(name, Path(folder) / "checkpoint")
            uri, found = store.put(Path(folder) / "checkpoint", key)
        if found != sha256:
            raise StorageError(f"{archive.path} is damaged: {name} is another file")
        stored[sha256] = uri
    return stored


@dataclass
class _Import:
    """One import in one transaction; `ids` maps the archive's numbers to ours."""

    session: Session
    archive: Archive
    study: str
    files: Mapping[str, str]
    progress: Progress
    ids: dict[type[Base], dict[int, int]] = field(default_factory=dict)

    def run(self) -> dict[str, int]:
        steps: dict[type[Base], Any] = {
            Study: self._study,
            Stage: self._stages,
            Training: self._trainings,
            StageTraining: self._links,
            Epoch: self._epochs,
            Finding: self._findings,
            Latency: self._latencies,
            Space: self._spaces,
        }
        counts = {}
        for done, model in enumerate(TABLES):
            self.progress(done, len(TABLES), model.__tablename__)
            counts[model.__tablename__] = steps.get(model, lambda model=model: self._by_content(model))()
        return counts

    def _by_content(self, model: type[Base]) -> int:
        return self._insert(model, self.archive.rows(model))

    def _insert(self, model: type[Base], rows: Iterator[Row]) -> int:
        count = 0
        for piece in _pieces(rows):
            insert_missing(self.session, model, piece)
            count += len(piece)
        return count

    def _spaces(self) -> int:
        left = {row["id"]: row for row in self.archive.rows(Space)}
        count = len(left)
        while left:  # parents first: a space refers to the one it was shrunk from
            ready = [row for row in left.values() if row["parent_id"] not in left]
            if not ready:
                raise StorageError(f"{self.archive.path} does not fit together: its spaces descend from each other")
            insert_missing(self.session, Space, ready)
            for row in ready:
                del left[row["id"]]
        return count

    def _study(self) -> int:
        rows = list(self.archive.rows(Study))
        if len(rows) != 1:
            raise StorageError(f"{self.archive.path} holds {len(rows)} studies, not one")
        row = {**rows[0], "name": self.study}
        if "name" in row["definition"]:
            row["definition"] = {**row["definition"], "name": self.study}
        self.ids[Study] = {row["id"]: self._new(Study, row)}
        return 1

    def _stages(self) -> int:
        self.ids[Stage] = {}
        for row in self.archive.rows(Stage):
            study_id = self._id(Study, row["study_id"])
            self.ids[Stage][row["id"]] = self._new(Stage, {**row, "study_id": study_id})
        return len(self.ids[Stage])

    def _new(self, model: type[Base], row: Row) -> int:
        values = {key: value for key, value in row.items() if key != "id"}
        statement = insert(model).values(values).returning(model.__table__.c.id)
        return int(self.session.scalars(statement).one())

    def _id(self, model: type[Base], old: int) -> int:
        if old not in self.ids[model]:
            raise StorageError(f"{self.archive.path} does not fit together: no {model.__tablename__} {old} in it")
        return self.ids[model][old]

    def _trainings(self) -> int:
        self.ids[Training] = {}
        built_on: dict[int, Row] = {}
        for piece in _pieces(self.archive.rows(Training), 200):
            for row in piece:
                built_on[row["id"]] = {key: row[key] for key in ("resume_from_id", "init_from_id") if row[key]}
            self._training_piece(piece)
        for old, sources in built_on.items():
            known = {key: self.ids[Training][value] for key, value in sources.items() if value in self.ids[Training]}
            if known:
                self.session.execute(update(Training).where(Training.id == self.ids[Training][old]).values(known))
        self._renumber_results()
        return len(built_on)

    def _renumber_results(self) -> None:
        """Stages came before the trainings that their results speak of."""
        for stage in self.session.scalars(select(Stage).where(Stage.id.in_(self.ids[Stage].values()))):
            if stage.result is not None:
                stage.result = renumbered(stage.result, self.ids[Training])

    def _training_piece(self, piece: Sequence[Row]) -> None:
        fresh = [{**self._training(row), "attempts": 0} for row in piece]
        insert_missing(self.session, Training, fresh)
        key = (Training.candidate_id, Training.recipe_id, Training.dataset_id, Training.fidelity_label, Training.seed)
        query = select(*key, Training.id, Training.status).where(tuple_(*key).in_([_key(row) for row in piece]))
        stored = {tuple(row[:5]): (row[5], row[6]) for row in self.session.execute(query)}
        for row, values in zip(piece, fresh, strict=True):
            id_, status = stored[_key(row)]
            self.ids[Training][row["id"]] = id_
            if row["status"] == "finished" and status != "finished":
                # The archive knows the result of something that is still to be done here.
                del values["attempts"]
                self.session.execute(update(Training).where(Training.id == id_).values(values))

    def _training(self, row: Row) -> Row:
        values = {key: value for key, value in row.items() if key != "id"}
        if row["status"] == "running":
            values["status"] = "waiting"
        values.update(resume_from_id=None, init_from_id=None)
        uri = self.files.get(row["checkpoint_sha256"] or "")
        values.update(checkpoint_uri=uri, checkpoint_sha256=row["checkpoint_sha256"] if uri else None)
        return values

    def _links(self) -> int:
        count = self._insert(
            StageTraining,
            (
                {
                    **row,
                    "stage_id": self._id(Stage, row["stage_id"]),
                    "training_id": self._id(Training, row["training_id"]),
                    "is_open": True,
                }
                for row in self.archive.rows(StageTraining)
            ),
        )
        ended = select(Training.id).where(Training.status.in_(("finished", "failed")))
        closed = update(StageTraining).where(StageTraining.is_open, StageTraining.training_id.in_(ended))
        self.session.execute(closed.values(is_open=False))
        return count

    def _epochs(self) -> int:
        rows = self.archive.rows(Epoch)
        return self._insert(Epoch, ({**row, "training_id": self._id(Training, row["training_id"])} for row in rows))

    def _findings(self) -> int:
        count = 0
        for row in self.archive.rows(Finding):
            owners = {"study_id": self._id(Study, row["study_id"]), "stage_id": self._id(Stage, row["stage_id"])}
            self._new(Finding, {**row, **owners, "finding": renumbered(row["finding"], self.ids[Training])})
            count += 1
        return count

    def _latencies(self) -> int:
        key = ("architecture_id", "protocol_id", "device", "measured", "measured_at")
        here = {tuple(row) for row in self.session.execute(select(*[getattr(Latency, name) for name in key]))}
        count = 0
        for piece in _pieces(self.archive.rows(Latency)):
            count += len(piece)
            new = [row for row in piece if tuple(row[name] for name in key) not in here]
            if new:
                values = [{name: value for name, value in row.items() if name != "id"} for row in new]
                self.session.execute(insert(Latency), values)
        return count


def _key(row: Row) -> tuple[Any, ...]:
    return (row["candidate_id"], row["recipe_id"], row["dataset_id"], row["fidelity_label"], row["seed"])


def _pieces(rows: Iterator[Row], size: int = 500) -> Iterator[list[Row]]:
    piece: list[Row] = []
    for row in rows:
        piece.append(row)
        if len(piece) == size:
            yield piece
            piece = []
    if piece:
        yield piece


def renumbered(value: Any, ids: Mapping[int, int]) -> Any:
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


def _renumbered_ids(value: Any, ids: Mapping[int, int]) -> Any:
    if isinstance(value, list):
        return [ids[item] for item in value if item in ids]
    return ids.get(value) if isinstance(value, int) else value
