"""What a database is and holds, readable also when its schema is older or newer than this program's."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import Connection, func, inspect, select, table, text

from nas.storage import schema
from nas.storage.database import OPEN_PATIENCE_S, Database, check_file
from nas.storage.retry import with_retries
from nas.storage.urls import parse_url


class DatabaseInfo(TypedDict):
    """What a database is: `url` with its password masked, `schema` None when it has no tables of ours, `newest_schema`
    of this program, `rows` by table, `optuna_studies` None when Optuna has no tables there.
    """

    url: str
    engine: str
    schema: str | None
    newest_schema: str
    bytes: int
    rows: dict[str, int]
    optuna_studies: int | None


def describe_database(url: str) -> DatabaseInfo:
    """Looks at a database without changing it.

    Raises:
        StorageError: it is not there or cannot be read.
    """
    address = parse_url(url)
    check_file(address, create=False)
    with Database(address, read_only=True) as database:

        def look() -> DatabaseInfo:
            with database.engine.connect() as connection:
                return _describe(connection, database.url)

        return with_retries(look, url=database.url, patience_s=OPEN_PATIENCE_S)


def _describe(connection: Connection, url: str) -> DatabaseInfo:
    found = schema.version(connection)
    names = inspect(connection).get_table_names()
    ours = sorted(name for name in names if name.startswith("nas_") and name != schema.VERSION_TABLE)
    return {
        "url": url,
        "engine": _engine(connection),
        "schema": found.current,
        "newest_schema": found.newest,
        "bytes": _size(connection),
        "rows": {name: _count(connection, name) for name in ours},
        "optuna_studies": _count(connection, "studies") if "studies" in names else None,
    }


def _engine(connection: Connection) -> str:
    if connection.dialect.name == "sqlite":
        return f"SQLite {connection.scalar(text('SELECT sqlite_version()'))}"
    return f"PostgreSQL {connection.scalar(text('SHOW server_version'))}"


def _size(connection: Connection) -> int:
    if connection.dialect.name == "sqlite":
        pages = connection.scalar(text("PRAGMA page_count")) or 0
        return int(pages) * int(connection.scalar(text("PRAGMA page_size")) or 0)
    return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)


def _count(connection: Connection, name: str) -> int:
    return int(connection.scalar(select(func.count()).select_from(table(name))) or 0)
