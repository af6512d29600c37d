"""What is in a set, in numbers a person plans with: persons, images, cameras, positives, batches, bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from statistics import mean, median

from nas.data.images import Size
from nas.data.records import DISTRACTOR, ReidDataset, SplitCounts
from nas.data.sampler import PKSampler
from nas.errors import DataError


@dataclass(frozen=True)
class CountSpread:
    """Smallest, median, mean and largest of some counts."""

    least: int
    median: float
    mean: float
    most: int

    @classmethod
    def of(cls, counts: list[int]) -> CountSpread | None:
        """None when there is nothing to count.

        >>> CountSpread.of([1, 2, 6])
        CountSpread(least=1, median=2, mean=3, most=6)
        """
        return cls(min(counts), median(counts), mean(counts), max(counts)) if counts else None


@dataclass(frozen=True)
class DataSummary:
    """A set in numbers.

    Args:
        images_a_person: of the training split.
        positives: right answers a query, after same-camera removal (queries without any count 0).
        batches: of an epoch at P 16 and K 4; None with fewer than 16 persons.
        pack_bytes: of all splits at 256x128.
    """

    name: str
    id: str
    splits: dict[str, SplitCounts]
    junk: dict[str, int]
    images_a_person: CountSpread | None
    cameras_a_person: CountSpread | None
    positives: CountSpread | None
    batches: int | None
    pack_bytes: int

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return asdict(self)


def summarise(dataset: ReidDataset, size: Size = (256, 128), p: int = 16, k: int = 4) -> DataSummary:
    """Count a set; no image is opened. Raises `DataError` when a file has gone."""
    images = Counter(r.identity for r in dataset.train)
    cameras = Counter(identity for identity, _ in {(r.identity, r.camera) for r in dataset.train})
    total = sum(len(records) for records in dataset.splits.values())
    return DataSummary(
        name=dataset.name,
        id=dataset.id,
        splits=dataset.counts(),
        junk=dict(dataset.junk),
        images_a_person=CountSpread.of(list(images.values())),
        cameras_a_person=CountSpread.of(list(cameras.values())),
        positives=CountSpread.of(positives_a_query(dataset)),
        batches=_batches(dataset, p, k),
        pack_bytes=total * size[0] * size[1] * 3,
    )


def positives_a_query(dataset: ReidDataset) -> list[int]:
    """Right answers of each query in other cameras."""
    persons = Counter(r.identity for r in dataset.gallery if r.identity != DISTRACTOR)
    same = Counter((r.identity, r.camera) for r in dataset.gallery)
    return [persons[q.identity] - same[q.identity, q.camera] if q.identity else 0 for q in dataset.query]


def _batches(dataset: ReidDataset, p: int, k: int) -> int | None:
    try:
        sampler = PKSampler([r.identity for r in dataset.train], [r.camera for r in dataset.train], p, k)
    except DataError:
        return None
    return len(sampler)
