"""What a study's `data:` key may say: one set, several joined, one to another; and how sets are named by hash."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from data_builders import write_csv, write_cuhk03, write_duke, write_image, write_market, write_msmt17

from nas.data.load import guess_source, load_dataset, parse_source
from nas.data.views import dataset_view
from nas.errors import DataError


def test_paths_start_at_the_base(tmp_path: Path) -> None:
    write_market(tmp_path / "sets" / "m")
    assert len(load_dataset({"market1501": "sets/m"}, base=tmp_path).train) == 8


def test_joined_sets_keep_persons_and_cameras_apart(tmp_path: Path) -> None:
    one, two = write_market(tmp_path / "m"), write_duke(tmp_path / "d")
    joined = load_dataset([{"market1501": str(one)}, {"duke": str(two)}])
    assert joined.name == "market1501+duke"
    assert {r.identity for r in joined.train} == {2, 7, 5 + 7}
    assert {r.camera for r in joined.train if r.identity == 12} == {2 + 2, 2 + 3}
    assert sum(r.identity == 0 for r in joined.gallery) == 1
    assert len(joined.query) == 3
    assert joined.junk["gallery"] == 1


def test_joined_sets_have_views_like_any_other(tmp_path: Path) -> None:
    one, two = write_market(tmp_path / "m"), write_duke(tmp_path / "d")
    joined = load_dataset([{"market1501": str(one)}, {"duke": str(two)}])
    assert dataset_view(joined, "final").query == joined.query
    assert len(dataset_view(joined, "select", val_identities=1).gallery) > 0
    assert load_dataset(joined.spec).id == joined.id


def test_train_on_one_and_evaluate_on_another(tmp_path: Path) -> None:
    one, two = write_market(tmp_path / "m"), write_duke(tmp_path / "d")
    crossed = load_dataset({"train": {"market1501": str(one)}, "test": {"duke": str(two)}})
    assert crossed.name == "market1501_to_duke"
    assert {r.identity for r in crossed.train} == {2, 7}
    assert {r.identity for r in crossed.query} == {6}


def test_cross_needs_a_test_split(tmp_path: Path) -> None:
    write_image(tmp_path / "bounding_box_train" / "0001_c1_1.png")
    with pytest.raises(DataError, match="folders has no query and gallery images"):
        load_dataset({"train": {"folders": str(tmp_path)}, "test": {"folders": str(tmp_path)}})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"market": "x"}, "unknown data set 'market'; did you mean 'market1501'"),
        ({"market1501": "x", "variant": "y"}, "unknown option of market1501 'variant'"),
        ({"market1501": "x", "duke": "y"}, "must name one set"),
        ({"market1501": None}, "market1501 must be given a path"),
        ({}, "must name one set"),
        ([], "data must be a mapping"),
        ("market1501", "data must be a mapping"),
        ({"generated": {"train_identites": 3}}, "'train_identites'; did you mean 'train_identities'"),
        ({"generated": {"cameras": 1}}, "generated data: cameras is 1"),
        ({"generated": 5}, "generated data takes one mapping"),
    ],
)
def test_wrong_specs_are_one_sentence(spec: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(spec)  # type: ignore[arg-type]
    assert "\n" not in caught.value.message


def test_id_depends_on_content_not_on_place_or_time(tmp_path: Path) -> None:
    first = load_dataset({"market1501": str(write_market(tmp_path / "a"))})
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    copy = load_dataset({"market1501": str(tmp_path / "b")})
    assert first.id == copy.id
    write_image(tmp_path / "b" / "query" / "0009_c1s1_000001_01.jpg")
    assert load_dataset({"market1501": str(tmp_path / "b")}).id != first.id


def test_id_of_a_vanished_image_is_an_error(tmp_path: Path) -> None:
    dataset = load_dataset({"market1501": str(write_market(tmp_path))})
    dataset.query[0].path.unlink()
    with pytest.raises(DataError, match=r"cannot be read: No such file"):
        _ = dataset.id


def test_guess_source(tmp_path: Path) -> None:
    assert set(guess_source(write_market(tmp_path / "m"))) == {"folders"}
    assert set(guess_source(write_cuhk03(tmp_path / "c"))) == {"cuhk03"}
    assert set(guess_source(write_msmt17(tmp_path / "t"))) == {"msmt17"}
    assert set(guess_source(write_csv(tmp_path / "own.csv", [("a.png", 1, 1, "train")]))) == {"csv"}
    with pytest.raises(DataError, match="looks like no known set"):
        guess_source(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        guess_source(tmp_path / "none")


def test_parse_source_options() -> None:
    assert parse_source("cuhk03:data/c,variant=detected") == {"cuhk03": "data/c", "variant": "detected"}
    assert parse_source("generated:") == {"generated": {}}
    with pytest.raises(DataError, match="'seed' is not of the form key=value"):
        parse_source("generated:seed")
