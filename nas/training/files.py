"""Writing a file whole or not at all, with its SHA-256 known at the end."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from nas.errors import TrainingError

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


def write_atomically(path: Path, write: Callable[[HashingWriter], object]) -> str:
    """Writes a temporary file beside `path`, syncs it and renames it; returns the SHA-256 of its bytes.

    Whoever reads `path` at any moment, or after a power cut, finds the old file or the new one.

    Raises:
        TrainingError: no space left, no permission, ...; names the file, and nothing half-written stays.
    """
    try:
        return _write_and_rename(path, write)
    except OSError as error:
        raise TrainingError(f"{path} cannot be written: {error.strerror or error}", _advice(error)) from error


def _write_and_rename(path: Path, write: Callable[[HashingWriter], object]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_prefix(path), suffix=".partial", delete=False) as file:
        try:
            writer = _written(file, write)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)
    return writer.sha256


def _written(file: tempfile._TemporaryFileWrapper[bytes], write: Callable[[HashingWriter], object]) -> HashingWriter:
    writer = HashingWriter(file.file)  # type: ignore[arg-type]
    try:
        write(writer)
    except Exception as error:
        raise writer.failed or error from error
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


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free some space on that disk, or keep checkpoints elsewhere; the training goes on from its last one."
    return "Choose a place that you may write to."
