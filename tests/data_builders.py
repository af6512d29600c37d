"""Tiny image sets in each real layout, for tests of the data floor."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nas.data.records import ImageRecord, ReidDataset

Row = tuple[int, int, int]
"""Identity, camera, running number."""


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (12, 6)) -> Path:
    """A small random image, lossless where the suffix allows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def grid(identities: Iterable[int], cameras: Iterable[int], images: int = 1) -> list[Row]:
    """Every identity in every camera."""
    cameras = list(cameras)
    return [(i, c, n) for i in identities for c in cameras for n in range(1, images + 1)]


def market_name(row: Row) -> str:
    """Market-1501's way of naming."""
    identity, camera, number = row
    return f"{'-1' if identity < 0 else f'{identity:04d}'}_c{camera}s1_{number:06d}_01.jpg"


def write_market(
    root: Path,
    train: Sequence[Row] = tuple(grid((2, 7), (1, 2), 2)),
    query: Sequence[Row] = ((3, 1, 1), (4, 2, 1)),
    gallery: Sequence[Row] = ((-1, 1, 1), (0, 1, 1), (3, 1, 2), (3, 2, 1), (4, 1, 1), (4, 2, 2)),
) -> Path:
    """Market-1501's three folders."""
    for first, (folder, rows) in enumerate(
        (("bounding_box_train", train), ("query", query), ("bounding_box_test", gallery))
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for seed, row in enumerate(rows, start=1000 * first):
            write_image(root / folder / market_name(row), seed)
    return root


def write_duke(root: Path) -> Path:
    """DukeMTMC-reID: the same folders, other names."""
    for folder, rows in (
        ("bounding_box_train", grid((5,), (2, 3))),
        ("query", [(6, 2, 1)]),
        ("bounding_box_test", [(6, 8, 2)]),
    ):
        for identity, camera, number in rows:
            write_image(root / folder / f"{identity:04d}_c{camera}_f{number:07d}.jpg", number)
    return root


def write_cuhk03(root: Path) -> Path:
    """CUHK03-NP: both variants, PNG."""
    for variant, images in (("labeled", 2), ("detected", 1)):
        for folder, rows in (
            ("bounding_box_train", grid((1, 2), (1, 2), images)),
            ("query", [(3, 1, 1)]),
            ("bounding_box_test", [(3, 2, 1)]),
        ):
            for identity, camera, number in rows:
                write_image(root / variant / folder / f"{identity:04d}_c{camera}_{number}.png", number)
    return root


def write_msmt17(root: Path, version: int = 1) -> Path:
    """MSMT17: lists with identities from 0, two-digit cameras."""
    train, test = ("train", "test") if version == 1 else ("mask_train_v2", "mask_test_v2")
    lists = {
        "train": (train, [(0, 1), (0, 14), (1, 3)]),
        "val": (train, [(1, 12)]),
        "query": (test, [(0, 2)]),
        "gallery": (test, [(0, 15), (1, 2)]),
    }
    for name, (folder, rows) in lists.items():
        lines = []
        for number, (identity, camera) in enumerate(rows):
            relative = f"{identity:04d}/{identity:04d}_{number:03d}_{camera:02d}_0303morning_0015_{name}.jpg"
            write_image(root / folder / relative, number)
            lines.append(f"{relative} {identity}")
        (root / f"list_{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def write_csv(
    path: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = ("path", "identity", "camera", "split")
) -> Path:
    """A table of a robot's own images; the images are written too."""
    for seed, row in enumerate(rows):
        write_image(path.parent / str(row[0]), seed)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def small_dataset(root: Path, identities: int = 8, cameras: int = 2, images: int = 3) -> ReidDataset:
    """A read set of `identities` training persons and two test persons, with real files."""
    from nas.data.load import load_dataset

    train = grid(range(1, identities + 1), range(1, cameras + 1), images)
    test = grid((101, 102), range(1, cameras + 1))
    gallery = [(i, c, n + 1) for i, c, n in test]
    return load_dataset({"market1501": str(write_market(root, train, test, gallery))})


def records(rows: Iterable[tuple[int, int]]) -> tuple[ImageRecord, ...]:
    """Records without files, from (identity, camera)."""
    return tuple(ImageRecord(Path(f"{n:05d}.jpg"), identity, camera) for n, (identity, camera) in enumerate(rows))
