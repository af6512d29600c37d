"""Writes a whole study to one archive file, as it is at one moment, whole or not at all."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import insert, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from nas.errors import StorageError
from nas.progress import Progress, silent
from nas.storage import early_archive
from nas.storage.archive import DATABASE, TABLES, Archived, belongs, columns_of
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.database import open_database
from nas.storage.models import Base, Training
from nas.storage.repository import Repository
from nas.storage.retry import damaged


def is_archive(path: Path) -> bool:
    """Whether a file looks like an archive of a study, which a new one may replace."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return DATABASE in file.namelist() or early_archive.is_one(file.namelist())


def export_study(
    repository: Repository,
    study: str,
    path: Path,
    *,
    store: CheckpointStore | None = None,
    progress: Progress = silent,
) -> Archived:
    """Writes one study to an archive, whole or not at all.

    Args:
        path: the file to write; an older one is replaced.
        store: where the checkpoints are; without it they stay behind.

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
            stored = 0 if store is None else _write_checkpoints(archive, store, files, progress)
        os.replace(partial, path)
    return Archived(study, counts, stored, str(path))


def _copy_tables(
    session: Session, file: Path, study_id: int, progress: Progress
) -> tuple[dict[str, int], dict[str, str]]:
    """Fills a fresh database with the study's rows; returns their numbers, and checkpoints by hash."""
    file.unlink(missing_ok=True)
    with open_database(str(file)) as copy:
        with copy.write() as into:
            into.connection().exec_driver_sql("PRAGMA defer_foreign_keys=ON")  # trainings refer to later ones
            counts = {}
            for done, model in enumerate(TABLES):
                progress(done, len(TABLES), model.__tablename__)
                counts[model.__tablename__] = _copy(session, into, model, study_id)
        with copy.engine.connect() as connection:  # one file, without a log beside it
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA journal_mode=DELETE")
    with_file = select(Training.checkpoint_sha256, Training.checkpoint_uri).where(
        belongs(session, Training, study_id),
        Training.checkpoint_uri.is_not(None),
        Training.checkpoint_sha256.is_not(None),
    )
    return counts, {row[0] or "": row[1] or "" for row in session.execute(with_file)}


def _copy(session: Session, into: Session, model: type[Base], study_id: int) -> int:
    columns = columns_of(model)
    query = select(*columns).where(belongs(session, model, study_id)).order_by(*inspect(model).primary_key)
    count = 0
    for rows in session.execute(query.execution_options(yield_per=1000)).partitions():
        into.execute(insert(model.__table__), [dict(zip((c.key for c in columns), row, strict=True)) for row in rows])  # type: ignore[arg-type]
        count += len(rows)
    return count


def _write_checkpoints(
    archive: zipfile.ZipFile, store: CheckpointStore, files: Mapping[str, str], progress: Progress
) -> int:
    written = 0
    for done, (sha256, uri) in enumerate(sorted(files.items())):
        progress(done, len(files), "checkpoints")
        with tempfile.TemporaryDirectory() as folder:
            try:
                local = store.fetch(uri, Path(folder) / "checkpoint", sha256)
            except StorageError:
                continue  # it is gone; the training's result is not
            archive.write(local, f"checkpoints/{sha256}", zipfile.ZIP_STORED)
            written += 1
    return written
