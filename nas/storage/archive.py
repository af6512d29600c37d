"""What a study's archive is, and how one is written: whole or not at all, as the study is at one moment.

An archive is a zip with `study.db`, an SQLite file of these very tables with the rows that belong to one study and
nothing else, and `checkpoints/<sha256>`, unless these went to a store beside it. So there is no format of our own: it
opens with any SQLite program, and migrations apply to it. Reading one is in `nas.storage.archive_import`.
"""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, ColumnElement, insert, inspect, or_, select
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import InstrumentedAttribute, Session

from nas.errors import StorageError
from nas.progress import Progress, silent
from nas.storage.base import AnySelect, trainings_of
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.database import open_database
from nas.storage.models import (
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
from nas.storage.retry import damaged

DATABASE = "study.db"
CHECKPOINT = re.compile(r"checkpoints/([0-9a-f]{64})")
# What says who is working on something now; it means nothing in another database.
PASSING = {
    "nas_training": {"owner", "claim_token", "lease_seconds", "lease_until", "heartbeat_at", "silences"},
    "nas_stage": {"planner", "planner_until"},
    "nas_device": {"owner", "lease_until"},
}
TABLES: tuple[type[Base], ...] = (
    Environment,
    SpaceRow,
    CandidateRow,
    RecipeRow,
    DatasetRow,
    Device,
    StudyRow,
    Stage,
    Training,
    StageTraining,
    Epoch,
    FindingRow,
    Latency,
    Note,
)


@dataclass(frozen=True)
class Archived:
    """What an archive holds or what was read from one.

    Attributes:
        study: its name.
        rows: numbers of rows by table.
        checkpoints: number of files.
        path: the archive.
        touched: sentences about what an import added to other studies of the database; their rows carry the archive's
            name in the column `imported`.
    """

    study: str
    rows: dict[str, int]
    checkpoints: int
    path: str
    touched: tuple[str, ...] = ()


def columns_of(model: type[Base]) -> list[Column[Any]]:
    """The columns of a table that travel."""
    left_out = PASSING.get(model.__tablename__, set())
    return [c for c in model.__table__.columns if isinstance(c, Column) and c.key not in left_out]


def export_study(
    repository: Repository,
    study: str,
    path: Path,
    *,
    store: CheckpointStore | None = None,
    beside: CheckpointStore | None = None,
    progress: Progress = silent,
) -> Archived:
    """Writes one study to an archive, whole or not at all.

    Args:
        path: the file to write; an older one is replaced.
        store: where the checkpoints are; without it they stay behind.
        beside: where they go, named by their content, instead of into the archive; what is there stays.

    Raises:
        StudyError: there is no study of this name.
        StorageError: rows of the study are damaged.
    """
    study_id = repository.study(study).id
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        file, partial = Path(folder) / DATABASE, Path(folder) / "archive.zip"
        # One reading transaction: the archive shows one moment even while workers go on.
        try:
            counts, files = repository.read(lambda session: _copy_tables(session, file, study_id, progress))
        except StatementError as error:
            # A value that the column cannot hold, or a row that refers to nothing: the fresh database refuses it.
            if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
                raise
            raise damaged(repository.database.url, f"a row of the study {study!r} is not what it must be") from error
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(file, DATABASE)
            stored = 0 if store is None else _write_checkpoints(archive, store, beside, files, progress)
        os.replace(partial, path)
    return Archived(study, counts, stored, str(path))


def _copy_tables(
    session: Session, file: Path, study_id: int, progress: Progress
) -> tuple[dict[str, int], dict[str, str]]:
    """Fills a fresh database with the study's rows; returns their numbers, and checkpoints by hash."""
    file.unlink(missing_ok=True)
    belongs = _belonging(session, study_id)
    with open_database(str(file)) as copy:
        with copy.write() as into:
            into.connection().exec_driver_sql("PRAGMA defer_foreign_keys=ON")  # trainings refer to later ones
            counts = {}
            for done, model in enumerate(TABLES):
                progress(done, len(TABLES), model.__tablename__)
                counts[model.__tablename__] = _copy(session, into, model, belongs[model])
        with copy.engine.connect() as connection:  # one file, without a log beside it
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA journal_mode=DELETE")
    with_file = select(Training.checkpoint_sha256, Training.checkpoint_uri).where(
        belongs[Training], Training.checkpoint_uri.is_not(None), Training.checkpoint_sha256.is_not(None)
    )
    return counts, {row[0] or "": row[1] or "" for row in session.execute(with_file)}


def _copy(session: Session, into: Session, model: type[Base], belongs: ColumnElement[bool]) -> int:
    columns = columns_of(model)
    query = select(*columns).where(belongs).order_by(*inspect(model).primary_key)
    count = 0
    for rows in session.execute(query.execution_options(yield_per=1000)).partitions():
        found = [dict(zip((column.key for column in columns), row, strict=True)) for row in rows]
        into.connection().execute(insert(model), found)
        count += len(rows)
    return count


def _write_checkpoints(
    archive: zipfile.ZipFile,
    store: CheckpointStore,
    beside: CheckpointStore | None,
    files: Mapping[str, str],
    progress: Progress,
) -> int:
    written = 0
    for done, (sha256, uri) in enumerate(sorted(files.items())):
        progress(done, len(files), "checkpoints")
        if beside is not None and beside.is_intact(beside.uri(key_of(sha256)), sha256):
            written += 1
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                local = store.fetch(uri, Path(folder) / "checkpoint", sha256)
            except StorageError:
                continue  # it is gone; the training's result is not
            if beside is None:
                archive.write(local, f"checkpoints/{sha256}", zipfile.ZIP_STORED)
            else:
                beside.put(local, key_of(sha256))
            written += 1
    return written


def key_of(sha256: str) -> str:
    """The name of a checkpoint in a store that names them by content."""
    return f"{sha256}.pt"


def _belonging(session: Session, study_id: int) -> dict[type[Base], ColumnElement[bool]]:
    """Which rows of each table belong to a study."""
    links, its = trainings_of(study_id), StudyRow.id == study_id

    def used(column: InstrumentedAttribute[str] | InstrumentedAttribute[str | None]) -> AnySelect:
        return select(column).where(Training.id.in_(links))

    def told(column: InstrumentedAttribute[str | None]) -> AnySelect:
        return select(column).where(its)

    # Latencies of the study's architectures, and all of its own protocol and device (its profile).
    architectures = select(CandidateRow.architecture_id).where(CandidateRow.id.in_(used(Training.candidate_id)))
    profile = Latency.protocol_id.in_(told(StudyRow.protocol_id)) & Latency.device.in_(told(StudyRow.device))
    timed = or_(Latency.architecture_id.in_(architectures), profile)
    return {
        StudyRow: its,
        Stage: Stage.study_id == study_id,
        StageTraining: StageTraining.stage_id.in_(select(Stage.id).where(Stage.study_id == study_id)),
        Training: Training.id.in_(links),
        Epoch: Epoch.training_id.in_(links),
        FindingRow: FindingRow.study_id == study_id,
        Note: Note.study_id == study_id,
        CandidateRow: CandidateRow.id.in_(used(Training.candidate_id)),
        RecipeRow: RecipeRow.id.in_(used(Training.recipe_id)),
        DatasetRow: DatasetRow.id.in_(used(Training.dataset_id)),
        SpaceRow: SpaceRow.id.in_(_spaces(session, study_id)),
        Latency: timed,
        Device: Device.id.in_(select(Latency.device).where(timed)),
        Environment: or_(
            Environment.id.in_(used(Training.environment_id)),
            Environment.id.in_(select(Latency.environment_id).where(timed)),
            Environment.id.in_(told(StudyRow.environment_id)),
        ),
    }


def _spaces(session: Session, study_id: int) -> list[str]:
    """The spaces of a study and its stages, with all they were shrunk from or to."""
    stages = session.execute(select(Stage.space_id, Stage.result).where(Stage.study_id == study_id)).all()
    line: set[str | None] = {session.scalar(select(StudyRow.space_id).where(StudyRow.id == study_id))}
    for space_id, result in stages:
        left = (result or {}).get("space_id")
        line.update((space_id, left if isinstance(left, str) else None))
    parents = {row.id: row.parent_id for row in session.execute(select(SpaceRow.id, SpaceRow.parent_id))}
    found: set[str] = set()
    while known := {space for space in line if space is not None and space in parents} - found:
        found |= known
        line = {parents[space] for space in known}
    return sorted(found)
