"""`nas export`: a trained network as a file for deployment, checked against PyTorch before it is written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import nas.files
from nas import data, networks, training
from nas.cli.common import Json, emit_json, note, progress_bar
from nas.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from nas.networks.export import ExportReport
    from nas.progress import Progress

MOST_CROPS = 64
_GENERATED = {"train_identities": 1, "test_identities": 8, "cameras": 2, "images": 2}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("export")(export)


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="File written by a training.")],
    format: Annotated[str, typer.Option("--format", help="onnx, torch-export or tensorrt.")] = "onnx",
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default: beside the checkpoint.")] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or bf16; input and output stay float32.")] = "fp32",
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of person crops to compare on; default: 32 of the generated pedestrians."),
    ] = None,
    json: Json = False,
) -> None:
    """Export a trained network; nothing is written when it answers differently from PyTorch.

    Example: nas export reports/quickstart/best.pt --format onnx --images my_crops/
    """
    kind = networks.check_format(format, precision)
    target = networks.check_target(out or checkpoint.parent / f"{checkpoint.stem}{kind.suffix}")
    nas.files.check_outputs((target,), (checkpoint,), force=True)
    loaded = training.load_checkpoint(checkpoint)
    network = training.network_from_checkpoint(loaded)
    augmentation = loaded.recipe.augmentation
    with progress_bar(f"export {format}", enabled=not json) as progress:
        report = networks.export_network(
            network,
            target,
            format,
            precision=precision,
            crops=_crops(images, loaded.input_size, augmentation, progress),
            preprocessing=networks.Preprocessing(mean=augmentation.mean, std=augmentation.std),
            extra={"checkpoint_sha256": nas.files.sha256_of(checkpoint), "dataset": loaded.dataset_id},
            progress=progress,
        )
    emit_json(_plain(report)) if json else _tell(report)


def _crops(folder: Path | None, size: tuple[int, int], augmentation: Any, progress: Progress) -> Tensor:
    """Normalised crops (N, 3, H, W) from a folder, or of the generated set."""
    import numpy as np
    import torch

    records = _generated(progress) if folder is None else _in_folder(folder)
    pixels = torch.from_numpy(np.stack([data.read_image(record, size) for record in records])).permute(0, 3, 1, 2)
    return data.BatchAugmenter(augmentation, size, torch.device("cpu")).normalise(pixels)


def _generated(progress: Progress) -> list[Any]:
    dataset = data.load_dataset({"generated": _GENERATED}, progress=progress)
    return [*dataset.query, *dataset.gallery][:MOST_CROPS]


def _in_folder(folder: Path) -> list[Any]:
    files = data.list_images(folder).files[:MOST_CROPS]
    if not files:
        raise DataError(f"the folder {folder} holds no images to compare on")
    return [data.ImageRecord(path, 0, 0) for path in files]


def _plain(report: ExportReport) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "format": report.format,
        "precision": report.precision,
        "size_bytes": report.size_bytes,
        "parity": asdict(report.parity),
        "metadata": report.metadata,
    }


def _tell(report: ExportReport) -> None:
    parity = report.parity
    note(f"{report.path}: {report.format}, {report.precision}, {report.size_bytes / 1e6:.1f} MB, batch free")
    note(
        f"compared with PyTorch on {parity.images} images ({parity.given} crops, the others random):"
        f" cosine {parity.min_cosine:.6f} at worst, same nearest neighbour for {parity.top1_agreement:.1%}"
    )
