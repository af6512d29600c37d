"""`check_dataset` names causes: unreadable files, wrong counts, cameras that make queries hopeless."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_builders import grid, records, write_duke, write_market

from nas.data.checks import DataReport, check_dataset
from nas.data.load import load_dataset
from nas.data.records import Records, ReidDataset


def toy(
    train: Records = (), query: Records = (), gallery: Records = (), name: str = "toy", **more: object
) -> ReidDataset:
    return ReidDataset(name, train, query, gallery, Path(), fixed_id="toy", **more)  # type: ignore[arg-type]


def sentences(report: DataReport, level: str) -> str:
    return " ".join(f.sentence for f in report.findings if f.level == level)


def test_a_good_set_has_nothing_to_say_against(tmp_path: Path) -> None:
    root = write_market(tmp_path, gallery=[(3, 2, 1), (4, 1, 1), (0, 1, 1)])
    report = check_dataset(load_dataset({"folders": str(root)}))
    assert report.ok
    assert [f.level for f in report.findings] == ["note"]
    assert "All 2 queries have a right answer" in sentences(report, "note")
    assert report.to_dict()["splits"]["gallery"]["distractors"] == 1


def test_every_unreadable_file_is_listed_once_with_its_reason(tmp_path: Path) -> None:
    root = write_market(tmp_path)
    broken = sorted((root / "bounding_box_train").iterdir())[:3]
    for path in broken:
        path.write_bytes(b"")
    report = check_dataset(load_dataset({"market1501": str(root)}))
    assert not report.ok
    listed = next(f for f in report.findings if f.level == "error")
    assert listed.sentence == "3 images cannot be read."
    assert [line.split(": ")[0] for line in listed.files] == [str(path) for path in broken]


def test_a_file_that_has_gone_is_listed_not_raised(tmp_path: Path) -> None:
    dataset = load_dataset({"market1501": str(write_market(tmp_path))})
    dataset.query[0].path.unlink()
    report = check_dataset(dataset)
    assert report.dataset_id is None
    assert "1 image cannot be read" in sentences(report, "error")


def test_published_counts_are_compared(tmp_path: Path) -> None:
    report = check_dataset(load_dataset({"market1501": str(write_market(tmp_path))}))
    assert "train 2 persons and 8 images instead of 751 and 12936" in sentences(report, "warning")
    assert "query 2 persons and 2 images instead of 750 and 3368" in sentences(report, "warning")


def test_published_counts_that_agree_are_said() -> None:
    train = records(
        [(i + 1, 1 + n % 8) for i in range(702) for n in range(23)] + [(1 + n, 1) for n in range(16_522 - 702 * 23)]
    )
    query = records([(1001 + n % 702, 1) for n in range(2_228)])
    gallery = records([(1001 + n % 1_110, 2) for n in range(17_661)])
    report = check_dataset(toy(train, query, gallery, name="duke"), decode=False)
    assert "as published" in sentences(report, "note")


def test_queries_that_lose_everything_to_their_own_camera_are_explained() -> None:
    query = records([(1, 1), (2, 1), (3, 1), (4, 1)])
    gallery = records([(1, 1), (1, 1), (2, 2), (3, 1), (0, 2)])
    report = check_dataset(toy(records(grid_pairs()), query, gallery), decode=False)
    found = next(f for f in report.findings if "have no right answer" in f.sentence)
    assert found.level == "warning"
    assert found.sentence.startswith("3 of 4 queries have no right answer: 2 through the removal of")
    assert "1 because the person is not in the gallery" in found.sentence
    assert "camera" in found.advice
    assert len(found.files) == 3


def test_a_set_whose_queries_are_all_hopeless_is_an_error() -> None:
    report = check_dataset(toy(records(grid_pairs()), records([(5, 1)]), records([(5, 1)])), decode=False)
    assert not report.ok


def test_persons_in_one_camera() -> None:
    report = check_dataset(toy(records([(1, 1), (1, 2), (2, 1), (2, 1)])), decode=False)
    assert "1 of 2 training persons were seen by one camera only (identities 2)" in sentences(report, "warning")
    assert "no test split" in sentences(report, "note")


def test_persons_in_both_splits(tmp_path: Path) -> None:
    train, query, gallery = records([(1, 1), (1, 2)]), records([(1, 1)]), records([(1, 2)])
    assert "The training and the test split share 1 person (identities 1)" in sentences(
        check_dataset(toy(train, query, gallery), decode=False), "warning"
    )
    crossed = load_dataset(
        {"train": {"market1501": str(write_market(tmp_path / "m"))}, "test": {"duke": str(write_duke(tmp_path / "d"))}}
    )
    assert "share" not in sentences(check_dataset(crossed), "warning")


def test_persons_counted_from_zero() -> None:
    report = check_dataset(toy(records([(0, 1), (0, 2), (1, 1), (1, 2)])), decode=False)
    assert "2 training or query images of identity 0, which means a distractor" in sentences(report, "warning")


@pytest.mark.parametrize("decode", [True, False])
def test_progress_only_when_images_are_opened(tmp_path: Path, decode: bool) -> None:
    told: list[tuple[int, int]] = []
    dataset = load_dataset({"market1501": str(write_market(tmp_path))})
    check_dataset(dataset, decode=decode, progress=lambda done, total, what="": told.append((done, total)))
    assert told == ([(15, 15)] if decode else [])


def grid_pairs() -> list[tuple[int, int]]:
    return [(i, c) for i, c, _ in grid(range(11, 14), (1, 2))]
