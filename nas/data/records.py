"""What a re-identification set is: images with an identity and a camera, in three splits.

Readers (`nas.data.readers`) make these records from folders; views, packing and checks work on
them. Nothing here opens an image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.data.content import digests
from nas.errors import DataError
from nas.files.hashes import hash_of_data

JUNK = -1
"""Identity of images that never enter an evaluation (Market-1501's `-1_*.jpg`)."""
DISTRACTOR = 0
"""Identity of gallery images that are wrong for every query."""

Box = tuple[int, int, int, int]
"""A bounding box in pixels: left, top, right, bottom."""
BY_CONTENT = "content-"
HASH_ONLY = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image: where it is, who is on it (raw identity), which camera took it, which part of it counts."""

    path: Path
    identity: int
    camera: int
    bbox: Box | None = None


Records = tuple[ImageRecord, ...]


def cameras_of(records: Iterable[ImageRecord]) -> dict[int, set[int]]:
    """The cameras that saw each person; distractors are nobody.

    >>> cameras_of([ImageRecord(Path("a"), 7, 1), ImageRecord(Path("b"), 7, 2), ImageRecord(Path("c"), 0, 1)])
    {7: {1, 2}}
    """
    seen: dict[int, set[int]] = {}
    for record in records:
        if record.identity != DISTRACTOR:
            seen.setdefault(record.identity, set()).add(record.camera)
    return seen


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
        spec: how the set was asked for, e.g. `{"market1501": "data/Market"}`.
        junk: images of identity -1 that were left out, by split.
        left_out: entries of the folders that are no images of the set, by reason.
        sources: the splits as read, which images are packed from; a view keeps its parent's.
        fixed_id: an id known beforehand (generated sets), instead of one of the content.
        drawn: id of the content that goes with `fixed_id`; None where that is not looked at.
        cache: where hashes of files are kept; the default cache when None.
    """

    name: str
    train: Records
    query: Records
    gallery: Records
    root: Path
    spec: Mapping[str, object] = field(default_factory=dict)
    junk: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[Records, ...] = ()
    fixed_id: str | None = None
    drawn: str | None = None
    cache: Path | None = None

    @cached_property
    def id(self) -> str:
        """What the set holds, as when it was first asked; see `current_id`."""
        return self.current_id()

    def current_id(self) -> str:
        """`content-` and 16 hex digits over what the images hold, their splits, identities, cameras and boxes.

        Where the set lies and what its files are called does not change it; one other byte does. A set that was
        drawn here is called by how it was drawn for as long as its images are the ones that were drawn.

        Raises:
            DataError: an image cannot be read.
        """
        if self.fixed_id is not None and self._is_as_drawn():
            return self.fixed_id
        return content_id(self.splits, self.cache)

    def _is_as_drawn(self) -> bool:
        return self.drawn is None or content_id(dict(enumerate(self.packable)), self.cache) == self.drawn

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


def content_id(
    splits: Mapping[str, Records] | Mapping[int, Records], cache: Path | None = None, *, fresh: bool = False
) -> str:
    """The id of images in splits; see `ReidDataset.current_id` and, for `fresh`, `digests`."""
    lines = []
    for split, records in splits.items():
        found = digests([r.path for r in records], cache, fresh=fresh)
        lines += [[split, d, r.identity, r.camera, r.bbox] for d, r in zip(found, records, strict=True)]
    return BY_CONTENT + hash_of_data(lines)


def image_keys(records: Records, cache: Path | None = None) -> NDArray[np.int64]:
    """What tells images apart by content: one number for each file and box, sorted, none twice."""
    pairs = {(d, r.bbox) for d, r in zip(digests([r.path for r in records], cache), records, strict=True)}
    return np.array(sorted(int(hash_of_data(list(pair))[:15], 16) for pair in pairs), np.int64)


def known_by_content(dataset_id: str) -> bool:
    """Whether an id follows what the images hold: those of version 0.1 hashed names and sizes only.

    >>> known_by_content("content-015abd7f5cc57a2d"), known_by_content("015abd7f5cc57a2d")
    (True, False)
    """
    return not HASH_ONLY.fullmatch(dataset_id)


def require_same_data(dataset: ReidDataset, wanted: str, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Compare the data of this machine, as it is now, with the data that a training was asked for on.

    Args:
        wanted: id of the set that the training belongs to.
        counts: of that set, by split, as stored.

    Raises:
        DataError: they differ; names both with their counts.
    """
    here = dataset.current_id()
    if here == wanted:
        return
    old = "" if known_by_content(wanted) else " (an older version's id, of names and sizes only)"
    own = {split: asdict(count) for split, count in dataset.counts().items()}
    raise DataError(
        f"the data here is not the data this training was planned on: {here} with {_images(own)} here, "
        f"{wanted}{old} with {_images(counts)} there",
        "Nothing was trained. Put the images back as they were, or start a study of another name on these.",
    )


def _images(counts: Mapping[str, Mapping[str, int]]) -> str:
    found = [
        f"{split} {count['images']} images of {count['identities']} persons"
        for split, count in counts.items()
        if count.get("images")
    ]
    return ", ".join(found) or "unknown counts"
