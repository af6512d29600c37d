"""Opens an archive that nobody vouches for: every member, row and value is checked before it is handed on.

Nothing is read that the manifest does not name, and nothing is unpacked by a name from inside.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Boolean, Double, Integer

from nas.errors import StorageError
from nas.storage import schema
from nas.storage.archive import FORMAT, MANIFEST, MEMBER, columns_of, member_of
from nas.storage.models import Base

# A bound on what is unpacked into memory or on disk, against archives made to fill them.
LARGEST_TABLES = 8 << 30
LARGEST_MANIFEST = 64 << 20
Row = dict[str, Any]
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
"""What `zipfile` raises for members that are damaged, cut off, locked with a password or packed in an unknown way."""


class Archive:
    """An open archive whose manifest was checked."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        self.manifest = self._manifest()
        self.members: dict[str, dict[str, Any]] = self.manifest["members"]
        self._check_members()

    def _bad(self, why: str) -> StorageError:
        return StorageError(
            f"{self.path} is not an archive of a study: {why}", "make one with: nas db export STUDY FILE"
        )

    def _manifest(self) -> dict[str, Any]:
        try:
            if self._file.getinfo(MANIFEST).file_size > LARGEST_MANIFEST:
                raise self._bad("its manifest is too large")
            manifest = json.loads(self._file.read(MANIFEST))
        except (KeyError, ValueError, *UNREADABLE) as error:
            raise self._bad("it has no readable manifest") from error
        shape = {"format": int, "study": str, "schema": str, "members": dict}
        if not isinstance(manifest, dict) or any(not isinstance(manifest.get(k), t) for k, t in shape.items()):
            raise self._bad("its manifest is incomplete")
        if manifest["format"] > FORMAT or manifest["schema"] not in schema.known_revisions():
            raise StorageError(f"{self.path} was written by a newer version of nas", "upgrade nas")
        return manifest

    def _check_members(self) -> None:
        held = {info.filename: info.file_size for info in self._file.infolist() if info.filename != MANIFEST}
        if held.keys() != self.members.keys() or not all(MEMBER.fullmatch(name) for name in held):
            raise self._bad("its members are not those of its manifest")
        for name, facts in self.members.items():
            if (
                not isinstance(facts, dict)
                or facts.get("size") != held[name]
                or not isinstance(facts.get("sha256"), str)
            ):
                raise self._bad(f"{name} is not what its manifest says")
        if sum(size for name, size in held.items() if name.startswith("tables/")) > LARGEST_TABLES:
            raise self._bad("its tables are too large")

    def rows(self, model: type[Base]) -> Iterator[Row]:
        """The rows of one table, checked; the hash is known to be right only after the last one."""
        name = member_of(model)
        if name not in self.members:
            return
        digest, columns = hashlib.sha256(), {column.key: column for column in columns_of(model)}
        with self._reading(name) as member:
            for line in member:
                digest.update(line)
                yield self._row(name, line, columns)
        self._check_hash(name, digest.hexdigest())

    def unpack(self, name: str, path: Path) -> None:
        """Writes one checkpoint to a path of the caller's choice and checks its hash."""
        digest = hashlib.sha256()
        with self._reading(name) as member, path.open("wb") as file:
            while block := member.read(1 << 20):
                digest.update(block)
                file.write(block)
        self._check_hash(name, digest.hexdigest())

    @contextmanager
    def _reading(self, name: str) -> Iterator[Any]:
        try:
            with self._file.open(name) as member:
                yield member
        except UNREADABLE as error:
            raise self._bad(f"{name} cannot be read") from error

    def _check_hash(self, name: str, sha256: str) -> None:
        if sha256 != self.members[name]["sha256"]:
            raise self._bad(f"{name} is damaged")

    def _row(self, name: str, line: bytes, columns: Mapping[str, Any]) -> Row:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise self._bad(f"{name} holds a line that is no JSON") from error
        if not isinstance(row, dict) or not row.keys() <= columns.keys():
            raise self._bad(f"{name} holds a row of unknown columns")
        for key, column in columns.items():
            if not _fits(column, row.get(key)):
                raise self._bad(f"{name} holds {row.get(key)!r:.60} as {key}")
        return {key: row.get(key) for key in columns}


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Opens an archive and checks its manifest.

    Raises:
        StorageError: not there, not an archive, damaged, or from a newer version.
    """
    if not path.is_file():
        raise StorageError(f"there is no archive at {path}", "check the path")
    try:
        file = zipfile.ZipFile(path)
    except UNREADABLE as error:
        raise StorageError(f"{path} is not an archive of a study: it is no zip file") from error
    with file:
        yield Archive(path, file)


def _fits(column: Any, value: Any) -> bool:
    if value is None:
        return bool(column.nullable)
    if isinstance(column.type, JSON):
        return isinstance(value, (dict, list))
    if isinstance(column.type, Boolean):
        return isinstance(value, bool)
    if isinstance(column.type, Integer):
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63
    if isinstance(column.type, Double):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, str) and "\0" not in value
