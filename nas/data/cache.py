"""The cache folder: where packs and generated sets go, and what happens when it cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from nas.errors import DataError
from nas.files.locks import locked
from nas.progress import Progress


def default_cache() -> Path:
    """`$NAS_CACHE`, or `.nas/cache` in the current folder."""
    return Path(os.environ.get("NAS_CACHE") or Path(".nas") / "cache")


@contextlib.contextmanager
def writing(path: Path, needed: int, total: int, progress: Progress) -> Iterator[None]:
    """Hold the lock beside `path`, which will take `needed` bytes; while another worker makes it, say so and wait.

    A full disk or a forbidden folder becomes a `DataError`.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free")
        with locked(path, lambda: progress(0, total, "waiting for another worker")):
            yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "no space left" if full else error.strerror or str(error)
        detail = f" ({error.strerror})" if full and error.strerror and "needed" in error.strerror else ""
        raise DataError(
            f"cannot write to {folder}: {why}{detail}", "Free some space, or set NAS_CACHE to a folder on another disk."
        ) from error
