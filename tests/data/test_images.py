"""One image file: decoding, boxes, resizing, and every way a file can be broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_builders import write_image
from PIL import Image

from nas.data.images import probe_image, read_image
from nas.data.records import ImageRecord
from nas.errors import DataError


def test_reads_rgb_as_stored(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", size=(5, 4))
    assert np.array_equal(read_image(ImageRecord(path, 1, 1)), np.asarray(Image.open(path)))


def test_resizes_as_pillow_does(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", size=(40, 20))
    expected = np.asarray(Image.open(path).resize((8, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(read_image(ImageRecord(path, 1, 1), (16, 8)), expected)


def test_box_is_cut_and_clipped(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", size=(10, 8))
    pixels = np.asarray(Image.open(path))
    assert np.array_equal(read_image(ImageRecord(path, 1, 1, (2, 3, 6, 99))), pixels[3:, 2:6])
    with pytest.raises(DataError, match=r"box \(8, 0, 12, 5\) of .* lies outside the image \(8x10\)"):
        read_image(ImageRecord(path, 1, 1, (8, 0, 12, 5)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "I;16"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (6, 12)).save(tmp_path / "a.png")
    assert read_image(ImageRecord(tmp_path / "a.png", 1, 1)).shape == (12, 6, 3)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "not an image file"), (b"no image at all", "not an image file"), (None, "No such file")],
)
def test_broken_files_are_named_with_the_reason(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "broken.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"broken\.jpg cannot be read: {why}"):
        read_image(ImageRecord(path, 1, 1))
    assert why in (probe_image(ImageRecord(path, 1, 1)) or "")


def test_cut_off_file_is_unreadable(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.jpg", size=(64, 64))
    path.write_bytes(path.read_bytes()[:-400])
    assert "truncated" in (probe_image(ImageRecord(path, 1, 1)) or "")


def test_probe_of_a_good_file(tmp_path: Path) -> None:
    assert probe_image(ImageRecord(write_image(tmp_path / "a.png"), 1, 1)) is None
