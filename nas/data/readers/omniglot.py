"""Omniglot (Lake et al., Science 2015) as torchvision leaves it on disk: handwriting as a re-identification set.

`omniglot-py/images_background/ALPHABET/characterNN/IMAGE_DD.png`: 964 characters of 30 alphabets (and 659 of 20 more in
`images_evaluation`), each drawn once by 20 people. A character is an identity, a group of drawers a camera: the right
answer was drawn by somebody of another group. Whole characters are held out for the test, whose first drawer of every
group asks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.data.listing import labelled_dataset, list_images, require_folder
from nas.data.records import ReidDataset
from nas.errors import DataError, unknown_name

FOLDER = "omniglot-py"
PARTS = ("images_background", "images_evaluation")
DRAWERS = 20
DRAWER = re.compile(r"[0-9]+_([0-9]{2})")
"""A file's name: number of the character, then the drawer from 1."""


def read_omniglot(
    root: Path,
    alphabets: Sequence[str] | str = "all",
    cameras: int | str = 4,
    test_share: float | str = 0.5,
    download: bool | str = False,
) -> ReidDataset:
    """Read the characters below `root` (the folder given to torchvision, or `omniglot-py` in it).

    Args:
        alphabets: names of folders, as a list or separated by `+`; all of them by default.
        cameras: groups of drawers, 2 to 20; drawers are dealt out in turn.
        test_share: share of each alphabet's characters, its last ones in sorted order, that is held out for the test.
        download: get the set through torchvision where it is not there.

    Raises:
        DataError: nothing there, an unknown alphabet, an option out of range, or a name that says no drawer.
    """
    groups, share = _number("cameras", cameras, 2, DRAWERS), _number("test_share", test_share, 0, 1)
    if groups != int(groups):
        raise DataError(f"omniglot: cameras is {cameras!r}, not a whole number")
    if str(download).lower() == "true":
        _download(root)
    base = root / FOLDER if (root / FOLDER).is_dir() else root
    found = {
        a.name: a for part in PARTS if (base / part).is_dir() for a in sorted((base / part).iterdir()) if a.is_dir()
    }
    if not found:
        require_folder(root, "omniglot")
        raise DataError(
            f"the folder {root} holds no Omniglot ({' or '.join(PARTS)} with a folder an alphabet)",
            "torchvision.datasets.Omniglot(root, download=True) makes it, and so does the key download: true.",
        )
    rows: dict[str, list[tuple[Path, str, str, None]]] = {"train": [], "query": [], "gallery": []}
    for alphabet in _chosen(alphabets, found):
        characters = sorted(p for p in found[alphabet].iterdir() if p.is_dir())
        tested = set(characters[len(characters) - round(share * len(characters)) :])
        for character in characters:
            for path in list_images(character).files:
                drawer = _drawer(path)
                camera = (drawer - 1) % int(groups)
                first = drawer <= groups
                split = "train" if character not in tested else "query" if first else "gallery"
                rows[split].append((path, f"{alphabet}/{character.name}", str(camera + 1), None))
    return labelled_dataset("omniglot", root, rows, root)


def _chosen(alphabets: Sequence[str] | str, found: Mapping[str, Path]) -> list[str]:
    if alphabets == "all":
        return sorted(found)
    names = alphabets.split("+") if isinstance(alphabets, str) else list(alphabets)
    for name in names:
        if name not in found:
            raise DataError(unknown_name("alphabet of omniglot", str(name), found))
    return sorted(names)


def _number(name: str, value: Any, least: float, most: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not least <= number <= most:
        raise DataError(f"omniglot: {name} is {value!r}, not a number from {least} to {most}")
    return number


def _drawer(path: Path) -> int:
    found = DRAWER.fullmatch(path.stem)
    if found is None or not 1 <= int(found[1]) <= DRAWERS:
        raise DataError(f"the image name {path} does not say its drawer", "Expected a name like 0709_05.png.")
    return int(found[1])


def _download(root: Path) -> None:
    """Both parts through torchvision, which leaves what is there alone."""
    from torchvision.datasets import Omniglot

    try:
        for background in (True, False):
            Omniglot(str(root), background=background, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"Omniglot is not below {root} and cannot be downloaded: {error}",
            "Run torchvision.datasets.Omniglot(root, download=True) on a machine with network, and copy the folder.",
        ) from error
