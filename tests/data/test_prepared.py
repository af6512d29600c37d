"""Prepared data: labels, views over shared packs, nested shares, ids that mean equal data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data_builders import small_dataset

from nas.data import packed
from nas.data.images import read_image
from nas.data.prepared import PackedSplit, PreparedData, fits, prepare
from nas.data.records import ReidDataset
from nas.data.views import dataset_view
from nas.errors import DataError

SIZE = (8, 4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ReidDataset:
    return small_dataset(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def assert_split_is_its_files(split: PackedSplit) -> None:
    for index, record in enumerate(split.records):
        expected = read_image(record, SIZE)
        assert np.array_equal(split.images[index].permute(1, 2, 0).numpy(), expected)
        assert np.array_equal(split.gather(np.array([index]))[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("view", ["select", "final"])
def test_every_row_is_its_image(dataset: ReidDataset, cache: Path, view: str) -> None:
    data = prepare(dataset_view(dataset, view), SIZE, cache)
    for split in (data.train, data.query, data.gallery):
        assert_split_is_its_files(split)
        assert split.identities.tolist() == [r.identity for r in split.records]
        assert split.cameras.tolist() == [r.camera for r in split.records]
    assert data.size == SIZE
    assert data.name == "market1501"


def test_labels_number_identities_in_sorted_order(dataset: ReidDataset, cache: Path) -> None:
    train = prepare(dataset_view(dataset, "select", seed=3), SIZE, cache).train
    known = sorted(set(train.identities.tolist()))
    assert train.labels.tolist() == [known.index(i) for i in train.identities.tolist()]


def test_views_and_shares_use_the_same_packs(
    dataset: ReidDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(dataset, SIZE, tmp_path)
    before = set((tmp_path / "packs").glob("*.npy"))
    monkeypatch.setattr(packed, "read_image", lambda *_: pytest.fail("an image file was read"))
    prepare(dataset_view(dataset, "select"), SIZE, tmp_path, identities_share=0.5)
    assert set((tmp_path / "packs").glob("*.npy")) == before


def test_share_keeps_whole_identities(dataset: ReidDataset, cache: Path) -> None:
    data = prepare(dataset, SIZE, cache, identities_share=0.5, seed=1)
    assert data.num_classes == 4 == len(set(data.train.identities.tolist()))
    assert len(data.train) == 4 * 6
    assert data.train.labels.max() == 3


def test_ids_tell_data_apart(dataset: ReidDataset, cache: Path) -> None:
    def name(view: str = "final", **more: object) -> str:
        return prepare(dataset_view(dataset, view), **{"size": SIZE, "cache_dir": cache, **more}).dataset_id  # type: ignore[arg-type]

    assert name() == name(seed=5)
    names = [name(), name("select"), name(size=(4, 4)), name(identities_share=0.5), name(identities_share=0.5, seed=1)]
    assert len(set(names)) == len(names)


def test_gather_takes_tensors_and_arrays_in_any_order(dataset: ReidDataset, cache: Path) -> None:
    split = prepare(dataset_view(dataset, "select"), SIZE, cache).train
    places = [5, 0, 5, 2]
    assert (split.gather(torch.tensor(places)) == split.images[places]).all()
    assert (split.gather(np.array(places)) == split.images[places]).all()


def test_moving_keeps_only_the_own_rows(dataset: ReidDataset, cache: Path) -> None:
    split = prepare(dataset_view(dataset, "select"), SIZE, cache).query
    moved = split.to("meta")
    assert moved.store.shape[0] == len(split) < split.store.shape[0]
    assert split.to("cpu") is split


def test_batches_are_channels_last(dataset: ReidDataset, cache: Path) -> None:
    batch = prepare(dataset, SIZE, cache).train.gather(np.arange(4))
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_sizes_in_bytes(dataset: ReidDataset, cache: Path) -> None:
    data: PreparedData = prepare(dataset, SIZE, cache)
    assert data.train.nbytes == len(dataset.train) * 3 * 8 * 4
    assert data.nbytes == data.train.nbytes + data.query.nbytes + data.gallery.nbytes
    assert not fits(1, "cpu")


@pytest.mark.parametrize("size", [(0, 4), (8,), (8, -1)])
def test_wrong_sizes(dataset: ReidDataset, size: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"image size must be \(height, width\)"):
        prepare(dataset, size, tmp_path)  # type: ignore[arg-type]


def test_no_training_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="toy has no training images"):
        prepare(ReidDataset("toy", (), (), (), tmp_path), SIZE, tmp_path)
