"""`nas extract`: features of images with a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nas import training
from nas.cli.common import emit, emit_json, progress_bar
from nas.cli.inputs import CheckpointFile, Device, Json, pick_device, write_whole
from nas.errors import DataError, NasError
from nas.files.whole import write_text

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("extract")(extract)


def extract(
    checkpoint: CheckpointFile,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Images, folders, or text files of paths.")],
    out: Annotated[Path, typer.Option(help="features.npy (and features.txt with the paths) or features.parquet.")],
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Write the L2-normalised features of images; the inner product of two is their cosine similarity.

    Example: nas extract market.pt crops/ --out crops.npy
    """
    if out.suffix not in (".npy", ".parquet"):
        raise NasError(f"features are written as .npy or .parquet, not {out.name}", "Give --out features.npy.")
    paths = [path for given in images for path in _image_paths(given)]
    if not paths:
        raise DataError(f"there are no images in {', '.join(map(str, images))}")
    extractor = training.FeatureExtractor(checkpoint, pick_device(device), batch)
    with progress_bar("extract", enabled=not json) as progress:
        features = extractor(paths, progress)
    _write_features(out, features, [str(path) for path in paths])
    document = {"candidate": extractor.candidate.notation, "images": len(paths), "dim": extractor.dim, "out": out}
    emit_json(document) if json else emit(f"{len(paths)} features of {extractor.dim} numbers: {out}")


def _image_paths(given: Path) -> list[Path]:
    """The images behind an argument: of a folder (sorted, with its subfolders), of a list in a text file, or itself."""
    if given.is_dir():
        return sorted(path for path in given.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not given.is_file():
        raise DataError(f"there is no file or folder {given}")
    if given.suffix.lower() in (".txt", ".lst"):
        return [Path(line.strip()) for line in given.read_text("utf-8").splitlines() if line.strip()]
    return [given]


def _write_features(out: Path, features: Any, paths: list[str]) -> None:
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
