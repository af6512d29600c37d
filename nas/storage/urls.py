"""Database addresses as a person writes them, made exact, and shown without their password."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import psutil
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from nas.errors import StorageError
from nas.files.places import DEFAULT_URL

# Three slashes are the rule (a fourth begins a whole path); two, one or none are what people write too.
_SQLITE = re.compile(r"sqlite(\+pysqlite)?:(///|//)?", re.IGNORECASE)
_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_EXAMPLES = "write sqlite:///study.db or postgresql://user@host/database"


START_POSTGRESQL = (
    "Start PostgreSQL: initdb -D nas-postgres && pg_ctl -D nas-postgres -l nas-postgres.log start && createdb nas; "
    "then give --db postgresql://USER@HOST/nas"
)
NETWORK = frozenset(
    "nfs nfs4 cifs smbfs smb3 9p afs ceph lustre gpfs beegfs glusterfs orangefs ocfs2 gfs2".split()  # noqa: SIM905
    + [f"fuse.{name}" for name in ("sshfs", "ceph", "glusterfs", "cvmfs", "s3fs", "rclone")]
)
"""File systems that several machines share, as the system names them."""


def network_file_system(url: str) -> str | None:
    """The kind of network file system that an SQLite address lies on; None on a disk of this machine."""
    address = parse_url(url)
    if address.drivername != "sqlite" or not address.database:
        return None
    path = Path(address.database).resolve()
    mounts = [p for p in psutil.disk_partitions(all=True) if path.is_relative_to(p.mountpoint)]
    kind = max(mounts, key=lambda mount: len(mount.mountpoint), default=None)
    return kind.fstype if kind is not None and kind.fstype in NETWORK else None


def parse_url(text: str) -> URL:
    """The exact URL, driver spelled out; a plain path means an SQLite file, `sqlite://` one in memory.

    >>> parse_url("study.db").drivername, parse_url("postgresql://u@h/d").drivername
    ('sqlite', 'postgresql+psycopg')

    Raises:
        StorageError: not an address, an engine that is not supported, or its driver is missing.
    """
    if not text.strip() or "\0" in text:
        raise StorageError("the database URL is empty, or no text", _EXAMPLES)
    if (path := _sqlite_path(text)) is not None:
        return _sqlite_file(path)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StorageError("the database URL cannot be read", _EXAMPLES) from error
    if url.drivername not in _DRIVERS:
        raise StorageError(f"{url.drivername!r} databases are not supported", _EXAMPLES)
    return _postgresql(url.set(drivername=_DRIVERS[url.drivername]))


def _sqlite_path(text: str) -> str | None:
    """The path in an SQLite address, however many slashes people give it; None for another kind of address.

    >>> [_sqlite_path(text) for text in ("sqlite:///a.db", "sqlite://a.db", "sqlite:a.db", "sqlite:////a.db", "a.db")]
    ['a.db', 'a.db', 'a.db', '/a.db', 'a.db']
    """
    scheme = _SQLITE.match(text)
    if scheme is None:
        return None if "://" in text else text
    path, _, options = text[scheme.end() :].partition("?")
    if options and not path.startswith("file:"):
        raise StorageError(
            f"an SQLite address takes no options (?{options})", "commands that only look never write; leave it out"
        )
    return path


def _sqlite_file(name: str) -> URL:
    if name in ("", ":memory:"):
        return URL.create("sqlite")
    if name.startswith("file:"):
        raise StorageError("write the path of an SQLite database, not a file: address", _EXAMPLES)
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise StorageError(f"there is no home folder for {name}: {error}", "write the whole path") from error
    return URL.create("sqlite", database=str(path))


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


def typed(url: URL) -> list[str]:
    """What a command needs to find a database; nothing for a folder's own, and no password: whoever types it has one.

    >>> typed(parse_url("nas.db")), typed(parse_url("postgresql://robot:secret@host/nas"))
    ([], ['--db', 'postgresql+psycopg://robot@host/nas'])
    """
    kept = {key: value for key, value in url.query.items() if "password" not in key.lower()}
    address = shown(url) if url.drivername == "sqlite" else shown(url.set(query=kept)._replace(password=None))
    return [] if address == DEFAULT_URL else ["--db", address]


def masked(text: str) -> str:
    """A database address without its password, for reports and messages.

    >>> masked("postgresql://robot:secret@host/nas")
    'postgresql+psycopg://robot:***@host/nas'
    """
    try:
        return shown(parse_url(text))
    except StorageError:
        return "(a database URL that cannot be read)"
