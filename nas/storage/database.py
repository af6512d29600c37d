"""Opens one database, SQLite file or PostgreSQL, and hands out transactions that behave alike on both.

On SQLite a writing transaction begins with `BEGIN IMMEDIATE` (otherwise two readers that both want to
write dead-lock, and work is handed out twice); a reading one never takes the write lock. What is
stored is `nas.storage.models`, when to try again is `nas.storage.retry`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import StaticPool

from nas.errors import StorageError
from nas.files.hashes import hash_of_text
from nas.files.locks import locked
from nas.files.plain import dump_json
from nas.storage import schema
from nas.storage.retry import with_retries
from nas.storage.urls import parse_url, shown

BUSY_TIMEOUT_S = 60.0
OPEN_PATIENCE_S = 10.0
CONNECT_TIMEOUT_S = 10
SILENCE_S = 30  # a server whose system does not even acknowledge packets for so long is away
PATIENT = {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
_BEGIN = "nas_begin"
_LOCK_NOT_AVAILABLE = "55P03"
_ONE_MOMENT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
T = TypeVar("T")


class Database:
    """One open database; safe to share between threads, and usable again after a fork.

    Attributes:
        url: the address as it may be shown (password masked).
        read_only: whether every transaction is refused to write.
    """

    def __init__(self, url: URL, *, read_only: bool = False) -> None:
        self.address = url
        self.url = shown(url)
        self.read_only = read_only
        self.engine = _make_engine(url, read_only)
        self._pid = os.getpid()
        self._file: tuple[int, ...] | None = None
        self._attached: dict[str, tuple[Any, Callable[[Any], object]]] = {}
        self._inherited: dict[str, Any] = {}
        self._writing = sessionmaker(self.engine, expire_on_commit=False)
        whole = {_BEGIN: "BEGIN"} if self.is_sqlite else _ONE_MOMENT
        self._reading = sessionmaker(self.engine.execution_options(**whole), expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is an SQLite file (else PostgreSQL)."""
        return self.address.drivername == "sqlite"

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for PostgreSQL and in memory."""
        return Path(self.address.database) if self.is_sqlite and self.address.database else None

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One writing transaction: committed at the end, rolled back on any exception."""
        if self.read_only:
            raise StorageError(f"{self.url} was opened for reading only")
        self.check_file()
        self._leave_parents_connections()
        with self._writing.begin() as session:
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One reading transaction: sees one moment of the database and never blocks a writer."""
        self.check_file()
        self._leave_parents_connections()
        with self._reading.begin() as session:
            yield session

    def check_file(self) -> None:
        """Whether an SQLite file is still the one that was opened.

        Connections outlive the name of a file: they would go on with one that was deleted or moved, and a new one
        would make an empty file in its place. A writer is stopped; a reader reads what is there now.

        Raises:
            StorageError: it is gone, or another file and this is a writer.
        """
        if self.path is None:
            return
        found = _file_identity(self.path, frozen=self.read_only and not os.access(self.path.parent, os.W_OK))
        if not self._file or found == self._file:
            self._file = found
            return
        if not found or not self.read_only:
            what = "is another file now" if found else "is gone"
            raise StorageError(
                f"the database {self.path} {what} (moved, replaced or deleted while it was in use)",
                "put it back with its -wal file, then run the same command again" if not self.read_only else None,
            )
        self.engine.dispose()
        self._file = found

    def _leave_parents_connections(self) -> None:
        # A connection shared by two processes garbles both; after a fork the child makes its own.
        if os.getpid() != self._pid:
            self.engine.dispose(close=False)
            self._inherited, self._attached = self._attached, {}  # kept: to be collected would close them
            self._pid = os.getpid()

    def attach(self, name: str, make: Callable[[], T], close: Callable[[T], object] = id) -> T:
        """An object that belongs to this open database: made when first asked for, closed with it."""
        self._leave_parents_connections()
        if name not in self._attached:
            self._attached[name] = (make(), close)
        found: T = self._attached[name][0]
        return found

    @contextmanager
    def lock(self, name: str, patience_s: float | None = None) -> Iterator[None]:
        """Held by one process at a time among all that use this database; freed when its holder dies.

        `patience_s` is how long another is waited for before a `NasError`; None: as long as it takes.

        Raises:
            NasError: another has held it for longer than `patience_s`; None: it is waited for.
        """
        with _file_lock(self.path, patience_s) if self.is_sqlite else _advisory_lock(self, name, patience_s):
            yield

    def close(self) -> None:
        """Closes all connections; the object may be used again and then opens new ones."""
        for found, close in self._attached.values():
            close(found)
        self._attached = {}
        self.engine.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Database({self.url!r}{', read_only=True' if self.read_only else ''})"


def open_database(url: str, *, create: bool = True, read_only: bool = False) -> Database:
    """Opens a database; a new one is created, an older one upgraded, under a lock.

    Args:
        url: `sqlite:///study.db`, a plain path, or `postgresql://user@host/database`.
        create: False refuses a database that holds no study tables yet.
        read_only: refuse every write (dashboard); never creates or upgrades.

    Raises:
        StorageError: cannot be reached, read or written, is no database of ours, or was made by a
            newer version.
    """
    address = parse_url(url)
    check_file(address, create=create and not read_only)
    database = Database(address, read_only=read_only)
    try:
        with_retries(
            lambda: schema.prepare(database.engine, database.url, create=create, read_only=read_only),
            url=database.url,
            patience_s=OPEN_PATIENCE_S,
        )
        database.check_file()
    except BaseException:
        database.close()
        raise
    return database


def check_file(url: URL, *, create: bool) -> None:
    """Refuses an SQLite path that cannot be a database, before SQLite makes an empty file there.

    Raises:
        StorageError: a folder, in no folder, or not there although it must be.
    """
    if url.drivername != "sqlite" or url.database is None:
        return
    path = Path(url.database)
    if path.is_dir():
        raise StorageError(f"{path} is a folder, not a database file", "add a file name, e.g. study.db")
    if path.exists() and not path.is_file():
        raise StorageError(f"{path} is a pipe or a device, not a database file", "give the path of a file")
    if not path.exists() and not create:
        raise StorageError(
            f"there is no database at {path}", "check the path, or run a study first: nas run STUDY.yaml"
        )
    if not path.parent.is_dir():
        raise StorageError(f"the folder {path.parent} of the database does not exist", "create it first")


def _make_engine(url: URL, read_only: bool) -> Engine:
    if url.drivername != "sqlite":
        return create_engine(
            url,
            json_serializer=dump_json,
            pool_pre_ping=True,
            connect_args=postgresql_arguments(url),
            execution_options={"postgresql_readonly": True} if read_only else {},
        )
    make = partial(create_engine, url, json_serializer=dump_json)
    if url.database is None:  # in memory: one connection, or each would see an empty database of its own
        engine = make(connect_args=PATIENT, poolclass=StaticPool)
    elif read_only:
        path = Path(url.database).absolute()
        engine = make(creator=lambda: _connect_for_reading(path))
    else:
        engine = make(connect_args=PATIENT)
    tame_sqlite(engine, read_only=read_only)
    return engine


def postgresql_arguments(url: URL) -> dict[str, object]:
    """Connection arguments that serve every server: text as UTF-8 whatever the database is in, nothing kept between
    transactions.

    A database in SQL_ASCII would answer with bytes; PgBouncer gives each transaction another server connection, where
    a statement prepared on the one before does not exist (our statements gain nothing by being prepared). A network
    that swallows packets is noticed within a minute; by itself the system waits a quarter of an hour for an answer.
    """
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "nas",
        "client_encoding": "utf8",
        "tcp_user_timeout": 1000 * SILENCE_S,
        "keepalives_idle": SILENCE_S,
        "keepalives_interval": SILENCE_S // 3,
        "prepare_threshold": None,
        **url.query,
    }


def _file_identity(path: Path, *, frozen: bool) -> tuple[int, ...]:
    """Which file this is, () when there is none; `frozen`: also what state it is in, log included."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    if not frozen:
        return found.st_dev, found.st_ino
    log = path.with_name(f"{path.name}-wal")
    unread = log.stat().st_size if log.exists() else 0
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, unread


