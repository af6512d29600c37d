"""MSMT17: images in folders, splits in `list_*.txt` with lines of `path identity`, fifteen cameras.

Wei et al., CVPR 2018. Version 1 keeps images in `train/` and `test/`, version 2 (faces masked) in
`mask_train_v2/` and `mask_test_v2/`. Training and validation lists are one training split, as in
the published protocol. Identities are counted from 0 there and from 1 here, where 0 means distractor.
"""

from __future__ import annotations

from pathlib import Path

from nas.data.labels import LONGEST
from nas.data.listing import read_text_lines, require_folder
from nas.data.records import ImageRecord, Records, ReidDataset
from nas.errors import DataError

FOLDERS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
CAMERA_FIELD = 2


def read_msmt17(root: Path) -> ReidDataset:
    """Read version 1 or 2, whichever lies below `root`; `DataError` names a missing list or a wrong line."""
    train, test = image_folders(require_folder(root, "msmt17"))
    return ReidDataset(
        name="msmt17",
        train=(*_read_list(root / "list_train.txt", train), *_read_list(root / "list_val.txt", train)),
        query=_read_list(root / "list_query.txt", test),
        gallery=_read_list(root / "list_gallery.txt", test),
        root=root,
    )


def image_folders(root: Path) -> tuple[Path, Path]:
    """The folders of training and test images, of either version."""
    for train, test in FOLDERS:
        if (root / train).is_dir() and (root / test).is_dir():
            return root / train, root / test
    names = " or ".join(f"{train}/ and {test}/" for train, test in FOLDERS)
    raise DataError(f"the folder {root} holds neither {names}; msmt17 needs them")


def _read_list(path: Path, folder: Path) -> Records:
    return tuple(_record(line, f"{path}:{number}", folder) for number, line in read_text_lines(path, "msmt17"))


def _record(line: str, place: str, folder: Path) -> ImageRecord:
    name, _, identity = line.strip().rpartition(" ")
    fields = Path(name).name.split("_")
    camera = fields[CAMERA_FIELD] if len(fields) > CAMERA_FIELD else ""
    numbers = [text for text in (identity, camera) if text.isascii() and text.isdigit() and len(text) <= LONGEST]
    if len(numbers) < 2:
        raise DataError(
            f"{place}: {line!r} does not say image and identity",
            "Expected a line like `0000/0000_000_01_0303morning_0015_0.jpg 0`.",
        )
    return ImageRecord(folder / name.strip(), int(identity) + 1, int(camera))
