"""What files hold: a hash of their bytes, kept in the cache so that a file that did not change is read once.

A file is read again when its size, its time of modification or of change differs from when it was hashed. One
that changed within the last seconds is not trusted to that: two changes within one tick of the clock look alike.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nas.data.cache import default_cache
from nas.errors import DataError

INDEX = "content.sqlite"
SETTLED_NS = 2_000_000_000
"""Age from which a file's times tell its changes apart: FAT and old network disks count in two seconds."""
READERS = 8
LISTED = 5
"""How many unreadable files an error names before it only counts them."""
DIGITS = 32
"""Hex digits kept of a SHA-256: no two of 2^60 files are expected to share them."""

Stamp = tuple[int, int, int]
"""Size, time of modification and of change in nanoseconds."""


def digests(paths: Sequence[Path], cache: Path | None = None, *, fresh: bool = False) -> list[str]:
    """The hash of each file's bytes, in order.

    Args:
        paths: files; the same one may come several times.
        cache: folder of the index (`default_cache()` when None); one that cannot be written is done without.
        fresh: read every file, whatever the index says, and leave the index alone.

    Raises:
        DataError: files that cannot be read, all of them counted and the first few named.
    """
    stamps = {path: _stamp(path) for path in dict.fromkeys(paths)}
    lost = [f"the image {path} cannot be read: {why}" for path, why in stamps.items() if isinstance(why, str)]
    if lost:
        raise unreadable_error(lost, len(stamps))
    known = {path: stamp for path, stamp in stamps.items() if not isinstance(stamp, str)}
    with contextlib.closing(_opened(":memory:") if fresh else _index(cache)) as index:
        found = _recall(index, known)
        missing = [path for path in known if path not in found]
        with ThreadPoolExecutor(READERS) as pool:
            found |= dict(zip(missing, pool.map(_digest, missing), strict=True))
        _remember(index, {path: (known[path], found[path]) for path in missing})
    return [found[path] for path in paths]


def _stamp(path: Path) -> Stamp | str:
    try:
        found = os.stat(path)
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISREG(found.st_mode):  # to read a pipe or a device waits for ever, or never comes to an end
        return "not a regular file"
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
    except OSError as error:
        raise DataError(f"the file {path} cannot be read: {error.strerror}", "Run `nas data check`.") from error


def _index(cache: Path | None) -> sqlite3.Connection:
    """The index, or an empty one in memory where the cache cannot be used."""
    try:
        folder = cache or default_cache()
        folder.mkdir(parents=True, exist_ok=True)
        return _opened(str(folder / INDEX))
    except (OSError, sqlite3.Error):
        return _opened(":memory:")


def _opened(name: str) -> sqlite3.Connection:
    index = sqlite3.connect(name, timeout=10)
    try:
        index.execute("CREATE TABLE IF NOT EXISTS file (path BLOB PRIMARY KEY, stamp TEXT, digest TEXT) WITHOUT ROWID")
    except sqlite3.Error:
        index.close()
        raise
    return index


def _recall(index: sqlite3.Connection, stamps: dict[Path, Stamp]) -> dict[Path, str]:
    found: dict[Path, str] = {}
    with contextlib.suppress(sqlite3.Error):  # a damaged index is no index
        for path, stamp in stamps.items():
            row = index.execute("SELECT stamp, digest FROM file WHERE path = ?", (_key(path),)).fetchone()
            if row is not None and row[0] == repr(stamp):
                found[path] = row[1]
    return found


def _remember(index: sqlite3.Connection, files: dict[Path, tuple[Stamp, str]]) -> None:
    settled = time.time_ns() - SETTLED_NS
    rows = [(_key(p), repr(stamp), digest) for p, (stamp, digest) in files.items() if max(stamp[1:]) < settled]
    with contextlib.suppress(sqlite3.Error), index:  # a full disk or a reader that holds it: hashed again next time
        index.executemany("INSERT OR REPLACE INTO file VALUES (?, ?, ?)", rows)


def _key(path: Path) -> bytes:
    return os.fsencode(os.path.abspath(path))


def unreadable_error(messages: Sequence[str], total: int) -> DataError:
    """One error for all unreadable images of a split."""
    if len(messages) == 1:
        return DataError(messages[0], "Delete or replace it; `nas data check` finds others.")
    shown = "; ".join(messages[:LISTED])
    more = f"; and {len(messages) - LISTED} more" if len(messages) > LISTED else ""
    return DataError(
        f"{len(messages)} of {total} images cannot be read: {shown}{more}",
        "Delete or replace them; `nas data check` lists them all.",
    )
