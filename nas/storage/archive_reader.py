"""Opens an archive that nobody vouches for: what is in it is looked at whole before any of it is handed on.

Its database is opened read-only, with functions, views and triggers of the file itself switched off, and must have
exactly the tables of a fresh one; every value must fit its column, every reference what it refers to, and every id the
content that it is made from. Nothing is unpacked by a name from inside.
"""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import JSON, Boolean, Column, Double, Integer

from nas.errors import NasError, StorageError
from nas.files.hashes import sha256_of
from nas.files.names import is_study_name
from nas.files.plain import content_id
from nas.spaces import Candidate, DesignSpace, own_code
from nas.storage import early_archive
from nas.storage.archive import CHECKPOINT, DATABASE, TABLES, columns_of
from nas.storage.database import open_database
from nas.storage.models import (
    TRAINING_STATUSES,
    Base,
    CandidateRow,
    DatasetRow,
    Environment,
    Latency,
    Note,
    RecipeRow,
    SpaceRow,
    Stage,
    StudyRow,
    Training,
)

# Bounds on what is unpacked to the disk, against archives made to fill it: ten times a study of 100 000 trainings.
LARGEST_DATABASE = 8 << 30
LARGEST_TEXT = 16 << 20
# Databases of ours pack 10 to 20 times; rows are read into memory, so that one which packs much better is refused.
MOST_PACKED, ALWAYS_READ = 100, 64 << 20
T = TypeVar("T")
ArchiveRow: TypeAlias = dict[str, Any]
IdOf: TypeAlias = Callable[[Mapping[str, object]], str]
NOTHING: Mapping[str, IdOf] = {}
_NAMED = (("recipe", RecipeRow, "id", "definition"), ("protocol", Latency, "protocol_id", "protocol"))
_TOLD = {"fact", "consequence"}  # what a warning of images says
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, sqlite3.Error, ValueError)
"""What `zipfile` and `sqlite3` raise for what is damaged, cut off, locked with a password or packed unknown."""


