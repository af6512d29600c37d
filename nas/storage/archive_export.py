"""Writes a whole study to one archive file, as it is at one moment, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

import nas
from nas.errors import StorageError
from nas.files.plain import dump_json
from nas.progress import Progress, silent
from nas.storage import schema
from nas.storage.archive import FORMAT, MANIFEST, TABLES, Archived, belongs, columns_of, member_of
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.models import Base, Training
from nas.storage.repository import Repository


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
    """
    study_id = repository.study(study).id
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            # One reading transaction: the archive shows one moment even while workers go on.
            counts, files, members = repository.read(
                lambda session: _write_tables(session, archive, study_id, progress)
            )
            stored = {} if store is None else dict(_write_checkpoints(archive, store, files, progress))
            manifest = {
                "format": FORMAT,
                "study": study,
                "nas": nas.__version__,
                "schema": schema.known_revisions()[-1],
                "rows": counts,
                "members": {**members, **stored},
            }
            archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return Archived(study, counts, len(stored), str(path))


def _write_tables(
    session: Session, archive: zipfile.ZipFile, study_id: int, progress: Progress
) -> tuple[dict[str, int], dict[str, str], dict[str, Any]]:
    counts: dict[str, int] = {}
    members: dict[str, Any] = {}
    for done, model in enumerate(TABLES):
        progress(done, len(TABLES), model.__tablename__)
        name = member_of(model)
        counts[model.__tablename__], members[name] = _write_lines(archive, name, _rows(session, model, study_id))
    with_file = select(Training.checkpoint_sha256, Training.checkpoint_uri).where(
        belongs(session, Training, study_id),
        Training.checkpoint_uri.is_not(None),
        Training.checkpoint_sha256.is_not(None),
    )
    return counts, {row[0] or "": row[1] or "" for row in session.execute(with_file)}, members


def _rows(session: Session, model: type[Base], study_id: int) -> Iterator[dict[str, Any]]:
    columns = columns_of(model)
    query = select(*columns).where(belongs(session, model, study_id)).order_by(*inspect(model).primary_key)
    for row in session.execute(query.execution_options(yield_per=1000)):
        yield {column.key: value for column, value in zip(columns, row, strict=True)}


def _write_lines(archive: zipfile.ZipFile, name: str, rows: Iterable[Mapping[str, Any]]) -> tuple[int, dict[str, Any]]:
    digest, size, count = hashlib.sha256(), 0, 0
    with archive.open(name, "w", force_zip64=True) as member:
        for row in rows:
            line = (dump_json(row) + "\n").encode()
            member.write(line)
            digest.update(line)
            size, count = size + len(line), count + 1
    return count, {"size": size, "sha256": digest.hexdigest()}


def _write_checkpoints(
    archive: zipfile.ZipFile, store: CheckpointStore, files: Mapping[str, str], progress: Progress
) -> Iterator[tuple[str, dict[str, Any]]]:
    for done, (sha256, uri) in enumerate(sorted(files.items())):
        progress(done, len(files), "checkpoints")
        name = f"checkpoints/{sha256}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                local = store.fetch(uri, Path(folder) / "checkpoint", sha256)
            except StorageError:
                continue  # it is gone; the training's result is not
            archive.write(local, name, zipfile.ZIP_STORED)
            yield name, {"size": local.stat().st_size, "sha256": sha256, "key": uri.rsplit("/", 1)[-1]}
