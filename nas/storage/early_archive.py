"""Reads archives of before the first release, JSON lines in a zip, once: as the database that archives are now."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.exc import OperationalError, StatementError

from nas.errors import StorageError
from nas.storage import earlier
from nas.storage.archive import CHECKPOINT, TABLES, columns_of
from nas.storage.database import open_database
from nas.storage.models import Base, DatasetRow, Training

MANIFEST = "manifest.json"
# Their lines are read into memory.
LARGEST_MEMBER, MOST_PACKED, ALWAYS_READ = 1 << 30, 100, 64 << 20


def is_one(names: list[str]) -> bool:
    """Whether a zip of these members is such an archive."""
    return MANIFEST in names


def converted(file: zipfile.ZipFile, path: Path) -> tuple[Path, frozenset[str]]:
    """Writes the rows into a fresh database; returns its path and the hashes of the checkpoints in the zip.

    Raises:
        StorageError: a member is too large.
        ValueError: a line is no JSON, or no row of its table.
    """
    try:
        _fill(file, path)
    except OperationalError:
        raise  # the disk is full
    except (StatementError, OverflowError, TypeError, KeyError, AttributeError) as error:
        reason = getattr(error, "orig", None) or error
        raise ValueError(f"a row is not what it must be: {reason}") from error
    return path, frozenset(match[1] for name in file.namelist() if (match := CHECKPOINT.fullmatch(name)))


def _fill(file: zipfile.ZipFile, path: Path) -> None:
    with open_database(str(path)) as database, database.write() as session:
        session.connection().exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        starts: dict[int, str | None] = {}
        for model in TABLES:
            rows = [_row(model, line) for line in _lines(file, f"tables/{model.__tablename__}.jsonl")]
            if model is Training:
                starts = {row["id"]: row["checkpoint_sha256"] for row in rows}
            for row in rows:
                _complete(model, row, starts)
            if rows:
                session.connection().execute(insert(model), rows)


def _lines(file: zipfile.ZipFile, name: str) -> list[bytes]:
    if name not in file.namelist():
        return []
    info = file.getinfo(name)
    if info.file_size > min(LARGEST_MEMBER, max(ALWAYS_READ, MOST_PACKED * info.compress_size)):
        raise StorageError(f"{file.filename} is not an archive of a study: {name} is too large")
    return file.read(name).splitlines()


def _row(model: type[Base], line: bytes) -> dict[str, Any]:
    row = json.loads(line)
    known = {column.key for column in columns_of(model)}
    if not isinstance(row, dict) or not row.keys() <= known:
        raise ValueError(f"{model.__tablename__} holds a row of unknown columns")
    return row


def _complete(model: type[Base], row: dict[str, Any], starts: dict[int, str | None]) -> None:
    """Adds what rows have gained since."""
    if model is Training:
        start = earlier.start_of(row["init_from_id"], starts.get(row["init_from_id"] or 0))
        row.update(earlier.identity_of(row["fidelity"], row["split"], start))
        row.setdefault("attempts", 0)
    elif model is DatasetRow:
        row["known_by"] = earlier.known_by(row["spec"])
    elif model.__tablename__ == "nas_stage_training":
        row["is_open"] = True
