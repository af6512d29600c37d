"""Damaged image folders: what half-finished copies, wrong unpacking, renaming and strange file systems leave behind.

Each damage is a function of a folder that holds a good set; `damaged(folder, random)` does one to three of them.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

Damage = Callable[[Path, random.Random], None]

NAMES = (
    "a.jpg", ".jpg", "0001.jpg", "0001_c.jpg", "_c1.jpg", "-5_c1s1_000001_00.jpg", "9" * 60 + "_c1s1_000001_00.jpg",
    "0001_c" + "9" * 60 + "s1_000001_00.jpg", "0001_c0s1_000001_00.jpg", "0001_c-1s1.jpg", "0001 c1s1.jpg",
    "é_c1.jpg", "0001_c1s1_000001_00.JPG", "0001_c1s1_000001_00.jpeg.part", "Thumbs.db", ".DS_Store",
    "0001_c1s1_\n.jpg", "٣_c٣.jpg", "[bold]_c1.jpg", "0001_c1s1_000001_00.jpg.jpg", "0000_c1s1_000001_00.jpg",
    "-1_c1s1_000001_00.jpg", "x" * 200 + ".jpg",
)  # fmt: skip
LINES = (
    "", "nowhere/a.jpg 3", "0000/0000_000_01.jpg", "0000/0000_000_01.jpg x", "a b c", "../../../etc/passwd 1",
    "/etc/passwd 1", "0000/0000_000_99999999999999999999_x.jpg 0", "0000/0000_000_xx_x.jpg 0",
    "0000/0000_000_01_x.jpg -7", "\0 0", "é/é_é_é.jpg 1", "0000/0000_000_01_x.jpg 999999999999999999999999", ",",
    ",,,,", "a.png,1,1,test", "a.png,,1,train", "a.png,1,,train", 'a.png,"1,1,train', "a.png,1.5,x,train",
    "a.png,1,1,train,1 2 3", "a.png,1,1,train,0 0 0 0", "a.png,1,1,train,nan nan 1 1",
    "a.png,1,1,train,9 9 99999999999999999999 9", "a.png," + "9" * 5_000 + ",1,train", "nowhere.png,1,1,query",
)  # fmt: skip


def damaged(folder: Path, rng: random.Random) -> None:
    """Damages a copy of a good set in one to three ways."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(DAMAGES)(folder, rng)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _images(folder: Path) -> list[Path]:
    return [path for path in _files(folder) if path.suffix in (".jpg", ".png")]


def _lists(folder: Path) -> list[Path]:
    return [path for path in _files(folder) if path.suffix in (".txt", ".csv")]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())


def _some(found: list[Path], rng: random.Random) -> list[Path]:
    """One, a few or all."""
    return rng.sample(found, min(len(found), rng.choice((1, 1, 3, len(found) or 1))))


# -- folders


def remove_folder(folder: Path, rng: random.Random) -> None:
    for path in _some(_folders(folder), rng)[:1]:
        shutil.rmtree(path)


def empty_folder(folder: Path, rng: random.Random) -> None:
    for path in _some(_folders(folder), rng)[:1]:
        shutil.rmtree(path)
        path.mkdir()


def rename_folder(folder: Path, rng: random.Random) -> None:
    for path in _some(_folders(folder), rng)[:1]:
        target = path.with_name(rng.choice((path.name.upper(), path.name + " ", "x", path.name + "s", "labeled")))
        if not target.exists():
            path.rename(target)


def file_for_folder(folder: Path, rng: random.Random) -> None:
    for path in _some(_folders(folder), rng)[:1]:
        shutil.rmtree(path)
        path.write_bytes(b"not a folder")


def one_level_too_deep(folder: Path, rng: random.Random) -> None:
    inner = folder / "inner"
    if not inner.exists():
        inner.mkdir()
        for path in list(folder.iterdir()):
            if path != inner:
                path.rename(inner / path.name)


def link_loop(folder: Path, rng: random.Random) -> None:
    place = rng.choice([folder, *_folders(folder)])
    target = rng.choice((place, folder, folder / "nowhere", folder / "loop.jpg"))
    for name in ("loop", "loop.jpg", "0001_c1s1_000009_00.jpg"):
        if not os.path.lexists(place / name):
            (place / name).symlink_to(target)


def folder_becomes_a_loop(folder: Path, rng: random.Random) -> None:
    for path in _some(_folders(folder), rng)[:1]:
        shutil.rmtree(path)
        path.symlink_to(path)


# -- images


def remove_images(folder: Path, rng: random.Random) -> None:
    for path in _some(_images(folder), rng):
        path.unlink()


