"""Each reader on a tiny folder in the set's real layout, and on broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_builders import write_csv, write_cuhk03, write_duke, write_image, write_market, write_msmt17

from nas.data.load import load_dataset
from nas.data.records import ReidDataset
from nas.errors import DataError


def pairs(dataset: ReidDataset, split: str) -> list[tuple[int, int]]:
    return [(r.identity, r.camera) for r in dataset.splits[split]]


def test_market_reads_identities_and_cameras_in_order_and_leaves_junk_out(tmp_path: Path) -> None:
    dataset = load_dataset({"market1501": str(write_market(tmp_path))})
    assert pairs(dataset, "train") == [(2, 1), (2, 1), (2, 2), (2, 2), (7, 1), (7, 1), (7, 2), (7, 2)]
    assert pairs(dataset, "query") == [(3, 1), (4, 2)]
    assert pairs(dataset, "gallery") == [(0, 1), (3, 1), (3, 2), (4, 1), (4, 2)]
    assert dataset.junk == {"train": 0, "query": 0, "gallery": 1}
    assert dataset.counts()["gallery"].distractors == 1
    assert dataset.counts()["gallery"].identities == 2


def test_market_ignores_files_that_are_no_images(tmp_path: Path) -> None:
    root = write_market(tmp_path)
    (root / "query" / "Thumbs.db").write_bytes(b"x")
    (root / "query" / ".0003_c1s1_000001_01.jpg").write_bytes(b"x")
    assert len(load_dataset({"market1501": str(root)}).query) == 2


def test_duke(tmp_path: Path) -> None:
    dataset = load_dataset({"duke": str(write_duke(tmp_path))})
    assert pairs(dataset, "train") == [(5, 2), (5, 3)]
    assert pairs(dataset, "gallery") == [(6, 8)]


def test_cuhk03_variants(tmp_path: Path) -> None:
    root = write_cuhk03(tmp_path)
    assert len(load_dataset({"cuhk03": str(root)}).train) == 8
    assert len(load_dataset({"cuhk03": str(root), "variant": "detected"}).train) == 4
    with pytest.raises(DataError, match=r"variant of cuhk03 'labelled'; did you mean 'labeled'"):
        load_dataset({"cuhk03": str(root), "variant": "labelled"})


def test_cuhk03_in_its_classic_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.data.readers import cuhk03

    root = write_cuhk03(tmp_path)
    monkeypatch.setattr(cuhk03, "CLASSIC_TEST", 1)  # of three persons seen by two cameras
    drawn = {}
    for number in range(4):
        dataset = load_dataset({"cuhk03": str(root), "protocol": f"classic-{number}"})
        (person,) = {record.identity for record in dataset.query}
        drawn[number] = person
        assert {record.identity for record in dataset.gallery} == {person}
        assert {record.camera for record in dataset.query} == {1}
        assert {record.camera for record in dataset.gallery} == {2}
        assert {record.identity for record in dataset.train} == {1, 2, 3} - {person}
        assert dataset.name == f"cuhk03_labeled_classic{number}"
    assert len(set(drawn.values())) > 1
    with pytest.raises(DataError, match="np or classic-0 to classic-19, not 'classic-20'"):
        load_dataset({"cuhk03": str(root), "protocol": "classic-20"})
    monkeypatch.undo()
    with pytest.raises(DataError, match="classic needs 101"):
        load_dataset({"cuhk03": str(root), "protocol": "classic-0"})


@pytest.mark.parametrize("version", [1, 2])
def test_msmt17_joins_validation_counts_from_one_and_reads_two_digit_cameras(tmp_path: Path, version: int) -> None:
    dataset = load_dataset({"msmt17": str(write_msmt17(tmp_path, version))})
    assert pairs(dataset, "train") == [(1, 1), (1, 14), (2, 3), (2, 12)]
    assert pairs(dataset, "query") == [(1, 2)]
    assert pairs(dataset, "gallery") == [(1, 15), (2, 2)]
    assert all(r.path.exists() for records in dataset.splits.values() for r in records)


def test_msmt17_names_file_and_line_of_a_wrong_entry(tmp_path: Path) -> None:
    root = write_msmt17(tmp_path)
    (root / "list_val.txt").write_text("0001/0001_000_03_x.jpg 1\nnonsense\n")
    with pytest.raises(DataError, match=r"list_val\.txt:2: 'nonsense'"):
        load_dataset({"msmt17": str(root)})


def test_msmt17_names_a_missing_list(tmp_path: Path) -> None:
    root = write_msmt17(tmp_path)
    (root / "list_query.txt").unlink()
    with pytest.raises(DataError, match=r"list_query\.txt cannot be read: No such file"):
        load_dataset({"msmt17": str(root)})


def test_folders_may_lack_the_test_split(tmp_path: Path) -> None:
    write_image(tmp_path / "bounding_box_train" / "0001_c03_whatever.png")
    dataset = load_dataset({"folders": str(tmp_path)})
    assert pairs(dataset, "train") == [(1, 3)]
    assert dataset.query == dataset.gallery == ()


def test_csv_with_numbers_boxes_and_junk(tmp_path: Path) -> None:
    rows = [
        ("a.png", 12, 3, "train", "1 2 5 9"),
        ("b.png", 12, 4, "query", ""),
        ("c.png", 0, 4, "gallery", ""),
        ("d.png", -1, 4, "gallery", ""),
    ]
    dataset = load_dataset(
        {"csv": str(write_csv(tmp_path / "own.csv", rows, ("path", "identity", "camera", "split", "bbox")))}
    )
    assert dataset.name == "own"
    assert dataset.train[0].bbox == (1, 2, 5, 9)
    assert pairs(dataset, "query") == [(12, 4)]
    assert pairs(dataset, "gallery") == [(0, 4)]
    assert dataset.junk["gallery"] == 1


def test_csv_numbers_names_in_sorted_order(tmp_path: Path) -> None:
    rows = [("a.png", "zoe", "hall", "train"), ("b.png", "adam", "door", "train"), ("c.png", "zoe", "door", "train")]
    dataset = load_dataset({"csv": str(write_csv(tmp_path / "own.csv", rows))})
    assert pairs(dataset, "train") == [(2, 2), (1, 1), (2, 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,identity,camera\na.png,1,1\n", "has no column split"),
        (
            "path,identity,camera,split\na.png,1,1,training\n",
            r"2: unknown split 'training'; did you mean 'train'",
        ),
        ("path,identity,camera,split\na.png,,1,train\n", r"own\.csv:2: identity is empty"),
        ("path,identity,camera,split\na.png,1,1\n", r"own\.csv:2: split is empty"),
        ("path,identity,camera,split,bbox\na.png,1,1,train,1 2 3\n", r"own\.csv:2: bbox '1 2 3' is not four numbers"),
        ("path,identity,camera,split\n", "lists no images"),
        ("", "has no column path, identity, camera, split"),
    ],
)
def test_csv_errors_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "own.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        load_dataset({"csv": str(table)})


def test_csv_that_does_not_exist_or_is_binary(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv cannot be read: No such file"):
        load_dataset({"csv": str(tmp_path / "none.csv")})
    (tmp_path / "binary.csv").write_bytes(b"\xff\x00\x9c")
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset({"csv": str(tmp_path / "binary.csv")})


def test_missing_folder_and_wrong_name_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"the folder {tmp_path / 'none'} does not exist; market1501 needs it"):
        load_dataset({"market1501": str(tmp_path / "none")})
    root = write_market(tmp_path / "set")
    write_image(root / "query" / "holiday.jpg")
    with pytest.raises(DataError, match=r"holiday\.jpg does not say identity and camera"):
        load_dataset({"market1501": str(root)})


def test_empty_folder_is_named(tmp_path: Path) -> None:
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / folder).mkdir()
    with pytest.raises(DataError, match=r"bounding_box_train holds no images"):
        load_dataset({"market1501": str(tmp_path)})


def table(tmp_path: Path, rows: str, header: str = "path,identity,camera,split") -> ReidDataset:
    (tmp_path / "own.csv").write_text(f"{header}\n{rows}")
    return load_dataset({"csv": str(tmp_path / "own.csv")})


def test_a_label_is_its_text(tmp_path: Path) -> None:
    dataset = table(tmp_path, "a.png,1_11,1,train\nb.png,11_1,1,train\nc.png,1_11,1,train\n")
    assert [i for i, _ in pairs(dataset, "train")] == [2, 1, 2]


@pytest.mark.parametrize(("one", "other"), [("0012", "12"), ("13", "13.0"), ("+5", "5")])
@pytest.mark.parametrize("column", ["identity", "camera"])
def test_labels_that_are_one_number_but_two_texts_are_refused(
    tmp_path: Path, one: str, other: str, column: str
) -> None:
    cells = [(one, "1"), (other, "1")] if column == "identity" else [("1", one), ("1", other)]
    rows = "".join(f"{n}.png,{i},{c},train\n" for n, (i, c) in enumerate(cells))
    with pytest.raises(DataError, match=r"own\.csv: .* are one number but not one text"):
        table(tmp_path, rows)


@pytest.mark.parametrize("empty", ["nan", "NaN", "NA", "N/A", "#N/A", "null", "None", "<NA>"])
@pytest.mark.parametrize("column", ["identity", "camera"])
def test_an_empty_cell_written_as_a_word_is_no_label(tmp_path: Path, empty: str, column: str) -> None:
    """All images without a label would be one person."""
    cells = [(empty, "1"), ("ann", "1")] if column == "identity" else [("1", empty), ("1", "left")]
    rows = "".join(f"{n}.png,{i},{c},train\n" for n, (i, c) in enumerate(cells))
    with pytest.raises(DataError, match=rf"own\.csv: '{empty}' among the .* is how programs write an empty cell"):
        table(tmp_path, rows)


def test_accents_written_in_two_ways(tmp_path: Path) -> None:
    composed, decomposed = "\u00e9", "e\u0301"
    with pytest.raises(DataError, match="in two ways of writing its accents"):
        table(tmp_path, f"a.png,{composed},1,train\nb.png,{decomposed},1,train\n")
    image = write_image(tmp_path / f"{decomposed}.png")
    dataset = table(tmp_path, f"{composed}.png,1,1,train\n")
    assert dataset.train[0].path == image


def test_reserved_values_are_known_cell_by_cell(tmp_path: Path) -> None:
    cells = ["-1.0", "0.0", "junk", "Distractor", "12.0", "-1", "0000"]
    rows = "".join(f"{n}.png,{i},1,gallery\n" for n, i in enumerate(cells))
    dataset = table(tmp_path, rows)
    assert dataset.junk["gallery"] == 3
    assert [i for i, _ in pairs(dataset, "gallery")] == [0, 0, 1, 0]
    names = table(tmp_path, "a.png,ann,1,gallery\nb.png,-1,1,gallery\nc.png,0,1,gallery\n")
    assert [i for i, _ in pairs(names, "gallery")] == [1, 0]
    assert names.junk["gallery"] == 1


def test_other_negative_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'-5' among the identities is negative"):
        table(tmp_path, "a.png,-5,1,train\n")


def test_a_long_camera_serial_is_whole_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "bounding_box_train"
    for serial in ("123456789012", "123456789013"):
        write_image(folder / f"0001_c{serial}.png")
    assert {c for _, c in pairs(load_dataset({"folders": str(tmp_path)}), "train")} == {123456789012, 123456789013}
    write_image(folder / f"0002_c{'9' * 16}.png")
    with pytest.raises(DataError, match="more than 15 digits"):
        load_dataset({"folders": str(tmp_path)})


def test_names_that_write_one_person_in_two_ways_are_refused(tmp_path: Path) -> None:
    for name in ("0012_c1.png", "12_c2.png"):
        write_image(tmp_path / "bounding_box_train" / name)
    with pytest.raises(DataError, match="'0012' and '12'"):
        load_dataset({"folders": str(tmp_path)})


def test_everything_that_is_not_read_is_counted_by_reason(tmp_path: Path) -> None:
    root = write_market(tmp_path)
    for name in (".hidden.jpg", "notes.txt", "Thumbs.db"):
        (root / "query" / name).write_bytes(b"x")
    (root / "query" / "more").mkdir()
    write_image(root / "query" / "0003_c1s1_000009_01.png").rename(root / "query" / "0003_c1s1_000009_01.jfif")
    dataset = load_dataset({"market1501": str(root)})
    assert len(dataset.query) == 3
    assert dataset.left_out == {"hidden": 1, "no image (.txt)": 1, "no image (.db)": 1, "sub-folder": 1}


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ("0 0 inf 64", "not finite"),
        ("nan 0 4 4", "not finite"),
        ("0.1 0.2 0.5 0.9", "shares of the image"),
        ("50 60 30 40", "x y width height"),
        ("5 5 5 9", "ends before it begins"),
    ],
)
def test_boxes_that_are_none_are_refused_with_the_likely_meaning(tmp_path: Path, box: str, said: str) -> None:
    with pytest.raises(DataError, match=rf"own\.csv:2: bbox .*{said}"):
        table(tmp_path, f"a.png,1,1,train,{box}\n", "path,identity,camera,split,bbox")


@pytest.mark.parametrize("separator", [";", "\t", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_other_programs_are_read(tmp_path: Path, separator: str, encoding: str) -> None:
    write_image(tmp_path / "crops" / "a.png")
    lines = ["Path,Identity,Camera,Split", "crops\\a.png,ann,Hall,Train"]
    text = "\r\n".join(line.replace(",", separator) for line in lines)
    (tmp_path / "own.csv").write_text(text, encoding=encoding)
    dataset = load_dataset({"csv": str(tmp_path / "own.csv")})
    assert [r.path for r in dataset.train] == [tmp_path / "crops" / "a.png"]


def test_a_table_that_is_not_understood_names_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column path, .*; its first line reads path\|identity\|camera\|split"):
        table(tmp_path, "", "path|identity|camera|split")
    with pytest.raises(DataError, match=r"own\.csv:2: more cells than columns"):
        table(tmp_path, "a.png,1,1,train,oops\n")
    with pytest.raises(DataError, match=r"has two columns 'identity'"):
        table(tmp_path, "a.png,1,1,train,2\n", "path,identity,camera,split,Identity")


def test_query_and_gallery_alone_are_a_set(tmp_path: Path) -> None:
    root = write_market(tmp_path)
    for path in (root / "bounding_box_train").iterdir():
        path.unlink()
    (root / "bounding_box_train").rmdir()
    dataset = load_dataset({"folders": str(root)})
    assert not dataset.train
    assert len(dataset.query) == 2
