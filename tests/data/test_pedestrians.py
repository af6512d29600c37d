"""The generated set: deterministic, as many as asked for, look-alikes that still differ, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.load import load_dataset
from nas.data.pedestrians import generate
from nas.data.pedestrians.figure import JOINTS, Figure
from nas.data.pedestrians.generate import Shot, Studio, contact_sheet, generated_folder, write_set
from nas.data.pedestrians.people import draw_people
from nas.data.pedestrians.raster import Colour, Solid, Solids, draw, paint
from nas.data.pedestrians.settings import PedestrianSettings
from nas.errors import DataError

SMALL = PedestrianSettings(
    train_identities=3, test_identities=2, cameras=2, images=2, distractors=3, height=64, width=32
)


def pixels(settings: PedestrianSettings, shot: Shot) -> np.ndarray:
    return np.asarray(Studio(settings).draw(shot))


def test_counts_are_what_was_asked_for(tmp_path: Path) -> None:
    dataset = load_dataset({"generated": SMALL.model_dump()}, cache=tmp_path)
    counts = dataset.counts()
    assert (counts["train"].identities, counts["train"].images, counts["train"].cameras) == (3, 12, 2)
    assert (counts["query"].identities, counts["query"].images) == (2, 4)
    assert (counts["gallery"].identities, counts["gallery"].images, counts["gallery"].distractors) == (2, 7, 3)
    assert sum(c.images for c in counts.values()) == SMALL.images_total
    assert not {r.identity for r in dataset.train} & {r.identity for r in dataset.query}


def test_same_settings_same_bytes_other_seed_other_images(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    write_set(SMALL, folders[0])
    write_set(SMALL, folders[1])
    write_set(SMALL.model_copy(update={"seed": 1}), folders[2])
    files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*.jpg")} for f in folders]
    assert files[0] == files[1]
    assert files[0].keys() == files[2].keys()
    assert not set(files[0].values()) & set(files[2].values())


def test_an_image_does_not_depend_on_the_others() -> None:
    shot = Shot("train", 2, 1, 2)
    studio = Studio(SMALL)
    for other in (Shot("train", 1, 1, 1), Shot("gallery", 0, 2, 1)):
        studio.draw(other)
    assert np.array_equal(np.asarray(studio.draw(shot)), pixels(SMALL, shot))


def test_more_persons_do_not_change_the_first_ones() -> None:
    more = SMALL.model_copy(update={"train_identities": 6})
    assert Studio(more).people[:3] == Studio(SMALL).people[:3]


@pytest.mark.parametrize("size", [(32, 16), (64, 32), (128, 64), (256, 128)])
def test_sizes(size: tuple[int, int]) -> None:
    settings = SMALL.model_copy(update={"height": size[0], "width": size[1]})
    assert pixels(settings, Shot("train", 1, 1, 1)).shape == (*size, 3)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 50))
@settings(max_examples=25)
def test_lookalikes_share_garment_colours_and_differ_in_two_traits(count: int, lookalikes: int, seed: int) -> None:
    people = draw_people(count, lookalikes, np.random.default_rng(seed))
    assert len(people) == count
    for start in range(0, count, lookalikes):
        group = people[start : start + lookalikes]
        assert len({(p.upper, p.upper_kind, p.lower, p.lower_kind) for p in group}) == 1
        for i, one in enumerate(group):
            for other in group[:i]:
                assert sum(a != b for a, b in zip(one.traits, other.traits, strict=True)) >= 2


def test_the_person_fills_the_middle_and_not_the_corners(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = SMALL.model_copy(update={"occlusion": 0.0, "clutter": 0.0})
    shots = [Shot("train", identity, camera, 1) for identity in (1, 2, 3) for camera in (1, 2)]
    people = np.stack([pixels(bare, shot) for shot in shots]).astype(float)
    monkeypatch.setattr(generate, "draw", lambda *_: None)
    empty = np.stack([pixels(bare, shot) for shot in shots]).astype(float)
    changed = (np.abs(people - empty).mean(-1) > 20).mean(0)
    assert changed[20:44, 13:19].mean() > 0.6
    assert changed[:8, :6].mean() < 0.1


def column(colour: Colour, at: tuple[float, float, float]) -> Solids:
    """An upright part in view coordinates, 0.6 long."""
    part = Solid("ground", "ground", (0.2, 0.2), paint(colour), above=(0, 0, 0.7), below=(0, 0, 0.1))
    return Figure([part]).placed(np.zeros((len(JOINTS), 3)), 0.0, 0.0, at)


def test_the_nearer_of_two_solids_is_seen_whatever_their_order() -> None:
    near, far = column((200, 0, 0), (0, 0, 1)), column((0, 0, 200), (0, 0, -1))
    for both in ([near, far], [far, near]):
        picture = np.zeros((20, 20, 3), np.float32)
        draw(picture, Solids.joined(both), 20.0, (10.0, 18.0), shade=0.0)
        assert picture[10, 10].tolist() == [200, 0, 0]


def test_solids_outside_the_picture_change_nothing() -> None:
    picture = np.zeros((20, 20, 3), np.float32)
    draw(picture, column((255, 255, 255), (25, 0, 0)), 20.0, (10.0, 18.0), shade=0.0)
    assert not picture.any()


def test_a_solid_is_as_wide_and_as_high_as_it_says() -> None:
    picture = np.zeros((40, 40, 3), np.float32)
    draw(picture, column((255, 255, 255), (0, 0, 0)), 40.0, (20.0, 36.0), shade=0.0)
    rows, columns = np.nonzero(picture[..., 0])
    # Radius 8 pixels, from 0.7 to 0.1 of 40 pixels, round ends of a radius more at both.
    assert (columns.min(), columns.max()) == (12, 27)
    assert (rows.min(), rows.max()) == (0, 39)
    assert np.count_nonzero(picture[20, :, 0]) == 16


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Studio.draw

    def interrupt(self: Studio, shot: Shot) -> object:
        if shot.identity == 2:
            raise KeyboardInterrupt
        return draw(self, shot)

    with monkeypatch.context() as patch:
        patch.setattr(Studio, "draw", interrupt)
        with pytest.raises(KeyboardInterrupt):
            generated_folder(SMALL, tmp_path)
    assert [p.suffix for p in (tmp_path / "generated").iterdir()] in ([], [".lock"])
    assert len(list(generated_folder(SMALL, tmp_path).rglob("*.jpg"))) == SMALL.images_total


def test_a_drawn_set_is_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = generated_folder(SMALL, tmp_path)
    monkeypatch.setattr(generate, "write_set", lambda *_: pytest.fail("drawn again"))
    assert generated_folder(SMALL, tmp_path) == folder


def test_too_little_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "BYTES_AN_IMAGE", 10**15)
    with pytest.raises(DataError, match="no space left"):
        generated_folder(SMALL, tmp_path)


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_set(SMALL, tmp_path / "set", lambda done, total, what="": told.append((done, total)))
    assert told[-1] == (SMALL.images_total, SMALL.images_total)


def test_contact_sheet_has_a_row_a_person() -> None:
    sheet = contact_sheet(SMALL, persons=3, images=2, columns=1)
    assert sheet.height > 3 * 64
    assert sheet.width > 2 * 2 * 32
