"""Five images of the data set in a report: of five persons, and none where none are."""

from __future__ import annotations

import base64
import io
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from nas.data import dataset_view, load_dataset
from nas.errors import StudyError
from nas.reporting.checkpoint_lists import _images
from nas.reporting.samples import HEIGHT_PX, LEFT_OUT, NOT_HERE, OTHERS, SAMPLES, WIDTH_PX, with_samples
from nas.reporting.story.setting import data_section
from nas.reporting.study_data import StudyData


def frames(folder: Path, persons: int) -> Path:
    """A CSV of as many persons, each in a grey of their own, two images each."""
    lines = ["path,identity,camera,split"]
    for person in range(persons):
        for camera in (1, 2):
            name = f"{person}_{camera}.png"
            Image.new("RGB", (20, 40), (20 * person,) * 3).save(folder / name)
            lines.append(
                f"{name},{person},{camera},{'train' if person < persons - 2 else 'query' if camera < 2 else 'gallery'}"
            )
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder / "labels.csv"


def test_five_persons_are_shown_as_far_apart_as_they_are(tmp_path: Path) -> None:
    data = with_samples(StudyData("own", {"data": {"csv": str(frames(tmp_path, 11))}}))
    with Image.open(io.BytesIO(base64.b64decode(data.samples.partition(",")[2]))) as strip:
        assert strip.size == (SAMPLES * WIDTH_PX, HEIGHT_PX)
        greys = [strip.getpixel((WIDTH_PX * i + 30, 60))[0] for i in range(SAMPLES)]  # type: ignore[index]
    assert greys == pytest.approx([0, 40, 80, 120, 160], abs=4)
    assert data.samples in str(data_section(data))


def test_images_are_looked_for_beside_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its trainings look for them; a report that was written from another folder had none."""
    frames(tmp_path, 5)
    (tmp_path / "studies").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    definition = {"data": {"csv": "labels.csv"}, "file": str(tmp_path / "studies" / "own.yaml")}
    assert with_samples(StudyData("own", definition)).samples


def test_a_reader_that_fails_in_its_own_way_costs_the_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def reader(path: Path) -> None:
        raise KeyError(path)

    monkeypatch.setitem(sys.modules, "my_sets", SimpleNamespace(depot=reader))  # type: ignore[arg-type]
    data = with_samples(StudyData("own", {"data": {"my_sets:depot": "here"}}))
    assert (data.samples, data.no_samples) == ("", NOT_HERE)


def test_images_that_are_not_here_are_none(full: StudyData, empty: StudyData, tmp_path: Path) -> None:
    assert with_samples(full).samples == with_samples(empty).samples == ""
    replayed = {"data": {"csv": str(frames(tmp_path, 5))}, "objective": {"table": "t.csv"}}
    assert with_samples(replace(full, definition=replayed)).samples == ""


def test_images_are_left_out_where_it_is_said_so(tmp_path: Path) -> None:
    definition = {"data": {"csv": str(frames(tmp_path, 5))}}
    asked = with_samples(StudyData("own", definition), images=False)
    kept = with_samples(StudyData("own", definition | {"report": {"images": False}}))
    for data in (asked, kept):
        assert (data.samples, data.no_samples) == ("", LEFT_OUT)
        assert "left out" in str(data_section(data))
    with pytest.raises(StudyError, match="keeps images out of its reports"):
        _images(kept, "test", (64, 32), None)


def test_images_of_another_set_are_not_shown_as_the_studys(tmp_path: Path) -> None:
    """The same path on another machine: five images of whatever lies there were in the report."""
    definition = {"data": {"csv": str(frames(tmp_path, 6))}}
    final = dataset_view(load_dataset(definition["data"]), "final").id
    views = [{"id": final, "view": "test"}]
    assert with_samples(StudyData("own", definition, dataset={"id": final, "views": views})).samples
    Image.new("RGB", (20, 40), (1, 2, 3)).save(tmp_path / "0_1.png")
    data = with_samples(StudyData("own", definition, dataset={"id": final, "views": views}))
    assert (data.samples, data.no_samples) == ("", OTHERS)


def test_no_set_is_drawn_for_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine where the generated set was never drawn; the report drew all of it, into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    tiny = {"generated": {"train_identities": 2, "test_identities": 2, "height": 32, "width": 16}}
    data = with_samples(StudyData("own", {"data": [tiny, {"csv": "x.csv"}]}))
    assert (data.samples, data.no_samples) == ("", NOT_HERE)
    assert list(tmp_path.iterdir()) == []
    load_dataset(tiny)
    assert with_samples(StudyData("own", {"data": tiny})).samples
