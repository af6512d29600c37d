"""`nas export`: a trained network as a file for deployment, checked against PyTorch before it is written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import commands
from nas.cli.common import Json, emit_json, note, progress_bar

if TYPE_CHECKING:
    from nas.networks.export import ExportReport


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
    with progress_bar(f"export {format}", enabled=not json) as progress:
        report = commands.export(checkpoint, out, format=format, precision=precision, crops=images, progress=progress)
    emit_json(_plain(report)) if json else _tell(report)


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
