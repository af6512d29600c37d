"""Database addresses as a person writes them, made exact, and shown without their password."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from nas.errors import StorageError

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_EXAMPLES = "write sqlite:///study.db or postgresql://user@host/database"


def parse_url(text: str) -> URL:
    """The exact URL, driver spelled out; a plain path means an SQLite file, `sqlite://` one in memory.

    >>> parse_url("study.db").drivername, parse_url("postgresql://u@h/d").drivername
    ('sqlite', 'postgresql+psycopg')

    Raises:
        StorageError: not an address, an engine that is not supported, or its driver is missing.
    """
    if not text.strip():
        raise StorageError("the database URL is empty", _EXAMPLES)
    try:
        url = make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except (ArgumentError, ValueError) as error:
        raise StorageError("the database URL cannot be read", _EXAMPLES) from error
    if url.drivername not in _DRIVERS:
        raise StorageError(f"{url.drivername!r} databases are not supported", _EXAMPLES)
    url = url.set(drivername=_DRIVERS[url.drivername])
    return _sqlite_file(url) if url.drivername == "sqlite" else _postgresql(url)


def _sqlite_file(url: URL) -> URL:
    name = url.database or ""
    if name in ("", ":memory:"):
        return url.set(database=None)
    if name.startswith("file:"):
        raise StorageError("write the path of an SQLite database, not a file: address", _EXAMPLES)
    return url.set(database=str(Path(name).expanduser()))


def _postgresql(url: URL) -> URL:
    if importlib.util.find_spec("psycopg") is None:
        raise StorageError("PostgreSQL needs the driver psycopg", "pip install 'nas-reid[postgres]'")
    if not url.database:
        raise StorageError(f"{shown(url)} names no database", _EXAMPLES)
    return url


def shown(url: URL) -> str:
    """The URL as it may be printed and stored: password masked, also one given as a parameter."""
    if url.drivername == "sqlite":
        return f"sqlite:///{url.database or ''}"
    hidden = {key: "***" if "password" in key.lower() else value for key, value in url.query.items()}
    return url.set(query=hidden).render_as_string(hide_password=True)


def masked(text: str) -> str:
    """A database address without its password, for reports and messages.

    >>> masked("postgresql://robot:secret@host/nas")
    'postgresql+psycopg://robot:***@host/nas'
    """
    try:
        return shown(parse_url(text))
    except StorageError:
        return "(a database URL that cannot be read)"
