"""Creates our tables as the models say, and upgrades older ones by Alembic, under our own version table.

Several workers may start on an empty database at the same moment; the first does the work inside one
transaction, the others wait and find it done. A database from a newer version is refused.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import OperationalError

from nas.errors import StorageError
from nas.storage import earlier
from nas.storage.models import Base

VERSION_TABLE = "nas_alembic_version"
# Any number that nobody else uses on the same server: "nas" in ASCII, then our own counter.
ADVISORY_LOCK = 0x6E6173_01


@dataclass(frozen=True)
class SchemaVersion:
    """What a database holds and what this program knows."""

    current: str | None
    newest: str

    @property
    def is_newest(self) -> bool:
        """Whether nothing has to be upgraded."""
        return self.current == self.newest


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@cache
def known_revisions() -> tuple[str, ...]:
    """All schema versions this program can use or upgrade, oldest first."""
    script = ScriptDirectory.from_config(_config())
    return (*earlier.REVISIONS, *reversed([revision.revision for revision in script.walk_revisions()]))


def is_ours(name: str | None, kind: str, parents: object = None) -> bool:
    """Alembic's `include_name` filter: only our tables, so that Optuna's are never touched."""
    return kind != "table" or (name or "").startswith("nas_")


@contextmanager
def _quiet() -> Iterator[None]:
    """Alembic reports every step at INFO; a person who runs a study did not ask for that."""
    logger = logging.getLogger("alembic")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def version(connection: Connection) -> SchemaVersion:
    """The schema version of a database, None when it holds no tables of ours.

    Raises:
        StorageError: it names several versions.
    """
    with _quiet():
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        heads = context.get_current_heads() if inspect(connection).has_table(VERSION_TABLE) else ()
    if len(heads) > 1:
        raise StorageError(
            f"the database is damaged: its table {VERSION_TABLE} names {len(heads)} versions instead of one",
            "take a copy from before, or an archive",
        )
    return SchemaVersion(heads[0] if heads else None, known_revisions()[-1])


def prepare(engine: Engine, url: str, *, create: bool, read_only: bool) -> None:
    """Makes sure that the database can be used: creates or upgrades it, refuses (`StorageError`) what may not be."""
    with engine.connect() as connection:
        found = version(connection)
    if found.is_newest:
        return
    _refuse_unknown(found, url)
    if found.current is None and (read_only or not create):
        raise StorageError(f"{url} holds no studies", "check the address, or run a study first: nas run STUDY.yaml")
    if read_only:
        raise StorageError(f"{url} was made by an older version of nas", "run `nas db upgrade` on it first")
    upgrade(engine, url)


def upgrade(engine: Engine, url: str) -> None:
    """Brings the schema to the newest version, all or nothing."""
    if engine.dialect.name == "sqlite":
        _use_wal(engine)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Outside of a transaction: tables may be rebuilt while others refer to them.
            _pragma(connection, "foreign_keys=OFF")
        try:
            with connection.begin():
                _upgrade_locked(connection, url)
        finally:
            if engine.dialect.name == "sqlite":
                _pragma(connection, "foreign_keys=ON")


def _upgrade_locked(connection: Connection, url: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    found = version(connection)
    _refuse_unknown(found, url)
    if found.is_newest:
        return
    config = _config(connection)
    with _quiet():
        if found.current is None:
            Base.metadata.create_all(connection)
            command.stamp(config, "head")
            return
        if found.current in earlier.REVISIONS:  # the first migration begins at all of them
            command.stamp(config, "base", purge=True)
        command.upgrade(config, "head")


def _refuse_unknown(found: SchemaVersion, url: str) -> None:
    if found.current == "0001":
        raise StorageError(f"{url} was made by a trial version of nas (schema 0001)", "use another database")
    if found.current not in (None, *known_revisions()):
        raise StorageError(
            f"{url} was made by a newer version of nas (schema {found.current}, this one knows up to {found.newest})",
            "upgrade nas, or use another database",
        )


def _use_wal(engine: Engine) -> None:
    # Write-ahead logging is a lasting property of the file; it cannot be switched inside a transaction.
    with engine.connect() as connection:
        _pragma(connection, "journal_mode=WAL")


def _pragma(connection: Connection, setting: str) -> None:
    """Sets what must be set outside of a transaction; a busy file is told as SQLAlchemy tells it, to be waited for."""
    driver = connection.connection.driver_connection
    assert driver is not None
    try:
        driver.execute(f"PRAGMA {setting}")
    except sqlite3.OperationalError as error:
        raise OperationalError(f"PRAGMA {setting}", None, error) from error
