"""Writing a file whole or not at all, with its SHA-256 known at the end."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from nas.errors import NasError

STALE_AFTER_S = 600.0
"""A partial file this old belongs to a process that was killed while writing."""


class HashingWriter:
    """Passes bytes on to a file, hashes them, and remembers the first error of the file.

    torch.save turns an OSError of the file below into a RuntimeError without its number; `failed` keeps it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.failed: OSError | None = None

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.failed = self.failed or error
            raise

    def flush(self) -> None:
        self._file.flush()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def write_atomically(
    path: Path, write: Callable[[HashingWriter], object], error: type[NasError] = NasError, when_full: str = ""
) -> str:
    """Writes a temporary file beside `path`, syncs it and renames it; returns the SHA-256 of its bytes.

    Whoever reads `path` at any moment, or after a power cut, finds the old file or the new one.

    Args:
        path: the file; folders above it are made.
        write: gets an object with `write(bytes)` and `flush()`.
        error: what is raised when it cannot be written.
        when_full: what else to do about a full disk, for the hint.

    Raises:
        NasError: of the type `error`: no space left, no permission, ...; names the file, nothing half-written stays.
    """
    try:
        return _write_and_rename(path, write)
    except OSError as problem:
        raise error(
            f"{path} cannot be written: {problem.strerror or problem}", _advice(problem, when_full)
        ) from problem


def write_text(path: Path, text: str, error: type[NasError] = NasError) -> Path:
    """Writes a text file in UTF-8 whole or not at all, as `write_atomically` does; returns its path.

    Names of files that are no text (lone surrogates in Python) are spelt out.
    """
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")), error)
    return path


def _write_and_rename(path: Path, write: Callable[[HashingWriter], object]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{_prefix(path)}{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            writer = _written(file, write)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return writer.sha256


def _written(file: BinaryIO, write: Callable[[HashingWriter], object]) -> HashingWriter:
    writer = HashingWriter(file)
    try:
        write(writer)
    except Exception as error:
        if writer.failed is None or writer.failed is error:
            raise  # never `from` itself: whoever follows causes would not come to an end
        raise writer.failed from error
    file.flush()
    os.fsync(file.fileno())
    return writer


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _sync_folder(folder: Path) -> None:
    # The rename itself must survive a power cut. Not every file system lets a folder be opened for that.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_stale_partials(path: Path) -> None:
    """Removes what killed processes left of earlier attempts to write `path`."""
    for partial in path.parent.glob(f"{_prefix(path)}*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - partial.stat().st_mtime > STALE_AFTER_S:
                partial.unlink()


def _advice(error: OSError, when_full: str) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free some space on that disk" + (f", or {when_full}" if when_full else ", or write elsewhere.")
    return "Choose a place that you may write to."
