"""`nas extract`: features of images with a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import data, training
from nas.cli.common import Force, Json, emit, emit_json, note, progress_bar
from nas.cli.inputs import CheckpointFile, Device, write_whole
from nas.errors import DataError, NasError
from nas.files.outputs import check_outputs
from nas.files.whole import write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def extract(
    checkpoint: CheckpointFile,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Images, folders, or text files of paths.")],
    out: Annotated[Path, typer.Option(help="features.npy (and features.txt with the paths) or features.parquet.")],
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out images that cannot be read.")] = False,
    force: Force = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Write the L2-normalised features of images; the inner product of two is their cosine similarity.

    Example: nas extract market.pt crops/ --out crops.npy
    """
    if out.suffix not in (".npy", ".parquet"):
        raise NasError(f"features are written as .npy or .parquet, not {out.name}", "Give --out features.npy.")
    place = data.usable_device(device)
    names = out.with_suffix(".txt") if out.suffix == ".npy" else None
    paths = [path for given in images for path in _image_paths(given)]
    if not paths:
        raise DataError(f"there are no images in {', '.join(map(str, images))}")
    check_outputs((out, names), (checkpoint, *images, *paths), force=force)
    for path in paths:
        _written_name(path)
    extractor = training.FeatureExtractor(checkpoint, place, batch)
    with progress_bar("extract", enabled=not json) as progress:
        features, unreadable = extractor.extract(paths, progress)
    if unreadable and not skip_bad:
        error = data.unreadable_error(list(unreadable.values()), len(paths))
        raise DataError(error.message, "--skip-bad leaves them out and writes the rest.")
    for why in unreadable.values():
        note(f"left out: {why}")
    kept = [_written_name(path) for place, path in enumerate(paths) if place not in unreadable]
    if not kept:
        raise DataError(f"none of the {len(paths)} images can be read")
    _write_features(out, features, kept)
    document = {
        "candidate": extractor.candidate.notation,
        "images": len(kept),
        "left_out": [str(paths[place]) for place in unreadable],
        "dim": extractor.dim,
        "out": out,
    }
    emit_json(document) if json else emit(f"{len(kept)} features of {extractor.dim} numbers: {out}")


def _image_paths(given: Path) -> list[Path]:
    """The images behind an argument: of a folder (sorted, with its subfolders), of a list in a text file, or itself."""
    if given.is_dir():
        return data.list_images(given, nested=True).files
    if not given.is_file():
        raise DataError(f"there is no file or folder {given}")
    if given.suffix.lower() not in (".txt", ".lst"):
        return [given]
    try:
        lines = given.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list {given} cannot be read: {error}", "Write one path a line, in UTF-8.") from error
    return [Path(line.strip()) for line in lines if line.strip()]


def _written_name(path: Path) -> str:
    """The path as it is written beside the features; what no line of UTF-8 can hold is refused before the work."""
    name = str(path)
    if "\n" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise DataError(f"the name {name!r} cannot be written to a list of names", "Rename the file.")
    return name


def _write_features(out: Path, features: NDArray[np.float32], paths: list[str]) -> None:
    import numpy as np

    if out.suffix == ".npy":
        write_text(out.with_suffix(".txt"), "\n".join(paths) + "\n")
        write_whole(out, lambda file: np.save(file, features))
        return
    import pandas as pd

    frame = pd.DataFrame({"path": paths, "feature": list(features)})
    try:
        write_whole(out, lambda file: frame.to_parquet(file, index=False))
    except ImportError as error:
        hint = "Install it (pip install pyarrow), or write .npy."
        raise NasError("writing .parquet needs the package pyarrow", hint) from error
