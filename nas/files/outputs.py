"""The one guard for files that a command writes: no input is lost, nothing is overwritten unasked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from nas.errors import NasError


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None] = (), *, force: bool = False) -> None:
    """Refuse what would destroy something, before any work.

    Args:
        outputs: every file that will be written, those beside the named one too; None for one not asked for.
        inputs: files that are read.
        force: replace files that exist already; never an input.

    Raises:
        NasError: an output is an input or another output, is a folder, or exists already.
    """
    read = {_place(path): path for path in inputs if path is not None}
    written: dict[str, Path] = {}
    for path in (path for path in outputs if path is not None):
        place = _place(path)
        if place in read:
            raise NasError(f"{path} is read by this command and would be overwritten", "Give another output file.")
        if place in written:
            raise NasError(f"{path} would be written twice, for two outputs", "Give each output a name of its own.")
        written[place] = path
        if path.is_dir():
            raise NasError(f"{path} is a folder, not a file to write", "Give the name of a file.")
        if path.exists() and not force:
            raise NasError(f"{path} exists already", "Give another name, or --force to replace it.")


def _place(path: Path) -> str:
    """One name a file, through links and `..`, whether it exists or not."""
    return os.path.realpath(path.expanduser())
