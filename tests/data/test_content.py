"""What files hold: by content and not by name, size or time; read once while nothing changes."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from data_builders import write_image

from nas.data import content
from nas.data.content import INDEX, digests
from nas.data.load import load_dataset
from nas.data.records import ImageRecord, ReidDataset, known_by_content, require_same_data
from nas.data.views import dataset_view
from nas.errors import DataError

OLD = 1_000_000_000_000_000_000
"""A time long ago, in nanoseconds: its files count as settled."""


def a_set(folder: Path) -> ReidDataset:
    """Two persons in two cameras, as BMP: files of one size whatever they show."""
    folder.mkdir(exist_ok=True)
    images = [write_image(folder / f"{n}.bmp", n) for n in range(4)]
    train = tuple(ImageRecord(path, 1 + n // 2, 1 + n % 2) for n, path in enumerate(images))
    return ReidDataset("own", train, (), (), folder, cache=folder.parent / "cache")


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SETTLED_NS", -(10**12))


def test_other_pixels_under_the_same_name_size_and_time_are_another_set(tmp_path: Path) -> None:
    dataset = a_set(tmp_path / "a")
    before, stamp = dataset.id, dataset.train[2].path.stat()
    write_image(dataset.train[2].path, seed=99)
    os.utime(dataset.train[2].path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert dataset.train[2].path.stat().st_size == stamp.st_size
    assert dataset.current_id() != before
    write_image(dataset.train[2].path, seed=2)
    assert dataset.current_id() == before


def test_names_and_places_do_not_matter_labels_do(tmp_path: Path) -> None:
    one, other = a_set(tmp_path / "a"), a_set(tmp_path / "b")
    assert one.id == other.id
    moved = tuple(ImageRecord(r.path, r.identity + 1, r.camera) for r in one.train)
    assert one.derived(train=moved).id != one.id


def test_a_file_that_did_not_change_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    files = [write_image(tmp_path / f"{n}.png", n) for n in range(3)]
    first = digests(files, tmp_path)
    write_image(files[1], seed=7)
    read: list[Path] = []
    original = content._digest
    monkeypatch.setattr(content, "_digest", lambda path: read.append(path) or original(path))
    second = digests(files, tmp_path)
    assert read == [files[1]]
    assert (second[0], second[2]) == (first[0], first[2])
    assert second[1] != first[1]
    assert digests(files, tmp_path) == second
    assert read == [files[1]]


def test_what_changed_a_moment_ago_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_image(tmp_path / "a.png", 0)
    digests([path], tmp_path)
    read: list[Path] = []
    original = content._digest
    monkeypatch.setattr(content, "_digest", lambda path: read.append(path) or original(path))
    digests([path], tmp_path)
    assert read == [path]


def test_an_index_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", 0)
    right = digests([path], tmp_path / "cache")
    (tmp_path / "spoiled").mkdir()
    (tmp_path / "spoiled" / INDEX).write_bytes(b"no database at all" * 100)
    assert digests([path], tmp_path / "spoiled") == right
    (tmp_path / "file").write_text("")
    assert digests([path], tmp_path / "file") == right


def test_a_lie_in_the_index_is_found_by_reading_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    path = write_image(tmp_path / "a.png", 0)
    right = digests([path], tmp_path)
    with sqlite3.connect(tmp_path / INDEX) as index:
        index.execute("UPDATE file SET digest = 'x'")
    assert digests([path], tmp_path) == ["x"]
    assert digests([path], tmp_path, fresh=True) == right


def test_missing_files_and_pipes_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"2 of 2 images cannot be read: .*pipe\.png.*regular file.*gone\.png.*No such"):
        digests([tmp_path / "pipe.png", tmp_path / "gone.png"], tmp_path)


def test_other_data_than_a_training_was_planned_on_is_refused_with_both_ids_and_counts(tmp_path: Path) -> None:
    dataset = a_set(tmp_path / "a")
    counts = {"train": {"images": 4, "identities": 2, "cameras": 2, "distractors": 0}}
    wanted = dataset.id
    require_same_data(dataset, wanted, counts)
    write_image(dataset.train[0].path, seed=50)
    with pytest.raises(DataError) as caught:
        require_same_data(dataset, wanted, {"train": {"images": 9, "identities": 3}})
    said = caught.value.message
    assert wanted in said
    assert dataset.current_id() in said
    assert "train 4 images of 2 persons here" in said
    assert "train 9 images of 3 persons there" in said


def test_ids_of_older_versions_are_told_apart() -> None:
    assert not known_by_content("0123456789abcdef")
    assert known_by_content("generated-0123456789abcdef")


SMALL = {
    "generated": {"train_identities": 4, "test_identities": 1, "cameras": 2, "images": 2, "height": 32, "width": 16}
}


def test_a_drawn_set_is_known_by_its_settings_while_it_is_what_was_drawn(tmp_path: Path) -> None:
    dataset = load_dataset(SMALL, cache=tmp_path)
    view = dataset_view(dataset, "select", val_identities=2)
    assert dataset.id.startswith("generated-")
    assert view.id.startswith(dataset.id)
    path = dataset.train[0].path
    write_image(path, seed=1)
    assert dataset.current_id().startswith("content-")
    assert view.current_id().startswith("content-")
    with pytest.raises(DataError, match="not the ones that were drawn"):
        load_dataset(SMALL, cache=tmp_path)
