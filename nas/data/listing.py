"""What all readers share: find a folder, list its images in order, take names and lists apart.

A reader turns the layout of one set into records; what is the same for several of them is here.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from nas.data.records import JUNK, ImageRecord, Records, ReidDataset
from nas.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"})
IDENTITY_AND_CAMERA = re.compile(r"(-?\d{1,15})_c(\d{1,9})")
"""More digits than any set has: they still fit the whole numbers of arrays and databases."""
MARKET_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def read_folders(root: Path, name: str, example: str, test_optional: bool = False) -> ReidDataset:
    """Read a set laid out like Market-1501: three folders, names that begin with identity and camera.

    Args:
        root: folder that holds the three.
        name: of the set.
        example: a file name for the error that finds another.
        test_optional: a set without query and gallery folders is all right.

    Raises:
        DataError: a folder is missing or empty, or a name says no identity and camera.
    """
    require_folder(root, name)
    splits: dict[str, Records] = {}
    junk: dict[str, int] = {}
    for split, folder in MARKET_FOLDERS.items():
        if test_optional and split != "train" and not (root / folder).exists():
            splits[split], junk[split] = (), 0
            continue
        splits[split], junk[split] = without_junk(_named_records(require_folder(root / folder, name), example))
    return ReidDataset(name, splits["train"], splits["query"], splits["gallery"], root=root, junk=junk)


def require_folder(path: Path, why: str) -> Path:
    """`path` if it is a folder, else `DataError` that says which set needs it (`why`)."""
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise DataError(f"the folder {path} {what}; {why} needs it", "Give the folder the set was unpacked to.")
    return path


def image_files(folder: Path) -> list[Path]:
    """Image files right in a folder, sorted by name; hidden and other files are left out."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if not e.name.startswith(".")]
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be listed: {error.strerror}") from error
    return [folder / name for name in sorted(names) if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]


def _named_records(folder: Path, example: str) -> list[ImageRecord]:
    files = image_files(folder)
    if not files:
        raise DataError(f"the folder {folder} holds no images", f"Expected files like {example}.")
    return [_record_from_name(path, example) for path in files]


def _record_from_name(path: Path, example: str) -> ImageRecord:
    found = IDENTITY_AND_CAMERA.match(path.name)
    if found is None:
        raise DataError(f"the image name {path} does not say identity and camera", f"Expected a name like {example}.")
    return ImageRecord(path, int(found[1]), int(found[2]))


def refuse_special(path: Path) -> None:
    """`OSError` for a pipe, a socket or a device: to read one waits for ever, or never comes to an end."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def without_junk(records: Iterable[ImageRecord]) -> tuple[Records, int]:
    """The records that count, and how many were junk (identity -1)."""
    found = list(records)
    kept = tuple(r for r in found if r.identity != JUNK)
    return kept, len(found) - len(kept)


def read_text_lines(path: Path, why: str) -> Iterator[tuple[int, str]]:
    """Lines of a list with their numbers, empty ones left out; `DataError` when it cannot be read."""
    try:
        refuse_special(path)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"the list {path} cannot be read: {reason}; {why} needs it") from error
    yield from ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())
