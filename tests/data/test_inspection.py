"""`check_dataset` names causes: unreadable files, wrong counts, cameras that make queries hopeless."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from data_builders import grid, records, write_duke, write_image, write_market
from PIL import Image

from nas.data.inspection import DataReport, check_dataset, require_evaluation, warnings_of
from nas.data.load import load_dataset
from nas.data.packed import open_pack, pack_path
from nas.data.records import ImageRecord, Records, ReidDataset
from nas.errors import DataError


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
    assert {f.level for f in report.findings} == {"note"}
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


def test_what_records_alone_warn_of_is_what_the_whole_check_warns_of() -> None:
    odd = toy(
        train=records([(0, 1), (1, 1), (2, 1), (2, 2)]), query=records([(3, 1)]), gallery=records([(3, 1), (4, 2)])
    )
    told = warnings_of(odd)
    assert told
    assert {found.sentence for found in told} == {
        found.sentence for found in check_dataset(odd, decode=False).findings if found.level == "warning"
    }


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


def warnings(report: DataReport) -> str:
    return sentences(report, "warning")


def test_equal_images_where_none_may_be_are_warned_of(tmp_path: Path) -> None:
    root = write_market(tmp_path, gallery=[(3, 2, 1), (4, 1, 1)])
    train = sorted((root / "bounding_box_train").iterdir())
    shutil.copy(train[0], root / "bounding_box_train" / "0099_c1s1_000001_01.jpg")
    shutil.copy(root / "query" / "0003_c1s1_000001_01.jpg", root / "bounding_box_test" / "0003_c2s1_000008_01.jpg")
    shutil.copy(train[-1], root / "bounding_box_test" / "0004_c1s1_000008_01.jpg")
    report = check_dataset(load_dataset({"folders": str(root)}, cache=tmp_path / "cache"))
    assert "yet several persons: 2 images" in warnings(report)  # the copy in the gallery is another person too
    assert "In the training and in the test split, equal to the byte: 1 image" in warnings(report)
    assert "In query and in gallery, equal to the byte: 1 image" in warnings(report)


def test_several_boxes_of_one_frame_are_no_duplicates(tmp_path: Path) -> None:
    frame = write_image(tmp_path / "frame.png")
    people = tuple(ImageRecord(frame, n, n % 2, (n, 0, n + 2, 4)) for n in range(1, 4))
    report = check_dataset(ReidDataset("own", people, (), (), tmp_path, cache=tmp_path / "cache"))
    assert "several persons" not in warnings(report)


def test_images_of_one_colour_are_warned_of(tmp_path: Path) -> None:
    root = write_market(tmp_path)
    Image.new("L", (6, 12), 255).save(root / "query" / "0003_c1s1_000009_01.png")
    report = check_dataset(load_dataset({"market1501": str(root)}, cache=tmp_path / "cache"))
    found = next(f for f in report.findings if "one colour only" in f.sentence)
    assert found.level == "warning"
    assert [Path(name).name for name in found.files] == ["0003_c1s1_000009_01.png"]


def test_what_is_left_out_and_what_it_was_taken_for_is_said(tmp_path: Path) -> None:
    root = write_market(tmp_path)
    (root / "query" / "notes.txt").write_text("")
    said = sentences(check_dataset(load_dataset({"market1501": str(root)}, cache=tmp_path / "cache")), "note")
    assert "never used: 1 image;" in said
    assert "wrong for every query: 1 gallery image." in said
    assert "Not read from the folders: 1 no image (.txt)." in said


def test_possible_uses_are_said() -> None:
    train, query, gallery = records(grid_pairs()), records([(9, 1)]), records([(9, 2)])
    assert "no training split" in sentences(check_dataset(toy((), query, gallery), decode=False), "note")
    assert "reported on (--view final)" in sentences(check_dataset(toy(train, query, gallery), decode=False), "note")
    assert "neither" in sentences(check_dataset(toy((), query, ()), decode=False), "error")


def test_a_damaged_pack_is_an_error(tmp_path: Path) -> None:
    root, cache = write_market(tmp_path), tmp_path / "cache"
    dataset = load_dataset({"market1501": str(root)}, cache=cache)
    open_pack(dataset.train, (8, 4), cache)
    assert check_dataset(dataset).ok
    path = pack_path(dataset.train, (8, 4), cache)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "not as written: 1 pack" in sentences(check_dataset(dataset), "error")


@pytest.mark.parametrize(
    ("query", "gallery", "said"),
    [((), [(1, 2)], "no query and gallery"), ([(1, 1)], [(1, 1), (2, 2)], "none of the 1 queries")],
)
def test_what_cannot_be_evaluated_is_refused_before_anything(
    query: list[tuple[int, int]], gallery: list[tuple[int, int]], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        require_evaluation(toy(records(grid_pairs()), records(query), records(gallery)))
