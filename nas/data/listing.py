"""What all readers share: find a folder, list its images in order, take names and lists apart.

A reader turns the layout of one set into records; what is the same for several of them is here.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.data.labels import LONGEST, camera_numbers, identity_numbers
from nas.data.records import JUNK, Box, ImageRecord, Records, ReidDataset
from nas.errors import DataError
from nas.files.given import read_bounded

IMAGE_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".tif",
    ".tiff", ".jp2",
))  # fmt: skip
IDENTITY_AND_CAMERA = re.compile(r"(-?[0-9]+)_c([0-9]+)")
"""Both to their last digit: a longer number is never cut."""
MARKET_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def read_folders(root: Path, name: str, example: str, optional: bool = False) -> ReidDataset:
    """Read a set laid out like Market-1501: three folders, names that begin with identity and camera.

    Args:
        example: a file name for the error that finds another.
        optional: a set without query and gallery folders, or with nothing else, is all right.

    Raises:
        DataError: a folder is missing or empty, or a name says no identity and camera.
    """
    require_folder(root, name)
    present = {split for split, folder in MARKET_FOLDERS.items() if (root / folder).exists()}
    if not (optional and (present == {"query", "gallery"} or "train" in present)):
        present = set(MARKET_FOLDERS)
    named: dict[str, list[tuple[Path, str, str]]] = {split: [] for split in MARKET_FOLDERS}
    left_out: Counter[str] = Counter()
    for split, folder in MARKET_FOLDERS.items():
        if split in present:
            listed = list_images(require_folder(root / folder, name))
            left_out.update(listed.left_out)
            named[split] = _labelled(root / folder, listed.files, example)
    return labelled_dataset(
        name, root, {split: [(*found, None) for found in rows] for split, rows in named.items()}, root, left_out
    )


def labelled_dataset(
    name: str,
    root: Path,
    splits: Mapping[str, Sequence[tuple[Path, str, str, Box | None]]],
    where: object,
    left_out: Mapping[str, int] | None = None,
) -> ReidDataset:
    """A set from images with their labels as text; junk is left out and counted.

    Args:
        splits: path, identity, camera and box of every image, by split.
        where: what errors name.
        left_out: files that were not read, by reason.
    """
    rows = [row for found in splits.values() for row in found]
    identities = identity_numbers((row[1] for row in rows), where)
    cameras = camera_numbers((row[2] for row in rows), where)
    kept: dict[str, Records] = {}
    junk: dict[str, int] = {}
    for split in MARKET_FOLDERS:
        records = [ImageRecord(p, identities[i], cameras[c], box) for p, i, c, box in splits.get(split, ())]
        kept[split] = tuple(r for r in records if r.identity != JUNK)
        junk[split] = len(records) - len(kept[split])
    return ReidDataset(
        name, kept["train"], kept["query"], kept["gallery"], root=root, junk=junk, left_out=dict(left_out or {})
    )


def require_folder(path: Path, why: str) -> Path:
    """`path` if it is a folder, else `DataError` that says which set needs it (`why`)."""
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise DataError(f"the folder {path} {what}; {why} needs it", "Give the folder the set was unpacked to.")
    return path


@dataclass(frozen=True)
class Listed:
    """Images of a folder, sorted by name, and how many entries are none of them, by reason."""

    files: list[Path]
    left_out: Mapping[str, int]


def list_images(folder: Path, *, nested: bool = False) -> Listed:
    """The images in a folder (`nested`: and in its sub-folders): what every command that takes one reads.

    Hidden files and folders (`.thumbnails`, `._a.jpg`), those that file servers keep (`@eaDir`) and files of other
    kinds are left out.

    Raises:
        DataError: the folder cannot be listed.
    """
    files: list[Path] = []
    left_out: Counter[str] = Counter()
    waiting = [folder]
    while waiting:
        for entry in _entries(waiting.pop()):
            path, reason = Path(entry.path), _left_out(entry, nested)
            if reason is not None:
                left_out[reason] += 1
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                files.append(path)
    return Listed(sorted(files), dict(left_out))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be listed: {error.strerror}") from error


def _left_out(entry: os.DirEntry[str], nested: bool) -> str | None:
    """Why an entry of a folder is not read, or None."""
    if entry.name.startswith((".", "@")):
        return "hidden"
    if entry.is_dir(follow_symlinks=False):
        return None if nested else "sub-folder"
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return None
    return f"no image ({suffix or 'no suffix'})"


def _labelled(folder: Path, files: Sequence[Path], example: str) -> list[tuple[Path, str, str]]:
    if not files:
        raise DataError(f"the folder {folder} holds no images", f"Expected files like {example}.")
    return [_label_of(path, example) for path in files]


def _label_of(path: Path, example: str) -> tuple[Path, str, str]:
    found = IDENTITY_AND_CAMERA.match(path.name)
    if found is None:
        raise DataError(f"the image name {path} does not say identity and camera", f"Expected a name like {example}.")
    if max(map(len, found.groups())) > LONGEST:
        raise DataError(f"the image name {path} has a number of more than {LONGEST} digits", "Name persons in a CSV.")
    return path, found[1], found[2]


def read_text_lines(path: Path, why: str) -> Iterator[tuple[int, str]]:
    """Lines of a list with their numbers, empty ones left out; `DataError` when it cannot be read."""
    try:
        text = read_bounded(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"the list {path} cannot be read: {reason}; {why} needs it") from error
    yield from ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())
