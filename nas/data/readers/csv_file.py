"""One CSV for a robot's own images: `path, identity, camera, split` and, if wanted, `bbox`.

Paths are relative to the CSV; `split` is train, query or gallery; `bbox` is `left top right bottom` in pixels of the
upright image, separated by spaces. Identities and cameras may be numbers or names; see `nas.data.labels` for what
`-1`, `junk`, `0` and `distractor` mean. Tables of other programs are read too: separated by `;` or tabs, in UTF-16,
with a BOM, with column names and splits in capitals, with backslashes in paths.
"""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.data.listing import labelled_dataset
from nas.data.records import Box, ReidDataset
from nas.errors import DataError, unknown_name
from nas.files.given import read_table_text

COLUMNS = ("path", "identity", "camera", "split")
SPLITS = ("train", "query", "gallery")
SEPARATORS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class _Row:
    path: Path
    identity: str
    camera: str
    split: str
    bbox: Box | None


def read_csv(path: Path) -> ReidDataset:
    """Read the table; every `DataError` names the file and the line."""
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path} lists no images")
    splits = {split: [(r.path, r.identity, r.camera, r.bbox) for r in rows if r.split == split] for split in SPLITS}
    return labelled_dataset(path.stem, path.parent, splits, path)


def _rows(path: Path) -> Iterator[_Row]:
    try:
        text = read_table_text(path)
        header = text.partition("\n")[0]
        separator = next((s for s in SEPARATORS if not _missing(_cells(header, s))), ",")
        _check_header(path, _cells(header, separator))
        reader = csv.DictReader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
        for line in reader:
            yield _parse(f"{path}:{reader.line_num}", line, path.parent)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the table {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip().lower() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]


def _missing(names: Sequence[str]) -> list[str]:
    return [name for name in COLUMNS if name not in names]


def _check_header(path: Path, names: list[str]) -> None:
    missing = _missing(names)
    if missing:
        raise DataError(
            f"the table {path} has no column {', '.join(missing)}; "
            f"its first line reads {', '.join(names) or 'nothing'}",
            f"Its first line must name the columns {', '.join(COLUMNS)} (and bbox, if wanted), separated by commas, "
            "semicolons or tabs.",
        )
    if twice := [name for name in (*COLUMNS, "bbox") if names.count(name) > 1]:
        raise DataError(f"the table {path} has two columns {twice[0]!r}", "Leave one of them out.")


def _parse(place: str, line: dict[str | None, str | None], folder: Path) -> _Row:
    if None in line:
        raise DataError(f"{place}: more cells than columns", "A value that holds the separator must be in quotes.")
    values = {(key or "").strip().lower(): (value or "").strip() for key, value in line.items()}
    for name in COLUMNS:
        if not values.get(name):
            raise DataError(f"{place}: {name} is empty")
    split = values["split"].lower()
    if split not in SPLITS:
        raise DataError(f"{place}: {unknown_name('split', values['split'], SPLITS)}")
    return _Row(
        _image(folder, values["path"]), values["identity"], values["camera"], split, _box(values.get("bbox", ""), place)
    )


def _image(folder: Path, written: str) -> Path:
    """The file of a cell: with backslashes, or accents in another form (NFC, NFD), where there is none as written."""
    path = folder / written
    if not ("\\" in written or not written.isascii()) or path.exists():
        return path
    slashed = written.replace("\\", "/")
    others = [folder / unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")]
    return next((other for other in (folder / slashed, *others) if other.exists()), path)


def _box(text: str, place: str) -> Box | None:
    """The corners in a cell; what is no rectangle is refused with what it looks like."""
    if not text:
        return None
    try:
        corners = [float(part) for part in text.replace(",", " ").replace(";", " ").split()]
        left, top, right, bottom = corners
    except ValueError as error:
        raise DataError(f"{place}: bbox {text!r} is not four numbers: left top right bottom") from error
    if not all(map(math.isfinite, corners)):
        raise DataError(f"{place}: bbox {text!r} is not finite", "Leave the cell empty to use the whole image.")
    wanted = "Corners in pixels are expected: left top right bottom."
    if max(corners) <= 1:
        raise DataError(f"{place}: bbox {text!r} looks like shares of the image, not pixels", wanted)
    if right <= left or bottom <= top:
        raise DataError(f"{place}: bbox {text!r} ends before it begins; it looks like x y width height", wanted)
    return round(left), round(top), round(right), round(bottom)
