"""`nas export`: a trained network as a file for deployment, checked against PyTorch before it is written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import commands
from nas.cli.common import Json, emit, emit_json, note, progress_bar
from nas.cli.inputs import DATA_HELP, CheckpointFile
from nas.errors import TrainingError

if TYPE_CHECKING:
    from nas.networks.export import ExportReport


def export(
    checkpoint: CheckpointFile,
    format: Annotated[str, typer.Option("--format", help="onnx, torch-export, executorch or tensorrt.")] = "onnx",
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default: beside the checkpoint.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="fp32 (default), fp16, bf16 or int8; input and output stay float32.", show_default=False),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise to int8; needs --data, and says mAP before and after.")
    ] = False,
    data: Annotated[list[str] | None, typer.Option("--data", help=f"int8: {DATA_HELP}")] = None,
    view: Annotated[
        str | None, typer.Option(help="int8: of --data, final (default) or select.", show_default=False)
    ] = None,
    calibration: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="int8: training images that the ranges of activations are read from; default: 128.",
            show_default=False,
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="int8: folder for packed images.", show_default=False)
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="ONNX operator set; default: 17, which TensorRT 8 reads too.", show_default=False)
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of person crops to compare on; default: 32 of the generated pedestrians."),
    ] = None,
    json: Json = False,
) -> None:
    """Export a trained network; nothing is written when it answers differently from PyTorch.

    Example: nas export reports/quickstart/best.pt --format onnx --images my_crops/
    """
    if int8 and precision not in (None, "int8"):
        raise TrainingError(f"--int8 and --precision {precision} are two precisions", "Give one of the two.")
    with progress_bar(f"export {format}", enabled=not json) as progress:
        report = commands.export(
            checkpoint,
            out,
            format=format,
            precision="int8" if int8 else precision or "fp32",
            crops=images,
            data=data or None,
            view=view,
            calibration=calibration,
            cache=cache,
            opset=opset,
            progress=progress,
        )
    if json:
        emit_json(_document(report))
        return
    _tell(report)
    if isinstance(report, commands.Int8Export):
        emit(report.sentence())


def _document(report: ExportReport) -> dict[str, object]:
    told = ("path", "format", "precision", "size_bytes", "metadata")
    document = {**{name: getattr(report, name) for name in told}, "parity": asdict(report.parity)}
    if isinstance(report, commands.Int8Export):
        document["accuracy"] = {"before": report.before.to_dict(), "after": report.after.to_dict()}
        document["calibration_images"] = report.calibration
    return document


def _tell(report: ExportReport) -> None:
    parity = report.parity
    batch = report.batch or "free"
    note(f"{report.path}: {report.format}, {report.precision}, {report.size_bytes / 1e6:.1f} MB, batch {batch}")
    note(
        f"compared with PyTorch on {parity.images} images ({parity.given} crops, the others random):"
        f" cosine {parity.min_cosine:.6f} at worst, same nearest neighbour for {parity.top1_agreement:.1%}"
    )
