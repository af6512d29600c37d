"""The packed store: every image of a split decoded and resized once, in one memory-mapped file.

A pack is a NumPy file (N, H, W, 3) uint8 whose name is a hash of what its sources hold (and of their
boxes) with the image size, so a changed source or size never meets an old pack, and a set that was
moved needs no new one. It is written beside its final name and renamed when complete, under a lock: a
cut-off pack is never taken for a whole one, and two workers that start at once pack once. Its own hash
lies beside it and is compared whenever the file changed since it was last read whole. Training reads no
image file after that. What the rows mean (identities, views) is `nas.data.prepared`'s matter.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, cast

import numpy as np
import torch

from nas.data.cache import default_cache, writing
from nas.data.content import DIGITS, digests, unreadable_error
from nas.data.images import Pixels, Size, read_image
from nas.data.records import ImageRecord, Records
from nas.data.shared_packs import fetch_pack, share_pack
from nas.errors import DataError
from nas.files.hashes import hash_of_data
from nas.files.whole import HashingWriter, write_text
from nas.progress import Progress, silent

FORMAT_VERSION = 2
"""Part of every pack's name: 1 was named by paths, sizes and times, and had no hash of its own."""
CHUNK = 256


def pack_key(records: Records, cache: Path | None = None) -> str:
    """16 hex digits over what the sources hold and their boxes."""
    found = digests([r.path for r in records], cache)
    return hash_of_data([FORMAT_VERSION, [(digest, r.bbox) for digest, r in zip(found, records, strict=True)]])


def open_pack(
    records: Records, size: Size, cache: Path | None = None, progress: Progress | None = None
) -> torch.Tensor:
    """The pack of these images as a memory-mapped uint8 tensor (N, 3, H, W); made when there is none.

    Args:
        records: images in the order of the rows.

    Raises:
        DataError: an image cannot be read (all are tried, the first few named), or no space left.
    """
    if not records:
        return torch.empty((0, 3, *size), dtype=torch.uint8)
    path = pack_path(records, size, cache)
    if not is_sound(path, len(records), size, cache):
        _make_pack(path, records, size, cache, progress or silent)
    # Copy-on-write: torch wants writable memory, and no write may ever reach the file.
    rows = np.load(path, mmap_mode="c")
    return torch.from_numpy(rows).permute(0, 3, 1, 2)


def pack_path(records: Records, size: Size, cache: Path | None = None) -> Path:
    """Where the pack of these images is or will be."""
    return (cache or default_cache()) / "packs" / f"{pack_key(records, cache)}-{size[0]}x{size[1]}.npy"


def damaged_packs(records: Records, cache: Path | None = None) -> list[Path]:
    """Packs of these images, of any size, that do not hold what was written; every one is read whole."""
    if not records:
        return []
    found = sorted(pack_path(records, (1, 1), cache).parent.glob(f"{pack_key(records, cache)}-*.npy"))
    return [path for path in found if not _holds_what_was_written(path, cache, fresh=True)]


def pack_bytes(count: int, size: Size) -> int:
    """Bytes of pixels in a pack."""
    return count * size[0] * size[1] * 3


def is_sound(path: Path, count: int, size: Size, cache: Path | None = None) -> bool:
    """Whether a pack of `count` images lies at `path` and holds what was written."""
    try:
        rows = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    if rows.shape != (count, *size, 3) or rows.dtype != np.uint8:
        return False
    return _holds_what_was_written(path, cache)


def _holds_what_was_written(path: Path, cache: Path | None, *, fresh: bool = False) -> bool:
    try:
        written = _hash_file(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return digests([path], cache, fresh=fresh) == [written]


def _hash_file(pack: Path) -> Path:
    return pack.with_suffix(".sha256")


def _make_pack(path: Path, records: Records, size: Size, cache: Path | None, progress: Progress) -> None:
    with writing(path, pack_bytes(len(records), size), len(records), progress):
        if is_sound(path, len(records), size, cache):
            return
        fetch_pack(path, _hash_file(path))
        if is_sound(path, len(records), size, cache):
            return
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                writer = HashingWriter(file)
                _write_rows(writer, records, size, progress)
                file.flush()
                os.fsync(file.fileno())
            # The hash first: a pack without one, or with another's, is made again.
            write_text(_hash_file(path), writer.sha256[:DIGITS], DataError)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        share_pack(path, _hash_file(path))


def _write_rows(file: HashingWriter, records: Records, size: Size, progress: Progress) -> None:
    # Plain writes, not a memory map: a full disk then raises instead of killing the process.
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(records), *size, 3)}
    np.lib.format.write_array_header_2_0(cast(IO[bytes], file), header)
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
