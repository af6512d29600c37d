"""What a re-identification set is: images with an identity and a camera, in three splits.

Readers (`nas.data.readers`) make these records from folders; views, packing and checks work on
them. Nothing here opens an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.errors import DataError
from nas.files.hashes import hash_of_data

JUNK = -1
"""Identity of images that never enter an evaluation (Market-1501's `-1_*.jpg`)."""
DISTRACTOR = 0
"""Identity of gallery images that are wrong for every query."""

Box = tuple[int, int, int, int]
"""A bounding box in pixels: left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image: where it is, who is on it (raw identity), which camera took it, which part of it counts."""

    path: Path
    identity: int
    camera: int
    bbox: Box | None = None


Records = tuple[ImageRecord, ...]


@dataclass(frozen=True)
class SplitCounts:
    """How much a split holds: persons (distractors are not counted as persons), images, cameras, distractor images."""

    identities: int
    images: int
    cameras: int
    distractors: int

    @classmethod
    def of(cls, records: Iterable[ImageRecord]) -> SplitCounts:
        """Count a split.

        >>> SplitCounts.of([ImageRecord(Path("a"), 0, 1), ImageRecord(Path("b"), 7, 2)])
        SplitCounts(identities=1, images=2, cameras=2, distractors=1)
        """
        found = list(records)
        return cls(
            identities=len({r.identity for r in found if r.identity > DISTRACTOR}),
            images=len(found),
            cameras=len({r.camera for r in found}),
            distractors=sum(r.identity == DISTRACTOR for r in found),
        )


@dataclass(frozen=True)
class ReidDataset:
    """A set with its splits. Junk images are already left out.

    Args:
        name: short name for tables, e.g. `market1501`.
        train: images to learn from; their identities are raw numbers, not labels.
        query: test images searched for.
        gallery: test images searched in.
        root: folder the set lives in; paths below it count for `id`, the folder itself does not.
        spec: how the set was asked for, e.g. `{"market1501": "data/Market"}`.
        junk: images of identity -1 that were left out, by split.
        sources: the splits as read, which images are packed from; a view keeps its parent's.
        fixed_id: an id known beforehand (generated sets), instead of one from the listing.
    """

    name: str
    train: Records
    query: Records
    gallery: Records
    root: Path
    spec: Mapping[str, Any] = field(default_factory=dict)
    junk: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[Records, ...] = ()
    fixed_id: str | None = None

    @cached_property
    def id(self) -> str:
        """16 hex digits of a hash over the listing: split, path below the root, size, identity, camera, box.

        Moving or copying the set does not change it. Raises `DataError` when an image has gone.
        """
        if self.fixed_id is not None:
            return self.fixed_id
        lines = [[split, *self._listing_line(r)] for split, records in self.splits.items() for r in records]
        return hash_of_data(lines)

    def _listing_line(self, record: ImageRecord) -> list[Any]:
        size = file_size(record.path)
        return [relative_name(record.path, self.root), size, record.identity, record.camera, record.bbox]

    @property
    def splits(self) -> dict[str, Records]:
        """The three splits by name."""
        return {"train": self.train, "query": self.query, "gallery": self.gallery}

    @property
    def packable(self) -> tuple[Records, ...]:
        """The groups of images that are packed together: the splits as read."""
        return self.sources or tuple(self.splits.values())

    def counts(self) -> dict[str, SplitCounts]:
        """Persons, images, cameras and distractors a split."""
        return {split: SplitCounts.of(records) for split, records in self.splits.items()}

    def derived(self, **changes: Any) -> ReidDataset:
        """A view: other splits over the same images, packed once for all views."""
        changes.setdefault("sources", self.packable)
        return replace(self, **changes)


def relative_name(path: Path, root: Path) -> str:
    """The path below `root` with forward slashes; the whole path when it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def file_size(path: Path) -> int:
    """Bytes of an image file, or `DataError` when it cannot be looked at."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"the image {path} cannot be read: {error.strerror}", "Run `nas data check`.") from error
