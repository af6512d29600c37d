"""Which database errors pass by themselves, how long they are waited for, and what the others mean.

Every method of the repository goes through `with_retries`, so a busy SQLite file or a PostgreSQL
server that is away for a minute is never seen by the caller. What cannot pass by itself (no space,
wrong password, not a database) becomes a `StorageError` with one sentence.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from nas.errors import StorageError

T = TypeVar("T")
log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 2.0

_SQLITE_TRANSIENT = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")
# Connection exceptions, serialisation and deadlock, server starting, stopping or full of connections.
_SQLSTATE_TRANSIENT = ("08", "40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03", "25P03")
# Of a server that cannot be asked under this name; other things "do not exist" as well (prepared statements, tables).
_NO_DATABASE = r'FATAL: +(database|role) ".*" does not exist|no such (database|user)'
_NEVER_TRANSIENT = re.compile(f"authentication failed|no pg_hba.conf entry|no password supplied|{_NO_DATABASE}")

_DAMAGED_HINT = "restore it from a copy; `nas db check` tells what is wrong"
# (SQLite error name or SQLSTATE or pattern in the message, sentence, hint)
_SENTENCES = (
    ("SQLITE_FULL", "no space left on the disk of {url}", "free some space, then run the same command again"),
    ("53100", "no space left on the disk of {url}", "free some space, then run the same command again"),
    ("SQLITE_IOERR", "the disk of {url} cannot be read or written", "check its free space and the file system"),
    ("SQLITE_READONLY", "{url} may not be written", "change the file's permissions or choose another place"),
    ("SQLITE_CANTOPEN", "{url} cannot be opened", "check that its folder exists and that you may write there"),
    ("SQLITE_NOTADB", "{url} is not an SQLite database", "choose another file name"),
    ("SQLITE_CORRUPT", "{url} is damaged", _DAMAGED_HINT),
    ("malformed JSON", "{url} is damaged: a value in it cannot be read", _DAMAGED_HINT),
    *((mark, "{url} lacks a table or column of its schema", _DAMAGED_HINT) for mark in ("42P01", "42703")),
    *(
        (f"no such {what}: nas_", "{url} lacks a table or column of its schema", _DAMAGED_HINT)
        for what in ("table", "column")
    ),
    ("authentication failed", "{url} refuses the user or password", "check the database URL"),
    ("no password supplied", "{url} asks for a password", "put it into the database URL or into ~/.pgpass"),
    ("no pg_hba.conf entry", "{url} does not accept this machine or user", "ask who runs the server"),
    ("42501", "{url}: this user may not do that", "grant the user rights on the database's schema"),
    ("25006", "{url} was opened for reading only", None),
    ("3D000", "{url}: the database or its user does not exist", "create it (createdb) or check the URL"),
    (_NO_DATABASE, "{url}: the database or its user does not exist", "create it (createdb) or check the URL"),
)


def damaged(url: str, why: str) -> StorageError:
    """The refusal of a database whose rows are not what they must be; SQLite keeps any value in any column."""
    return StorageError(f"{url} is damaged: {why}", "restore it from a copy")


def _codes(error: DBAPIError) -> tuple[str, str, str]:
    """SQLite's error name, the SQLSTATE and the message, each empty when there is none."""
    original = error.orig
    return (getattr(original, "sqlite_errorname", None) or "", getattr(original, "sqlstate", None) or "", str(original))


def is_transient(error: DBAPIError) -> bool:
    """Whether the same work may succeed when tried again later."""
    name, sqlstate, message = _codes(error)
    if name:
        return name.startswith(_SQLITE_TRANSIENT)
    if sqlstate:
        return sqlstate.startswith(_SQLSTATE_TRANSIENT)
    if _NEVER_TRANSIENT.search(message):
        return False
    return error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))


def as_storage_error(error: DBAPIError, url: str) -> StorageError | None:
    """The sentence for an error that a person can put right; None for one that is our fault."""
    name, sqlstate, message = _codes(error)
    for mark, sentence, hint in _SENTENCES:
        if name.startswith(mark) or sqlstate == mark or re.search(mark, message):
            return StorageError(sentence.format(url=url), hint)
    return None


class Patience:
    """Waits out transient database errors of what it stands around: `while True: with patience: return work()`.

    The work is one whole transaction and must be safe to repeat, also when its commit went through and only the answer
    was lost. An error that does not pass by itself, or lasts longer than `patience_s`, becomes a `StorageError`, which
    names `url` (password masked).
    """

    def __init__(self, url: str, patience_s: float) -> None:
        self._url, self._patience_s = url, patience_s
        self._begun, self._pause = time.monotonic(), FIRST_PAUSE_S

    def __enter__(self) -> Patience:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        if isinstance(error, UnicodeDecodeError | json.JSONDecodeError):
            raise damaged(self._url, f"a value in it cannot be read ({error})") from error
        if not isinstance(error, DBAPIError):
            return False
        _raise_unless_worth_waiting(error, self._url, self._patience_s, time.monotonic() - self._begun)
        log.debug("%s: %s; trying again in %.2f s", self._url, error.orig, self._pause)
        # Jitter, so that workers that failed together do not come back together.
        time.sleep(self._pause * random.uniform(0.5, 1.5))
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
        return True


def with_retries(work: Callable[[], T], *, url: str, patience_s: float) -> T:
    """Runs `work` until it succeeds, with `Patience` around it."""
    patience = Patience(url, patience_s)
    while True:
        with patience:
            return work()


def _raise_unless_worth_waiting(error: DBAPIError, url: str, patience_s: float, waited_s: float) -> None:
    if is_transient(error):
        if waited_s < patience_s:
            return
        raise StorageError(
            f"{url} did not answer for {waited_s:.0f} s ({str(error.orig).strip().splitlines()[0]})",
            "check that the database server runs and can be reached",
        ) from error
    known = as_storage_error(error, url)
    if known is None:
        raise error
    raise known from error