class Archive:
    """An open archive that was checked.

    Attributes:
        path: the file.
        checkpoints: SHA-256 of the checkpoints in it.
        label: its name and the start of its hash, as imported rows are marked.
    """

    def __init__(self, path: Path, file: zipfile.ZipFile, folder: Path, ids: Mapping[str, IdOf]) -> None:
        self.path = path
        self.label = f"{path.name} {sha256_of(path)[:16]}"
        self._file = file
        self._ids = dict(ids)
        names = [info.filename for info in file.infolist()]
        self._early = early_archive.is_one(names)
        if self._early:
            database, self.checkpoints = early_archive.converted(file, folder / DATABASE)
            self._ids.pop("recipe", None)  # recipes have gained keys since, and with them other ids
        else:
            database, self.checkpoints = self._database(folder / DATABASE), self._checkpoints(names)
        self._tables = self._read(database)
        self._check()

    def bad(self, why: str) -> StorageError:
        """The refusal."""
        return StorageError(
            f"{self.path} is not an archive of a study: {why}", "make one with: nas db export STUDY FILE"
        )

    def rows(self, model: type[Base]) -> list[ArchiveRow]:
        """The rows of one table, without those who worked on them."""
        return self._tables[model]

    def unpack(self, sha256: str, path: Path) -> None:
        """Writes one checkpoint to a path of the caller's choice and checks its hash."""
        try:
            with self._file.open(f"checkpoints/{sha256}") as member, path.open("wb") as file:
                shutil.copyfileobj(member, file)
        except UNREADABLE as error:
            raise self.bad(f"checkpoints/{sha256} cannot be read") from error
        if sha256_of(path) != sha256:
            raise self.bad(f"checkpoints/{sha256} is another file")

    def _database(self, path: Path) -> Path:
        try:
            info = self._file.getinfo(DATABASE)
        except KeyError:
            raise self.bad(f"there is no {DATABASE} in it") from None
        packed = info.file_size > max(ALWAYS_READ, MOST_PACKED * info.compress_size)
        if packed or info.file_size > LARGEST_DATABASE:
            raise self.bad(f"its {DATABASE} is too large: {info.file_size >> 20} MiB")
        with self._file.open(info) as member, path.open("wb") as file:
            shutil.copyfileobj(member, file)
        return path

    def _checkpoints(self, names: list[str]) -> frozenset[str]:
        found = [CHECKPOINT.fullmatch(name) for name in names if name != DATABASE]
        if None in found or len(set(names)) != len(names):
            raise self.bad("it holds more than a database and checkpoints")
        packed = [info for info in self._file.infolist() if info.filename != DATABASE]
        if any(info.compress_type != zipfile.ZIP_STORED for info in packed):
            raise self.bad("its checkpoints are packed")  # and may be of any size
        return frozenset(match[1] for match in found if match is not None)

    # -- the database

    def _read(self, path: Path) -> dict[type[Base], list[ArchiveRow]]:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_TEXT)
            for setting in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON"):
                connection.execute(f"PRAGMA {setting}")
            if _shape(connection) != _fresh_shape():
                raise self.bad(f"the tables of its {DATABASE} are not those of this version")
            if [row[0] for row in connection.execute("PRAGMA integrity_check")] != ["ok"]:
                raise self.bad(f"its {DATABASE} is damaged")
            if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise self.bad("a row refers to one that is not in it")
            return {model: list(self._rows(connection, model)) for model in TABLES}

    def _rows(self, connection: sqlite3.Connection, model: type[Base]) -> Iterator[ArchiveRow]:
        columns = columns_of(model)
        listed = ", ".join(f'"{column.key}"' for column in columns)
        for values in connection.execute(f"SELECT {listed} FROM {model.__tablename__} ORDER BY rowid"):
            yield {c.key: self._value(model, c, value) for c, value in zip(columns, values, strict=True)}

    def _value(self, model: type[Base], column: Column[Any], value: Any) -> object:
        try:
            if value is None and column.nullable:
                return None
            if isinstance(column.type, JSON):
                found = json.loads(value)
                kinds: tuple[type, ...] = (dict, list)
            elif isinstance(column.type, Boolean):
                found, kinds = {0: False, 1: True}[value], (bool,)
            elif isinstance(column.type, Double):
                found, kinds = value, (int, float) if math.isfinite(value) else ()
            else:
                found, kinds = value, (int,) if isinstance(column.type, Integer) else (str,)
        except (TypeError, ValueError, KeyError):
            found, kinds = value, ()
        if not isinstance(found, kinds) or (isinstance(found, str) and "\0" in found):
            raise self.bad(f"{model.__tablename__} holds {value!r:.60} as {column.key}")
        return found

    # -- what the rows say

    def _check(self) -> None:
        studies = self.rows(StudyRow)
        if len(studies) != 1:
            raise self.bad(f"it holds {len(studies)} studies, not one")
        if not is_study_name(studies[0]["name"]):
            raise self.bad(f"{studies[0]['name']!r:.90} cannot be the name of a study")
        for row in (*self.rows(Stage), *self.rows(Training)):
            if row["status"] not in TRAINING_STATUSES:
                raise self.bad(f"the status {row['status']!r:.40}")
        for row in self.rows(Environment):
            self._same("environment", row["id"], content_id(row["facts"]))
        for row in self.rows(CandidateRow):
            self._check_candidate(row)
        for row in () if self._early else self.rows(SpaceRow):
            self._check_space(row)
        for what, model, id_, content in _NAMED:
            for row in self.rows(model) if what in self._ids else ():
                self._same(what, row[id_], self._made(what, self._ids[what], row[content]))
        for row in self.rows(Training):
            shares = [row[name] for name in ("map", "rank1", "minp") if row[name] is not None]
            whole = (row["status"] == "finished") == (row["map"] is not None)
            if not whole or not all(0.0 <= share <= 1.0 for share in shares):
                raise self.bad(f"training {row['id']} has no result that can be ({shares})")
        for row in self.rows(Latency):
            if row["median_ms"] <= 0.0:
                raise self.bad(f"a latency of {row['median_ms']} ms")
        for row in self.rows(Note):
            if not (isinstance(row["tags"], list) and all(isinstance(tag, str) for tag in row["tags"])):
                raise self.bad(f"the tags {row['tags']!r:.40}")
        for row in self.rows(DatasetRow):
            told = row["warnings"] or []
            if not isinstance(told, list) or not all(isinstance(one, dict) and one.keys() >= _TOLD for one in told):
                raise self.bad(f"the warnings {told!r:.40}")

    def _check_candidate(self, row: ArchiveRow) -> None:
        candidate = self._made("candidate", Candidate.from_dict, row["definition"])
        said = (row["id"], row["architecture_id"], row["notation"], row["backbone"], row["n_blocks"])
        made = (candidate.id, candidate.architecture.id, candidate.notation, candidate.backbone)
        self._same("candidate", said, (*made, len(candidate.placements)))

    def _check_space(self, row: ArchiveRow) -> None:
        if not own_code.named_in(row["definition"]):  # no code of another person is run to look at it
            space = self._made("space", DesignSpace.from_dict, row["definition"])
            self._same("space", (row["id"], row["size"]), (space.id, str(space.size())))

    def _made(self, what: str, make: Callable[[Mapping[str, object]], T], definition: Mapping[str, object]) -> T:
        try:
            return make(definition)
        except (NasError, TypeError, ValueError, KeyError) as error:
            raise self.bad(f"a {what} cannot be read ({error})") from error

    def _same(self, what: str, said: object, made: object) -> None:
        if said != made:
            raise self.bad(f"the {what} {said!r:.90} is another one by its content: {made!r:.90}")


def is_archive(path: Path) -> bool:
    """Whether a file looks like an archive of a study, which a new one may replace."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return DATABASE in file.namelist() or early_archive.is_one(file.namelist())


@contextmanager
def open_archive(path: Path, ids: Mapping[str, IdOf] = NOTHING) -> Iterator[Archive]:
    """Opens an archive and looks at all that is in it.

    Args:
        ids: what gives the id of a `recipe` and of a (latency) `protocol` for its content, which this room cannot
            tell; they are then checked as well.

    Raises:
        StorageError: not there, not an archive, damaged, not what it says, or from another version.
    """
    if not path.is_file():
        raise StorageError(f"there is no archive at {path}", "check the path")
    with ExitStack() as stack:
        try:
            file = stack.enter_context(zipfile.ZipFile(path))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            archive = Archive(path, file, folder, ids)
        except UNREADABLE as error:
            raise StorageError(f"{path} is not an archive of a study: it cannot be read ({error})") from error
        yield archive


def _fresh_shape() -> tuple[frozenset[tuple[str, ...]], dict[str, list[tuple[object, ...]]]]:
    with open_database("sqlite://") as fresh, fresh.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        return _shape(driver)


def _shape(connection: sqlite3.Connection) -> tuple[frozenset[tuple[str, ...]], dict[str, list[tuple[object, ...]]]]:
    """All objects of a database, and the columns of its tables in any order: hidden and generated ones count too."""
    objects = frozenset(connection.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall())
    tables = sorted(name for kind, name, _ in objects if kind == "table")
    asked = 'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?) ORDER BY name'
    columns = {name: connection.execute(asked, (name,)).fetchall() for name in tables}
    return objects, columns