def _connect_for_reading(path: Path) -> sqlite3.Connection:
    connect = partial(sqlite3.connect, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    connection: sqlite3.Connection = connect(f"{path.as_uri()}?mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.OperationalError:
        connection.close()
        log = path.with_name(f"{path.name}-wal")
        if os.access(path.parent, os.W_OK):
            raise
        if log.exists() and log.stat().st_size:
            raise StorageError(
                f"{path} has changes in its -wal file that cannot be read from a folder that may not be written",
                "copy both files into a folder of yours, or close the programs that write to it",
            ) from None
        # Nobody writes at this moment. `Database` opens the file anew as soon as it changes.
        connection = connect(f"{path.as_uri()}?immutable=1")
    return connection


def tame_sqlite(engine: Engine, *, read_only: bool = False, foreign_keys: bool = True) -> None:
    """Makes SQLite transactions explicit and safe for many processes (also used on Optuna's engine).

    Without `BEGIN IMMEDIATE`, a transaction that reads and then writes fails or does work twice.
    """

    @event.listens_for(engine, "connect")
    def _settle(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA query_only={'ON' if read_only else 'OFF'}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        default = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, default))


@contextmanager
def _advisory_lock(database: Database, name: str, patience_s: float | None) -> Iterator[None]:
    key = int.from_bytes(bytes.fromhex(hash_of_text(name)), signed=True)
    # Freed with its transaction: a lock of the session would be lost where PgBouncer shares connections.
    with database.engine.begin() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = {round(1000 * (patience_s or 0))}"))  # 0: without a limit
        try:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            raise StorageError(f"another program has held a lock of {database.url} for {patience_s:g} s") from error
        yield


@contextmanager
def _file_lock(path: Path | None, patience_s: float | None) -> Iterator[None]:
    with nullcontext() if path is None else locked(path, patience_s=patience_s):
        yield
