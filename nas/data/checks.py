"""Is a set what it should be? Counts against the published ones, unreadable files, hopeless queries.

`check_dataset` finds causes, not symptoms: the most frequent complaint about re-identification code
("all query identities do not appear in gallery") comes from cameras, and is named here before a
training is wasted.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nas.data.images import probe_image
from nas.data.packed import damaged_packs
from nas.data.readers import PUBLISHED
from nas.data.records import DISTRACTOR, ImageRecord, Records, ReidDataset, SplitCounts
from nas.errors import DataError
from nas.progress import Progress, silent

Level = Literal["error", "warning", "note"]
PROBES = 8


@dataclass(frozen=True, slots=True)
class DataFinding:
    """Something about a set that a person should know: one sentence, what to do, the files it is about."""

    level: Level
    sentence: str
    advice: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataReport:
    """What `check_dataset` found; `ok` when nothing is wrong enough to stop for."""

    name: str
    dataset_id: str | None
    counts: dict[str, SplitCounts]
    findings: tuple[DataFinding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no finding of level error."""
        return all(f.level != "error" for f in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "id": self.dataset_id,
            "ok": self.ok,
            "splits": {split: asdict(counts) for split, counts in self.counts.items()},
            "findings": [asdict(f) for f in self.findings],
        }


def check_dataset(dataset: ReidDataset, *, decode: bool = True, progress: Progress | None = None) -> DataReport:
    """Look a set over.

    Args:
        dataset: as read.
        decode: open every image; the only slow part.
        progress: told the number of opened images.
    """
    unreadable = unreadable_images(dataset, progress) if decode else []
    findings = [
        *_unreadable(unreadable),
        *_damaged_packs(dataset),
        *_published(dataset),
        *_few_cameras(dataset),
        *_leaks(dataset),
        *_person_zero(dataset),
        *_hopeless_queries(dataset),
    ]
    try:
        dataset_id = dataset.id
    except DataError as error:
        dataset_id = None
        findings += [] if unreadable else [DataFinding("error", error.message, error.hint or "")]
    return DataReport(dataset.name, dataset_id, dataset.counts(), tuple(findings))


def unreadable_images(dataset: ReidDataset, progress: Progress | None = None) -> list[tuple[ImageRecord, str]]:
    """Every image that does not decode, with the reason; each file is tried once."""
    tell = progress or silent
    records = list(dict.fromkeys(r for records in dataset.splits.values() for r in records))
    found = []
    with ThreadPoolExecutor(PROBES) as pool:
        for done, (record, why) in enumerate(zip(records, pool.map(probe_image, records), strict=True), start=1):
            if why is not None:
                found.append((record, why))
            if done % 64 == 0 or done == len(records):
                tell(done, len(records), "opening images")
    return found


def _unreadable(found: list[tuple[ImageRecord, str]]) -> Iterator[DataFinding]:
    if found:
        yield DataFinding(
            "error",
            f"{_many(len(found), 'image')} cannot be read.",
            "Delete or replace them; packing stops at the first training otherwise.",
            tuple(f"{record.path}: {why}" for record, why in found),
        )


def _damaged_packs(dataset: ReidDataset) -> Iterator[DataFinding]:
    """Every pack of the set is read whole; unreadable images are reported as such and have no pack."""
    with contextlib.suppress(DataError):
        damaged = [path for records in dataset.packable for path in damaged_packs(records, dataset.cache)]
        if damaged:
            yield DataFinding(
                "error",
                f"{_many(len(damaged), 'pack')} in the cache do not hold what was written.",
                "They are made again at the next training; what damaged them may damage more.",
                tuple(map(str, damaged)),
            )


def _published(dataset: ReidDataset) -> Iterator[DataFinding]:
    sizes = PUBLISHED.get(dataset.name)
    if sizes is None:
        return
    counts = dataset.counts()
    differences = []
    for split, (persons, images) in sizes.items():
        found = counts[split]
        if (persons, images) != (found.identities, found.images):
            differences.append(
                f"{split} {found.identities} persons and {found.images} images instead of {persons} and {images}"
            )
    if not differences:
        yield DataFinding("note", "Persons and images of every split are as published.")
        return
    yield DataFinding(
        "warning",
        f"The counts are not the published ones of {dataset.name}: {'; '.join(differences)}.",
        "Results cannot be compared with published ones. Unpack it again, or read your own images as `folders`.",
    )


def _few_cameras(dataset: ReidDataset) -> Iterator[DataFinding]:
    for what, records in (("training", dataset.train), ("test", (*dataset.query, *dataset.gallery))):
        seen = _cameras_of(records)
        lonely = [identity for identity, cameras in seen.items() if len(cameras) == 1]
        if lonely:
            yield DataFinding(
                "warning",
                f"{len(lonely)} of {_many(len(seen), f'{what} person')} were seen by one camera only "
                f"(identities {_some(sorted(lonely))}).",
                "They cannot be found across cameras: they teach and test less than the others.",
            )


def _leaks(dataset: ReidDataset) -> Iterator[DataFinding]:
    if set(dataset.spec) == {"train", "test"}:
        return
    both = set(_cameras_of(dataset.train)) & set(_cameras_of((*dataset.query, *dataset.gallery)))
    if both:
        yield DataFinding(
            "warning",
            f"The training and the test split share {_many(len(both), 'person')} (identities {_some(sorted(both))}).",
            "Results on persons that were trained on say little; give the splits different persons.",
        )


def _person_zero(dataset: ReidDataset) -> Iterator[DataFinding]:
    zeros = [r for r in (*dataset.train, *dataset.query) if r.identity == DISTRACTOR]
    if zeros:
        yield DataFinding(
            "warning",
            f"{_many(len(zeros), 'training or query image')} of identity 0, which means a distractor: "
            "nobody to learn from or to search for.",
            "Number persons from 1 if identity 0 is a person.",
            tuple(str(r.path) for r in zeros),
        )


def _hopeless_queries(dataset: ReidDataset) -> Iterator[DataFinding]:
    if not dataset.query:
        yield DataFinding("note", "There is no test split: the set can be trained and selected on, not reported on.")
        return
    seen = _cameras_of(dataset.gallery)
    absent = [q for q in dataset.query if q.identity not in seen]
    same_camera = [q for q in dataset.query if seen.get(q.identity) == {q.camera}]
    lost = len(absent) + len(same_camera)
    if not lost:
        yield DataFinding("note", f"All {len(dataset.query)} queries have a right answer in another camera.")
        return
    yield DataFinding(
        "error" if lost == len(dataset.query) else "warning",
        f"{lost} of {len(dataset.query)} queries have no right answer: {len(same_camera)} through the removal of "
        f"gallery images of the query's own camera, {len(absent)} because the person is not in the gallery.",
        "They will be skipped and counted. If that is not meant, look at the camera numbers (the part after `_c`, "
        "or the camera column): one person's query and gallery images must come from different cameras.",
        tuple(str(q.path) for q in (*same_camera, *absent)),
    )


def _cameras_of(records: Records) -> dict[int, set[int]]:
    seen: dict[int, set[int]] = defaultdict(set)
    for record in records:
        if record.identity != DISTRACTOR:
            seen[record.identity].add(record.camera)
    return dict(seen)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _some(numbers: Iterable[int], shown: int = 5) -> str:
    found = list(numbers)
    return ", ".join(map(str, found[:shown])) + (", ..." if len(found) > shown else "")
