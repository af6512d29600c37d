"""One image file: decoding, boxes, resizing, and every way a file can be broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_builders import write_image
from PIL import Image

from nas.data.images import read_image
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


def test_cut_off_file_is_unreadable(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.jpg", size=(64, 64))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match="truncated"):
        read_image(ImageRecord(path, 1, 1))


def read(path: Path) -> np.ndarray:
    return read_image(ImageRecord(path, 1, 1))


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.pgm"])
def test_sixteen_bits_are_scaled_by_their_range(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 257, 32_768, 65_535]] * 3, dtype=np.uint16)
    if name.endswith("pgm"):
        (tmp_path / name).write_bytes(b"P5 4 3 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(tmp_path / name)
    assert read(tmp_path / name)[0].tolist() == [[0] * 3, [1] * 3, [127] * 3, [255] * 3]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_of_no_known_range_are_refused_with_the_mode(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(np.full((4, 3), 70_000, dtype=dtype)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match=r"a\.tiff cannot be read: .*mode [IF]\)"):
        read(tmp_path / "a.tiff")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_images_are_upright_as_every_viewer_shows_them(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :8] = 255  # white in the stored upper left corner
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif, **more)
    pixels = read(tmp_path / f"a.{suffix}")
    # Where the stored upper left corner is shown, from the definition of the eight orientations.
    top, left = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    assert pixels.shape[:2] == ((16, 32) if orientation < 5 else (32, 16))
    assert pixels[-4 if top else 3, -4 if left else 3].min() > 200
    assert pixels[3 if top else -4, 3 if left else -4].max() < 60


def test_a_box_is_measured_on_the_upright_image(tmp_path: Path) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    assert (read_image(ImageRecord(tmp_path / "a.png", 1, 1, (8, 0, 16, 8))) == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_black_whatever_is_hidden_there(tmp_path: Path, mode: str) -> None:
    hidden = Image.new("RGBA", (4, 4), (200, 200, 200, 0))
    hidden.paste((90, 90, 90, 255), (0, 0, 2, 4))
    if mode == "P":
        plain = Image.new("P", (4, 4), 0)
        plain.putpalette([200, 200, 200, 90, 90, 90])
        plain.paste(1, (0, 0, 2, 4))
        plain.save(tmp_path / "a.png", transparency=0)
    else:
        hidden.convert(mode).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png")[0].tolist() == [[90] * 3, [90] * 3, [0] * 3, [0] * 3]
