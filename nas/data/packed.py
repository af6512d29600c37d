"""The packed store: every image of a split decoded and resized once, in one memory-mapped file.

A pack is a NumPy file (N, H, W, 3) uint8 whose name is a hash of its sources (paths, sizes,
modification times, boxes) and the image size, so a changed source or size never meets an old pack.
It is written beside its final name and renamed when complete, under a lock: a cut-off pack is never
taken for a whole one, and two workers that start at once pack once. Training reads no image file
after that. What the rows mean (identities, views) is `nas.data.prepared`'s matter.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from nas.data.cache import default_cache, one_worker, writing
from nas.data.images import Pixels, Size, read_image
from nas.data.records import ImageRecord, Records
from nas.errors import DataError
from nas.files.hashes import hash_of_data
from nas.progress import Progress, silent

FORMAT_VERSION = 1
LISTED = 5
"""How many unreadable files an error names before it only counts them."""
CHUNK = 256


def pack_key(records: Records, size: Size) -> str:
    """16 hex digits over the sources' absolute paths, sizes, times and boxes, and the image size."""
    return hash_of_data([FORMAT_VERSION, size, [_fingerprint(r) for r in records]])


def _fingerprint(record: ImageRecord) -> tuple[str, int, int, object]:
    try:
        found = record.path.stat()
    except OSError as error:
        raise DataError(f"the image {record.path} cannot be read: {error.strerror}", "Run `nas data check`.") from error
    return os.path.abspath(record.path), found.st_size, found.st_mtime_ns, record.bbox


def open_pack(
    records: Records, size: Size, cache: Path | None = None, progress: Progress | None = None
) -> torch.Tensor:
    """The pack of these images as a memory-mapped uint8 tensor (N, 3, H, W); made when there is none.

    Args:
        records: images in the order of the rows.
        size: height and width in pixels.
        cache: folder for packs (`default_cache()` when None).
        progress: told the number of packed images.

    Raises:
        DataError: an image cannot be read (all are tried, the first few named), or no space left.
    """
    if not records:
        return torch.empty((0, 3, *size), dtype=torch.uint8)
    path = pack_path(records, size, cache)
    if not is_whole(path, len(records), size):
        _make_pack(path, records, size, progress or silent)
    # Copy-on-write: torch wants writable memory, and no write may ever reach the file.
    rows = np.load(path, mmap_mode="c")
    return torch.from_numpy(rows).permute(0, 3, 1, 2)


def pack_path(records: Records, size: Size, cache: Path | None = None) -> Path:
    """Where the pack of these images is or will be."""
    return (cache or default_cache()) / "packs" / f"{pack_key(records, size)}.npy"


def pack_bytes(count: int, size: Size) -> int:
    """Bytes of pixels in a pack."""
    return count * size[0] * size[1] * 3


def is_whole(path: Path, count: int, size: Size) -> bool:
    """Whether a complete pack of `count` images lies at `path`."""
    try:
        rows = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return bool(rows.shape == (count, *size, 3) and rows.dtype == np.uint8)


def _make_pack(path: Path, records: Records, size: Size, progress: Progress) -> None:
    with writing(path.parent, pack_bytes(len(records), size)), one_worker(path, len(records), progress):
        if is_whole(path, len(records), size):
            return
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                _write_rows(file, records, size, progress)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _write_rows(file: BinaryIO, records: Records, size: Size, progress: Progress) -> None:
    # Plain writes, not a memory map: a full disk then raises instead of killing the process.
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(records), *size, 3)}
    np.lib.format.write_array_header_2_0(file, header)
    unreadable: list[str] = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(records), CHUNK):
            chunk = records[start : start + CHUNK]
            for result in pool.map(lambda r: _read_or_error(r, size), chunk):
                if isinstance(result, DataError):
                    unreadable.append(result.message)
                elif not unreadable:
                    file.write(result.tobytes())
            progress(start + len(chunk), len(records), "packing images")
    if unreadable:
        raise unreadable_error(unreadable, len(records))


def _read_or_error(record: ImageRecord, size: Size) -> Pixels | DataError:
    try:
        return read_image(record, size)
    except DataError as error:
        return error


def unreadable_error(messages: Sequence[str], total: int) -> DataError:
    """One error for all unreadable images of a split."""
    if len(messages) == 1:
        return DataError(messages[0], "Delete or replace it; `nas data check` finds others.")
    shown = "; ".join(messages[:LISTED])
    more = f"; and {len(messages) - LISTED} more" if len(messages) > LISTED else ""
    return DataError(
        f"{len(messages)} of {total} images cannot be read: {shown}{more}",
        "Delete or replace them; `nas data check` lists them all.",
    )
