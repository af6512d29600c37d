"""The packed store: the right pixels, one writer, never a cut-off pack, never a stale one."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from data_builders import write_image
from fsspec.core import url_to_fs
from moto_server import serving

from nas.data import packed
from nas.data.cache import default_cache, writing
from nas.data.images import read_image
from nas.data.packed import open_pack, pack_bytes, pack_path
from nas.data.records import ImageRecord, Records
from nas.errors import DataError
from nas.progress import silent

SIZE = (8, 4)


def pictures(folder: Path, count: int = 5) -> Records:
    return tuple(ImageRecord(write_image(folder / f"{n}.png", n), n, 1) for n in range(count))


def leftovers(cache: Path) -> list[str]:
    return sorted(p.suffix for p in (cache / "packs").iterdir() if p.suffix not in (".lock", ".sha256"))


def test_rows_are_the_images(tmp_path: Path) -> None:
    records = pictures(tmp_path)
    pack = open_pack(records, SIZE, tmp_path / "cache")
    assert tuple(pack.shape) == (5, 3, *SIZE)
    for row, record in zip(pack, records, strict=True):
        assert np.array_equal(row.permute(1, 2, 0).numpy(), read_image(record, SIZE))


def test_a_pack_opens_without_the_images_being_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = pictures(tmp_path)
    first = open_pack(records, SIZE, tmp_path / "cache")
    monkeypatch.setattr(packed, "read_image", lambda *_: pytest.fail("an image file was read"))
    assert (open_pack(records, SIZE, tmp_path / "cache") == first).all()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_pack_that_another_machine_made_is_copied(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = pictures(tmp_path)
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        if kind == "s3":
            server = serving(patch)
            place = next(server)
            stack.callback(lambda: next(server, None))
        else:
            place = str(tmp_path / "shared")
        patch.setenv("NAS_PACKS", place)
        here = open_pack(records, SIZE, tmp_path / "one").clone()
        monkeypatch.setattr(packed, "read_image", None)
        assert torch.equal(open_pack(records, SIZE, tmp_path / "two"), here)
        monkeypatch.undo()
        fs, folder = url_to_fs(place)
        name = pack_path(records, SIZE, tmp_path / "one").name
        fs.pipe_file(f"{folder}/{name}", fs.cat_file(f"{folder}/{name}")[:-1] + b"?")  # damaged on its way
        assert torch.equal(open_pack(records, SIZE, tmp_path / "three"), here)


def test_a_shared_place_that_cannot_be_used_costs_the_packing_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    places = (("nonsense://x", "NAS_PACKS cannot be used"), (str(tmp_path / "file"), "was not copied"))
    for cache, (place, said) in enumerate(places):
        monkeypatch.setenv("NAS_PACKS", place)
        assert len(open_pack(pictures(tmp_path), SIZE, tmp_path / str(cache))) == 5
        assert said in caplog.text


def test_writing_to_a_pack_in_memory_leaves_the_file_alone(tmp_path: Path) -> None:
    records = pictures(tmp_path)
    pack = open_pack(records, SIZE, tmp_path / "cache")
    before = pack.clone()
    pack.zero_()
    assert (open_pack(records, SIZE, tmp_path / "cache") == before).all()


def test_another_size_or_a_changed_source_is_another_pack(tmp_path: Path) -> None:
    records, cache = pictures(tmp_path), tmp_path / "cache"
    open_pack(records, SIZE, cache)
    assert tuple(open_pack(records, (4, 4), cache).shape) == (5, 3, 4, 4)
    write_image(records[2].path, seed=99)
    changed = open_pack(records, SIZE, cache)
    assert np.array_equal(changed[2].permute(1, 2, 0).numpy(), read_image(records[2], SIZE))


def test_a_set_that_was_moved_or_touched_is_not_packed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    records, cache = pictures(tmp_path / "here"), tmp_path / "cache"
    open_pack(records, SIZE, cache)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    os.utime(records[0].path, ns=(1, 1))
    monkeypatch.setattr(packed, "read_image", lambda *_: pytest.fail("packed again"))
    open_pack(records, SIZE, cache)
    open_pack(tuple(ImageRecord(tmp_path / "there" / r.path.name, r.identity, 1) for r in records), SIZE, cache)


def test_pixels_changed_in_a_pack_are_noticed_and_packed_anew(tmp_path: Path) -> None:
    records, cache = pictures(tmp_path), tmp_path / "cache"
    whole = open_pack(records, SIZE, cache).clone()
    path = pack_path(records, SIZE, cache)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    rows = np.load(path, mmap_mode="r+")
    rows[1] = 255 - rows[1]
    rows.flush()
    os.utime(path, ns=times)  # as a failing disk leaves it: no time tells
    assert packed.damaged_packs(records, cache) == [path]
    assert (open_pack(records, SIZE, cache) == whole).all()
    assert packed.damaged_packs(records, cache) == []


@pytest.mark.parametrize("keep", [0, 40, -1])
def test_a_cut_off_pack_is_written_anew(tmp_path: Path, keep: int) -> None:
    records, cache = pictures(tmp_path), tmp_path / "cache"
    whole = open_pack(records, SIZE, cache).clone()
    path = pack_path(records, SIZE, cache)
    path.write_bytes(path.read_bytes()[:keep])
    assert (open_pack(records, SIZE, cache) == whole).all()


def test_interrupted_packing_leaves_nothing_and_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, cache = pictures(tmp_path), tmp_path / "cache"

    def interrupt(record: ImageRecord, size: tuple[int, int]) -> np.ndarray:
        if record.identity == 3:
            raise KeyboardInterrupt
        return read_image(record, size)

    with monkeypatch.context() as patch:
        patch.setattr(packed, "read_image", interrupt)
        with pytest.raises(KeyboardInterrupt):
            open_pack(records, SIZE, cache)
    assert leftovers(cache) == []
    assert len(open_pack(records, SIZE, cache)) == 5


def test_a_killed_writer_s_remains_do_not_matter(tmp_path: Path) -> None:
    records, cache = pictures(tmp_path), tmp_path / "cache"
    path = pack_path(records, SIZE, cache)
    path.parent.mkdir(parents=True)
    path.with_suffix(".partial").write_bytes(b"half of it")
    path.with_name(path.name + ".lock").touch()
    assert len(open_pack(records, SIZE, cache)) == 5
    assert leftovers(cache) == [".npy"]


def test_all_unreadable_images_are_counted_and_the_first_named(tmp_path: Path) -> None:
    records, cache = pictures(tmp_path, 9), tmp_path / "cache"
    for record in records[1:]:
        record.path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"8 of 9 images cannot be read: .*1\.png.*; and 3 more"):
        open_pack(records, SIZE, cache)
    assert leftovers(cache) == []


def test_one_unreadable_image_is_named(tmp_path: Path) -> None:
    records = pictures(tmp_path)
    records[4].path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"4\.png cannot be read: not an image file"):
        open_pack(records, SIZE, tmp_path / "cache")


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    records = pictures(tmp_path)
    records[0].path.unlink()
    with pytest.raises(DataError, match=r"0\.png cannot be read: No such file"):
        open_pack(records, SIZE, tmp_path / "cache")


def test_too_little_space_is_said_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(DataError, match="no space left") as caught:
        open_pack(pictures(tmp_path), SIZE, tmp_path / "cache")
    assert "NAS_CACHE" in (caught.value.hint or "")
    assert leftovers(tmp_path / "cache") == []


def test_a_disk_that_fills_up_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packed, "_write_rows", full)
    with pytest.raises(DataError, match=r"cannot write to .*packs: no space left"):
        open_pack(pictures(tmp_path), SIZE, tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(DataError, match="cannot write to"):
        open_pack(pictures(tmp_path), SIZE, tmp_path / "cache")


WORKER = """
import sys, time
from pathlib import Path
import nas.data.packed as packed
from nas.data.records import ImageRecord
count, read = [], packed.read_image
def counting(record, size):
    count.append(1)
    time.sleep(0.02)
    return read(record, size)
