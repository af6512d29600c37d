"""Is a set what it should be? Counts against the published ones, unreadable files, hopeless queries.

`check_dataset` finds causes, not symptoms: the most frequent complaint about re-identification code
("all query identities do not appear in gallery") comes from cameras, and is named here before a
training is wasted.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Literal

from nas.data.content import digests
from nas.data.images import read_image
from nas.data.packed import damaged_packs
from nas.data.readers import PUBLISHED
from nas.data.records import DISTRACTOR, ImageRecord, ReidDataset, SplitCounts, cameras_of
from nas.errors import DataError
from nas.progress import Progress, silent

Level = Literal["error", "warning", "note"]
PROBES = 8
Alike = list[tuple[str, ImageRecord]]
"""Images equal to the byte, each with its split."""


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

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "id": self.dataset_id,
            "ok": self.ok,
            "splits": {split: asdict(counts) for split, counts in self.counts.items()},
            "findings": [asdict(f) for f in self.findings],
        }


def check_dataset(dataset: ReidDataset, *, decode: bool = True, progress: Progress | None = None) -> DataReport:
    """Look a set over; `decode` opens every image, which is the only slow part."""
    looks = look_at_images(dataset, progress) if decode else []
    findings = [
        *_uses(dataset),
        *_unreadable(looks),
        *_constant(looks),
        *_damaged_packs(dataset),
        *_left_out(dataset),
        *_published(dataset),
        *_few_cameras(dataset),
        *_leaks(dataset),
        *_person_zero(dataset),
        *_hopeless_queries(dataset),
    ]
    dataset_id = None
    try:
        dataset_id = dataset.id
        findings += _duplicates(dataset)
    except DataError as error:
        if not any(look.unreadable for look in looks):
            findings.append(DataFinding("error", error.message, error.hint or ""))
    return DataReport(dataset.name, dataset_id, dataset.counts(), tuple(findings))


def warnings_of(dataset: ReidDataset) -> list[DataFinding]:
    """What is odd about a set as far as its records say; opens no file."""
    looks = (_few_cameras, _leaks, _person_zero, _hopeless_queries)
    return [found for look in looks for found in look(dataset) if found.level == "warning"]


@dataclass(frozen=True, slots=True)
class ImageLook:
    """What opening an image showed: why it cannot be read, or whether all its pixels are alike."""

    record: ImageRecord
    unreadable: str | None
    constant: bool


def look_at_images(dataset: ReidDataset, progress: Progress | None = None) -> list[ImageLook]:
    """Opens every image of a set, each file and box once."""
    tell = progress or silent
    records = list(dict.fromkeys(r for records in dataset.splits.values() for r in records))
    found = []
    with ThreadPoolExecutor(PROBES) as pool:
        for done, look in enumerate(pool.map(_look, records), start=1):
            found.append(look)
            if done % 64 == 0 or done == len(records):
                tell(done, len(records), "opening images")
    return found


def _look(record: ImageRecord) -> ImageLook:
    try:
        pixels = read_image(record)
    except DataError as error:
        return ImageLook(record, error.message.split("cannot be read: ", 1)[-1], constant=False)
    return ImageLook(record, None, bool((pixels == pixels[0, 0]).all()))


def _uses(dataset: ReidDataset) -> Iterator[DataFinding]:
    tested = bool(dataset.query and dataset.gallery)
    if dataset.train and tested:
        yield DataFinding("note", "It can be trained on, selected on (--view select) and reported on (--view final).")
    elif dataset.train:
        yield DataFinding(
            "note", "There is no test split: the set can be trained and selected on (--view select), not reported on."
        )
    elif tested:
        yield DataFinding("note", "There is no training split: a trained network can be evaluated on it, no more.")
    else:
        yield DataFinding(
            "error", "It can neither be trained nor evaluated on: it has no training split, nor both query and gallery."
        )


def _left_out(dataset: ReidDataset) -> Iterator[DataFinding]:
    junk = sum(dataset.junk.values())
    nobody = SplitCounts.of(dataset.gallery).distractors
    if junk or nobody:
        yield DataFinding(
            "note",
            f"Taken for junk (identity -1 or `junk`) and never used: {_many(junk, 'image')}; for distractors "
            f"(identity 0 or `distractor`), wrong for every query: {_many(nobody, 'gallery image')}.",
        )
    if dataset.left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dataset.left_out.items()))
        yield DataFinding("note", f"Not read from the folders: {reasons}.")


def _constant(looks: Sequence[ImageLook]) -> Iterator[DataFinding]:
    found = tuple(str(look.record.path) for look in looks if look.constant)
    if found:
        yield DataFinding(
            "warning",
            f"Of one colour only: {_many(len(found), 'image')}.",
            "Look at them: a conversion may have lost what was on them.",
            found,
        )


def _duplicates(dataset: ReidDataset) -> Iterator[DataFinding]:
    """Images that are equal to the byte (and in their box) where they must not be."""
    records = [r for found in dataset.splits.values() for r in found]
    content = dict(zip(records, digests([r.path for r in records], dataset.cache), strict=True))
    alike: dict[tuple[str, object], Alike] = defaultdict(list)
    for split, found in dataset.splits.items():
        for record in found:
            alike[content[record], record.bbox].append((split, record))
    several = [group for group in alike.values() if len(group) > 1]
    for sentence, advice, differs in _DUPLICATES:
        groups = [group for group in several if differs(group)]
        if groups:
            files = tuple(" = ".join(str(record.path) for _, record in group) for group in groups)
            yield DataFinding("warning", f"{sentence}: {_many(len(groups), 'image')}.", advice, files)


def _in_both(one: set[str], other: set[str]) -> Callable[[Alike], bool]:
    def differs(group: Alike) -> bool:
        splits = {split for split, _ in group}
        return bool(splits & one and splits & other)

    return differs


_DUPLICATES: tuple[tuple[str, str, Callable[[Alike], bool]], ...] = (
    (
        "Equal to the byte, yet several persons",
        "Nothing can tell those persons apart; which one is it?",
        lambda group: len({record.identity for _, record in group}) > 1,
    ),
    (
        "In the training and in the test split, equal to the byte",
        "Results on images that were trained on say little.",
        _in_both({"train"}, {"query", "gallery"}),
    ),
    (
        "In query and in gallery, equal to the byte",
        "Where the cameras differ, a query finds itself, and mAP is too high.",
        _in_both({"query"}, {"gallery"}),
    ),
)


def require_evaluation(dataset: ReidDataset) -> None:
    """A `DataError`, before the first step, where no query has a right answer in another camera."""
    if not dataset.query or not dataset.gallery:
        raise DataError(
            f"{dataset.name} has no query and gallery images to evaluate on",
            "Select on persons held out of the training split instead: --view select, or a study without `confirm`.",
        )
    seen = cameras_of(dataset.gallery)
    if not any(seen.get(q.identity, set()) - {q.camera} for q in dataset.query):
        raise DataError(
            f"none of the {len(dataset.query)} queries of {dataset.name} has a right answer in another camera",
            "Run `nas data check`: identities must be seen by two cameras, and their numbers must match.",
        )


def _unreadable(looks: Sequence[ImageLook]) -> Iterator[DataFinding]:
    found = tuple(f"{look.record.path}: {look.unreadable}" for look in looks if look.unreadable)
    if found:
        yield DataFinding(
            "error",
            f"{_many(len(found), 'image')} cannot be read.",
            "Delete or replace them; packing stops at the first training otherwise.",
            found,
        )


def _damaged_packs(dataset: ReidDataset) -> Iterator[DataFinding]:
    """Every pack of the set is read whole; unreadable images are reported as such and have no pack."""
    with contextlib.suppress(DataError):
        damaged = [path for records in dataset.packable for path in damaged_packs(records, dataset.cache)]
        if damaged:
            yield DataFinding(
                "error",
                f"In the cache, and not as written: {_many(len(damaged), 'pack')}.",
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
        seen = cameras_of(records)
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
    both = set(cameras_of(dataset.train)) & set(cameras_of((*dataset.query, *dataset.gallery)))
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
        return
    seen = cameras_of(dataset.gallery)
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


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _some(numbers: Iterable[int], shown: int = 5) -> str:
    found = list(numbers)
    return ", ".join(map(str, found[:shown])) + (", ..." if len(found) > shown else "")