def truncate_images(folder: Path, rng: random.Random) -> None:
    for path in _some(_files(folder), rng):
        data = path.read_bytes()
        path.write_bytes(data[: rng.choice((0, 1, 10, len(data) // 2, max(len(data) - 1, 0)))])


def flip_bytes(folder: Path, rng: random.Random) -> None:
    for path in _some(_files(folder), rng):
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice((1, 5, 50)) if data else 0):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)


def other_content(folder: Path, rng: random.Random) -> None:
    for path in _some(_images(folder), rng):
        path.write_bytes(
            rng.choice((b"GIF89a", b"<html>404</html>", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", rng.randbytes(500)))
        )


def other_pictures(folder: Path, rng: random.Random) -> None:
    mode, size = rng.choice(
        (("1", (3, 3)), ("L", (1, 1)), ("RGBA", (5, 4)), ("P", (2, 9)), ("I;16", (4, 4)), ("RGB", (1, 4_000)))
    )
    for path in _some(_images(folder), rng):
        Image.new(mode, size).save(path, format="PNG")


def bomb(folder: Path, rng: random.Random) -> None:
    """A PNG of a few bytes that says it is 60000 x 60000."""
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4) * 2 + b"\x08\x02\0\0\0"
    for path in _some(_images(folder), rng)[:1]:
        path.write_bytes(header + b"\0\0\0\0" * 9)


def rename_images(folder: Path, rng: random.Random) -> None:
    for path in _some(_images(folder), rng):
        target = path.with_name(rng.choice(NAMES))
        if not target.exists():
            path.rename(target)


def add_files(folder: Path, rng: random.Random) -> None:
    place = rng.choice([folder, *_folders(folder)])
    target = place / rng.choice(NAMES)
    if not target.exists():
        target.write_bytes(b"x")


def folder_for_image(folder: Path, rng: random.Random) -> None:
    for path in _some(_images(folder), rng)[:2]:
        path.unlink()
        path.mkdir()


def pipe_for_image(folder: Path, rng: random.Random) -> None:
    for path in _some(_files(folder), rng)[:1]:
        path.unlink()
        os.mkfifo(path)


def device_for_file(folder: Path, rng: random.Random) -> None:
    for path in _some(_files(folder), rng)[:1]:
        path.unlink()
        path.symlink_to(rng.choice(("/dev/zero", "/dev/null", "/dev/random")))


def name_that_is_no_text(folder: Path, rng: random.Random) -> None:
    place = rng.choice([folder, *_folders(folder)])
    with open(os.fsencode(place) + b"/0001_c1s1_\xff\xfe.jpg", "wb") as file:
        file.write(b"x")


# -- who and where


def one_identity(folder: Path, rng: random.Random) -> None:
    for path in _images(folder):
        target = path.with_name("0001" + path.name[path.name.find("_") :]) if "_" in path.name else path
        if not target.exists():
            path.rename(target)


def one_camera(folder: Path, rng: random.Random) -> None:
    for path in _images(folder):
        before, c, _ = path.name.partition("_c")
        target = path.with_name(f"{before}_c1{path.suffix}")
        if c and not target.exists():
            path.rename(target)


def no_test(folder: Path, rng: random.Random) -> None:
    for path in _folders(folder):
        if path.exists() and path.name in rng.choice(
            (("query",), ("bounding_box_test",), ("query", "bounding_box_test"))
        ):
            shutil.rmtree(path)


# -- lists


def change_lists(folder: Path, rng: random.Random) -> None:
    for path in _some(_lists(folder), rng):
        lines = path.read_bytes().splitlines(keepends=True)
        for _ in range(rng.choice((1, 3))):
            place = rng.randrange(len(lines) + 1)
            kind = rng.randrange(3)
            if kind == 0 or place == len(lines):
                lines.insert(place, rng.choice(LINES).encode() + b"\n")
            elif kind == 1:
                del lines[place]
            else:
                lines[place] = lines[place].replace(
                    rng.choice((b" ", b",", b"_", b"\n")), rng.choice((b"", b"\t", b"  ", b";"))
                )
        path.write_bytes(b"".join(lines))


def other_encoding(folder: Path, rng: random.Random) -> None:
    for path in _some(_lists(folder), rng):
        path.write_bytes(
            path.read_bytes().decode(errors="replace").encode(rng.choice(("utf-16", "utf-8-sig", "utf-32")))
        )


DAMAGES: tuple[Damage, ...] = (
    remove_folder, empty_folder, rename_folder, file_for_folder, one_level_too_deep, link_loop, folder_becomes_a_loop,
    remove_images, truncate_images, truncate_images, flip_bytes, other_content, other_pictures, bomb, rename_images,
    rename_images, add_files, folder_for_image, pipe_for_image, device_for_file, name_that_is_no_text, one_identity,
    one_camera, no_test, change_lists, change_lists, change_lists, other_encoding,
)  # fmt: skip
