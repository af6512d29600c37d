"""Images ready for training and evaluation: packed pixels with identities, labels and cameras.

`prepare` turns a data set (or a view of it) into `PreparedData` of one image size, packing at first
use. Low-fidelity trainings ask for a share of the identities; they use the same packs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nas.data.devices import card
from nas.data.images import Size
from nas.data.inspection import require_evaluation
from nas.data.packed import open_pack
from nas.data.records import ImageRecord, Records, ReidDataset
from nas.data.views import identity_share, prepared_id
from nas.errors import DataError
from nas.progress import Progress


@dataclass(frozen=True)
class PackedSplit:
    """One split: pixels in the packed store and what is known of each image.

    Args:
        store: uint8 (M, 3, H, W), memory-mapped or on a device; may hold other images too.
        rows: int64 (N,), the rows of `store` that are this split.
        identities: int64 (N,), raw identities.
        labels: int64 (N,), 0..C-1 in the order of the raw identities.
        cameras: int64 (N,).
    """

    store: Tensor
    rows: Tensor
    identities: Tensor
    labels: Tensor
    cameras: Tensor
    records: Records

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> Size:
        """Height and width of the images."""
        return int(self.store.shape[2]), int(self.store.shape[3])

    @property
    def device(self) -> torch.device:
        """Where the pixels are."""
        return self.store.device

    @cached_property
    def images(self) -> Tensor:
        """All images, uint8 (N, 3, H, W); a copy in memory unless the split is the whole store."""
        whole = len(self.rows) == len(self.store) and bool((self.rows.diff() == 1).all())
        return self.store if whole else self.store[self.rows.to(self.store.device)]

    def gather(self, indices: Tensor | np.ndarray) -> Tensor:
        """The images at these places of the split, uint8 (B, 3, H, W), on the store's device."""
        rows = self.rows[torch.as_tensor(indices, dtype=torch.int64)]
        return self.store[rows.to(self.store.device, non_blocking=True)]

    def to(self, device: str | torch.device) -> PackedSplit:
        """The split with its pixels in the memory of `device`, and nothing but its own."""
        if card(device) == self.device:
            return self
        return replace(self, store=self.images.to(device), rows=torch.arange(len(self.rows)))

    @property
    def nbytes(self) -> int:
        """Bytes of pixels of this split."""
        return len(self.rows) * 3 * self.size[0] * self.size[1]


@dataclass(frozen=True)
class PreparedData:
    """A view of a data set at one image size, ready to train on and evaluate with.

    `dataset_id` names set, view, size and identity share: equal ids mean equal images and labels. `cache` is where
    hashes of the images' files are kept; the default cache when None.
    """

    train: PackedSplit
    query: PackedSplit
    gallery: PackedSplit
    num_classes: int
    dataset_id: str
    size: Size
    name: str
    cache: Path | None = None

    def to(self, device: str | torch.device) -> PreparedData:
        """Move the pixels of all splits to a device when they fit there (see `fits`), else leave them."""
        elsewhere = sum(s.nbytes for s in (self.train, self.query, self.gallery) if s.device != card(device))
        if not fits(elsewhere, device):
            return self
        return replace(self, train=self.train.to(device), query=self.query.to(device), gallery=self.gallery.to(device))

    @property
    def nbytes(self) -> int:
        """Bytes of pixels of all splits."""
        return self.train.nbytes + self.query.nbytes + self.gallery.nbytes


def fits(nbytes: int, device: str | torch.device, share: float = 0.25) -> bool:
    """Whether `nbytes` take at most `share` of a GPU's free memory (always false on the CPU: the map is enough).

    What torch keeps of the card without using it is free too.
    """
    target = torch.device(device)
    if target.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(target)
    kept = torch.cuda.memory_reserved(target) - torch.cuda.memory_allocated(target)
    return nbytes <= share * (free + kept)


def prepare(
    dataset: ReidDataset,
    size: Size,
    cache_dir: Path | None = None,
    identities_share: float = 1.0,
    seed: int = 0,
    progress: Progress | None = None,
    device: str | torch.device = "cpu",
    use: Literal["train", "evaluate"] = "train",
) -> PreparedData:
    """Pack (at first use) and label the images of a set or view.

    Args:
        size: height and width in pixels.
        identities_share: share of the training identities to keep; smaller shares are part of larger ones.
        seed: which identities the share keeps.
        device: where the pixels go when they fit; otherwise they stay memory-mapped.
        use: `train` needs training images too, `evaluate` query and gallery only.

    Raises:
        DataError: bad size or share, unreadable images, no space left, a split without images, or no query that has a
            right answer: what would only be known after the training.
    """
    _check_size(size)
    if use == "train" and not dataset.train:
        raise DataError(f"{dataset.name} has no training images", "It can be evaluated on: `nas evaluate`.")
    require_evaluation(dataset)
    train = identity_share(dataset.train, identities_share, seed) if use == "train" else ()
    shelf = _Shelf.of(_needed(dataset.packable, (*train, *dataset.query, *dataset.gallery)), size, cache_dir, progress)
    prepared = PreparedData(
        train=shelf.split(train),
        query=shelf.split(dataset.query),
        gallery=shelf.split(dataset.gallery),
        num_classes=len({r.identity for r in train}),
        dataset_id=prepared_id(dataset, size, identities_share, seed),
        size=(int(size[0]), int(size[1])),
        name=dataset.name,
        cache=dataset.cache,
    )
    return prepared.to(device)


def _needed(groups: tuple[Records, ...], records: Records) -> tuple[Records, ...]:
    """The groups of images, packed as a whole, that hold any of these."""
    wanted = set(records)
    return tuple(group for group in groups if not wanted.isdisjoint(group))


def _check_size(size: Size) -> None:
    if len(size) != 2 or min(size) < 1:
        raise DataError(f"the image size must be (height, width) in pixels, not {size!r}")


@dataclass(frozen=True)
class _Shelf:
    """The packs of a set, and where in them each image is."""

    size: Size
    packs: tuple[Tensor, ...]
    places: Mapping[ImageRecord, tuple[int, int]]

    @classmethod
    def of(cls, groups: tuple[Records, ...], size: Size, cache: Path | None, progress: Progress | None) -> _Shelf:
        packs = tuple(open_pack(group, size, cache, progress) for group in groups)
        places = {record: (pack, row) for pack, group in enumerate(groups) for row, record in enumerate(group)}
        return cls(size, packs, places)

    def split(self, records: Records) -> PackedSplit:
        """The rows of these records; images from several packs are copied into one store."""
        found = [self.places[r] for r in records]
        used = sorted({pack for pack, _ in found})
        rows = torch.tensor([row for _, row in found], dtype=torch.int64)
        if len(used) > 1:
            store = torch.stack([self.packs[pack][row] for pack, row in found])
            rows = torch.arange(len(found))
        else:
            store = self.packs[used[0]] if used else torch.empty((0, 3, *self.size), dtype=torch.uint8)
        identities = torch.tensor([r.identity for r in records], dtype=torch.int64)
        cameras = torch.tensor([r.camera for r in records], dtype=torch.int64)
        labels = torch.unique(identities, return_inverse=True)[1]
        return PackedSplit(store, rows, identities, labels, cameras, records)
