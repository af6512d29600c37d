"""Where the file or folder lies that a relative path of a study names: one rule for all its keys."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

DEFAULT_URL = "sqlite:///nas.db"
"""The database of a folder where none is named."""
BUCKETS = ("s3", "s3a", "gs", "gcs", "abfs", "az")
"""Stores without folders: nothing is made before a file is put, least of all a bucket by a mistyped name."""


def folders_of(file: str | Path | None) -> tuple[Path, ...]:
    """Where paths of a study are looked for: beside its file, in the folder above it, in the current folder."""
    here = Path.cwd()
    beside = here if file is None else Path(file).resolve().parent
    return tuple(dict.fromkeys((beside, beside.parent, here)))


def located(path: str | Path, folders: Iterable[Path]) -> Path:
    """The path in the first of these folders that has it; as it is written where none has. `~` is the home folder."""
    wanted = Path(os.path.expanduser(path))
    return next((found for folder in folders if os.path.exists(found := folder / wanted)), wanted)
