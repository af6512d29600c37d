"""A lock beside a file: one holder at a time, among the threads and processes of all machines that see the folder.

Locks are the kernel's (`fasteners`), so a killed holder leaves nothing behind but an empty file.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fasteners import InterProcessLock

from nas.errors import NasError

# Locks of one process do not exclude its own threads, so that each path has one for them, too.
_THREADS: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


@contextmanager
def locked(path: Path, waiting: Callable[[], object] = lambda: None, patience_s: float | None = None) -> Iterator[None]:
    """Holds the lock `path`.lock.

    Args:
        path: the file or folder that one holder at a time makes or changes.
        waiting: called once when somebody else holds the lock, before the wait.
        patience_s: seconds after which a wait is given up; None: never.

    Raises:
        NasError: the lock is a link, is no file, is another's in a folder that everybody may write to, or is held for
            longer than that.
    """
    lock, threads = _Lock(path.with_name(f"{path.name}.lock")), _THREADS[str(path.absolute())]
    if not threads.acquire(blocking=False):
        waiting()
        if not threads.acquire(timeout=-1 if patience_s is None else patience_s):
            raise _held(path, patience_s)
    try:
        if not lock.acquire(blocking=False):
            waiting()
            if not lock.acquire(timeout=patience_s):
                raise _held(path, patience_s)
        try:
            yield
        finally:
            lock.release()
    finally:
        threads.release()


class _Lock(InterProcessLock):  # type: ignore[misc]  # the library has no types
    """Opens its file without following links, and looks at what it opened."""

    lockfile: IO[bytes] | None

    def _do_open(self) -> None:
        if self.lockfile is not None and not self.lockfile.closed:
            return
        path = Path(os.fsdecode(self.path))
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _unusable(path, error.strerror or str(error)) from error
        try:
            _refuse_if_strange(path, os.fstat(descriptor))
        except NasError:
            os.close(descriptor)
            raise
        self.lockfile = os.fdopen(descriptor, "r+b")


def _refuse_if_strange(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _unusable(path, "it is no file")
    if path.parent.stat().st_mode & stat.S_IWOTH and found.st_uid not in (os.geteuid(), 0):
        raise _unusable(path, "it belongs to another user, in a folder that everybody may write to")


def _held(path: Path, patience_s: float | None) -> NasError:
    return NasError(f"another program has held the lock of {path} for {patience_s:g} s", "Wait for it, or end it.")


def _unusable(path: Path, why: str) -> NasError:
    return NasError(f"the lock {path} cannot be used: {why}", "Remove it when nothing uses it, or use another folder.")
