"""One CSV for a robot's own images: `path, identity, camera, split` and, if wanted, `bbox`.

Paths are relative to the CSV; `split` is train, query or gallery; `bbox` is `left top right bottom`
in pixels, separated by spaces. Identities and cameras may be numbers or names; names are numbered
in sorted order. Identity 0 is a distractor, -1 junk.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nas.data.listing import refuse_special, without_junk
from nas.data.records import Box, ImageRecord, ReidDataset
from nas.errors import DataError, unknown_name

COLUMNS = ("path", "identity", "camera", "split")
SPLITS = ("train", "query", "gallery")
TOO_LARGE = 10**15


@dataclass(frozen=True, slots=True)
class _Row:
    place: str
    path: str
    identity: str
    camera: str
    split: str
    bbox: Box | None


def read_csv(path: Path) -> ReidDataset:
    """Read the table; every `DataError` names the file and the line."""
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path} lists no images")
    identities, cameras = _numbers(r.identity for r in rows), _numbers(r.camera for r in rows)
    splits: dict[str, list[ImageRecord]] = {split: [] for split in SPLITS}
    for row in rows:
        image = ImageRecord(path.parent / row.path, identities[row.identity], cameras[row.camera], row.bbox)
        splits[row.split].append(image)
    kept = {split: without_junk(records) for split, records in splits.items()}
    junk = {split: count for split, (_, count) in kept.items()}
    train, query, gallery = (kept[split][0] for split in SPLITS)
    return ReidDataset(name=path.stem, train=train, query=query, gallery=gallery, root=path.parent, junk=junk)


def _rows(path: Path) -> list[_Row]:
    try:
        refuse_special(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            _check_header(path, [name.strip() for name in reader.fieldnames or []])
            return [_parse(f"{path}:{reader.line_num}", line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the table {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _check_header(path: Path, names: list[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise DataError(
            f"the table {path} has no column {', '.join(missing)}",
            f"Its first line must name the columns {', '.join(COLUMNS)} (and bbox, if wanted).",
        )


def _parse(place: str, line: dict[str | None, str | None]) -> _Row:
    values = {
        (key or "").strip(): (value or "").strip() if isinstance(value, str) else "" for key, value in line.items()
    }
    for name in COLUMNS:
        if not values.get(name):
            raise DataError(f"{place}: {name} is empty")
    if values["split"] not in SPLITS:
        raise DataError(f"{place}: {unknown_name('split', values['split'], SPLITS)}")
    path, identity, camera, split = (values[name] for name in COLUMNS)
    return _Row(place, path, identity, camera, split, _box(values.get("bbox", ""), place))


def _box(text: str, place: str) -> Box | None:
    if not text:
        return None
    try:
        left, top, right, bottom = (round(float(part)) for part in text.replace(",", " ").replace(";", " ").split())
    except ValueError as error:
        raise DataError(f"{place}: bbox {text!r} is not four numbers: left top right bottom") from error
    return left, top, right, bottom


def _numbers(names: Iterable[str]) -> dict[str, int]:
    """Whole numbers stay what they are; anything else is numbered from 1 in sorted order."""
    found = sorted(set(names))
    try:
        numbers = {name: int(name) for name in found}
    except ValueError:
        numbers = {}
    if max(map(abs, numbers.values()), default=TOO_LARGE) >= TOO_LARGE:  # ids of twenty digits are names
        return {name: number for number, name in enumerate(found, start=1)}
    return numbers