packed.read_image = counting
folder = Path(sys.argv[1])
records = tuple(ImageRecord(folder / f"{n}.png", n, 1) for n in range(40))
print(len(packed.open_pack(records, (8, 4), folder / "cache")), len(count))
"""


@pytest.mark.slow
def test_two_processes_that_start_at_once_pack_once(tmp_path: Path) -> None:
    pictures(tmp_path, 40)
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    results = sorted(worker.communicate()[0].split() for worker in workers)
    assert results == [["40", "0"], ["40", "40"]]


def test_progress_counts_up_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    open_pack(
        pictures(tmp_path), SIZE, tmp_path / "cache", progress=lambda done, total, what="": told.append((done, total))
    )
    assert told[-1] == (5, 5)


def test_no_images_no_file(tmp_path: Path) -> None:
    assert tuple(open_pack((), SIZE, tmp_path / "cache").shape) == (0, 3, *SIZE)
    assert not (tmp_path / "cache").exists()


def test_default_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAS_CACHE", raising=False)
    assert default_cache() == Path(".nas/cache")
    monkeypatch.setenv("NAS_CACHE", "/elsewhere")
    assert default_cache() == Path("/elsewhere")


def test_pack_bytes() -> None:
    assert pack_bytes(12_936, (256, 128)) == 12_936 * 98_304


def test_who_waits_for_another_worker_says_so(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "thing"
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with writing(path, 0, 1, silent):
            holding.set()
            release.wait(240)

    def tell(done: int, total: int, what: str = "") -> None:
        told.append(what)
        release.set()

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(240)
    with writing(path, 0, 1, tell):
        assert told == ["waiting for another worker"]
    thread.join()
