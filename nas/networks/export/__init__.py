"""Export of a trained network, with a parity check that refuses to write a file which answers differently.

`export_network` folds normalisation, drops the classifier, writes the file beside its place, runs it on random and
given crops, compares with PyTorch in fp32, and only then moves it there. One module a format; what a file says about
its input is in `metadata`, how embeddings are compared in `parity`.
"""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from nas.errors import TrainingError, unknown_name
from nas.networks.blocks.base import islands
from nas.networks.export import executorch_file, onnx_file, program, tensorrt_engine
from nas.networks.export.deployed import INT8, PRECISIONS, DeployedNetwork, ExportedNetwork
from nas.networks.export.int8 import CALIBRATION_IMAGES, quantise
from nas.networks.export.metadata import Preprocessing, describe
from nas.networks.export.parity import Parity, compare, random_crops
from nas.networks.folding import fold_batchnorm
from nas.networks.network import ReidNetwork
from nas.progress import Progress, silent

Runner = Callable[[Tensor], Tensor]

MIN_COSINE = 0.9999  # other orders of summation in fp32 move an embedding by about 1e-6; a wrong layer by far more
MIN_AGREEMENT = 0.98  # of nearest neighbours: among hundreds of crops a tie or two may turn by rounding alone
MIN_REDUCED_COSINE = 0.99  # half precision keeps three digits, which many layers add up


class ExportFormat(Protocol):
    """A module that writes one kind of file."""

    @property
    def suffix(self) -> str: ...

    @property
    def precisions(self) -> tuple[str, ...]: ...

    @property
    def batch(self) -> int | None:
        """Images that a file takes at a time; None: any number."""

    def unavailable(self, precision: str) -> str | None:
        """Why files of this kind cannot be written here, or None."""

    def write(
        self, network: DeployedNetwork, path: Path, metadata: Mapping[str, str], calibration: Tensor | None = None
    ) -> None:
        """Writes the file. In int8, images (N, 3, H, W) tell the ranges of activations."""

    def load(self, path: Path) -> Runner:
        """Opens the file as a function from images (B, 3, H, W) to embeddings (B, D), float32 on the CPU."""

    def read_metadata(self, path: Path) -> dict[str, str]:
        """What the file says about itself."""


FORMATS: Mapping[str, ExportFormat] = MappingProxyType(
    {
        "onnx": onnx_file.OnnxFile(),
        "torch-export": program.ExportedProgramFile(),
        "executorch": executorch_file.ExecutorchFile(),
        "tensorrt": tensorrt_engine.EngineFile(),
    }
)
"""Kinds of files by name."""
NOT_WRITTEN: Mapping[str, str] = MappingProxyType(
    {
        "litert": "its converter (litert-torch 0.10.0, November 2026) needs a torch below 2.15;"
        " export to onnx, executorch or torch-export"
    }
)
"""Kinds of files that people ask for, and why there is none."""


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        parity: how it compares with PyTorch in fp32.
        metadata: what the file says about itself.
        batch: images that it takes at a time; None: any number.
    """

    path: Path
    format: str
    precision: str
    parity: Parity
    metadata: dict[str, str]
    size_bytes: int
    batch: int | None


def check_format(name: str, precision: str = "fp32", opset: int | None = None) -> ExportFormat:
    """The format of that name, ready to write on this machine; `opset`: ONNX operator set, None for the format's own.

    Raises:
        TrainingError: for an unknown format or precision, or one that needs something not installed.
    """
    if name in NOT_WRITTEN:
        raise TrainingError(f"cannot export to {name}: {NOT_WRITTEN[name]}")
    if name not in FORMATS:
        raise TrainingError(unknown_name("export format", name, FORMATS))
    if precision not in (*PRECISIONS, INT8):
        raise TrainingError(unknown_name("precision", precision, (*PRECISIONS, INT8)))
    if precision not in FORMATS[name].precisions:
        known = ", ".join(FORMATS[name].precisions)
        raise TrainingError(f"{name} files are written in {known}, not {precision}")
    reason = FORMATS[name].unavailable(precision)
    if reason is not None:
        raise TrainingError(f"cannot export to {name} here: {reason}")
    return FORMATS[name] if opset is None else _in_opset(FORMATS[name], name, opset)


def _in_opset(kind: ExportFormat, name: str, opset: int) -> ExportFormat:
    if not isinstance(kind, (onnx_file.OnnxFile, tensorrt_engine.EngineFile)):
        raise TrainingError(f"{name} files have no operator set of ONNX", "Leave --opset out.")
    oldest, newest = onnx_file.OPSET, onnx_file.NEWEST_OPSET
    if not oldest <= opset <= newest:
        raise TrainingError(f"files are written in operator sets {oldest} to {newest}, not {opset}")
    return replace(kind, opset=opset)


def check_target(path: str | Path) -> Path:
    """The path, when a file can be written there; else a `TrainingError`."""
    target = Path(path)
    if not target.parent.is_dir():
        raise TrainingError(f"there is no folder {target.parent} to write {target.name} in")
    if target.is_dir():
        raise TrainingError(f"{target} is a folder; a file is needed")
    return target


def export_network(
    network: ReidNetwork,
    path: str | Path,
    format: str = "onnx",
    *,
    precision: str = "fp32",
    crops: Tensor | None = None,
    calibration: Tensor | None = None,
    preprocessing: Preprocessing | None = None,
    extra: Mapping[str, str] | None = None,
    opset: int | None = None,
    accept: Callable[[ExportedNetwork], None] | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a network as a file for deployment, after it answered as PyTorch does.

    Args:
        network: a trained network, on any device; it is left as it is.
        precision: of the weights and the arithmetic; input and output are float32 always.
        crops: normalised images (N, 3, H, W) to compare on, beside random ones.
        calibration: normalised training images (N, 3, H, W) that int8 reads the ranges of activations from.
        preprocessing: what the images went through; stated in the file.
        extra: further entries for the file's metadata.
        opset: ONNX operator set; None: 17.
        accept: given the file, opened, before it takes its place; what it raises keeps it from being written.

    Raises:
        TrainingError: when the format is not available, or the file's embeddings differ: fp32 needs a cosine above
            0.9999 for every image, reduced precision one above 0.99 and the same nearest neighbour for 98 % of the
            images. Nothing is written then. Reduced precision is tried throughout first, then with sums and softmax of
            blocks in fp32; `sums` in the metadata says which it is. An int8 file is written whatever it answers, if
            that is finite and points no other way: what it costs is seen in mAP, see `nas export --int8`.
    """
    tell = progress or silent
    kind, target = check_format(format, precision, opset), check_target(path)
    ranges = _calibration(calibration, network.input_size) if precision == INT8 else None
    folded = fold_batchnorm(network).cpu().float()
    images = parity_images(network.input_size, crops)
    tell(1, 4, "reference embeddings")
    reference = _embed(copy.deepcopy(network).cpu().float().eval(), images)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
        draft = Path(folder) / target.name
        for kept in (True,) if precision in ("fp32", INT8) else (False, True):
            tell(2, 4, f"writing {format}")
            sums = {"sums": "fp32" if kept and precision != INT8 else precision, **(extra or {})}
            taken = preprocessing or Preprocessing()
            metadata = describe(folded, format, precision, taken, sums, kind.batch)
            with islands(kept):
                kind.write(DeployedNetwork(folded, precision), draft, metadata, ranges)
            tell(3, 4, "comparing with PyTorch")
            given = 0 if crops is None else len(crops)
            parity = compare(reference, _run(kind.load(draft), images), images=len(images), given=given)
            if kept or _answers_alike(parity, precision):
                break
        _refuse_if_different(parity, target, format, precision)
        if accept is not None:
            accept(ExportedNetwork(kind.load(draft), network))
        for made in sorted(Path(folder).iterdir()):
            os.replace(made, target.parent / made.name)
    tell(4, 4, "done")
    return ExportReport(target, format, precision, parity, metadata, target.stat().st_size, kind.batch)


def parity_images(input_size: tuple[int, int], crops: Tensor | None) -> Tensor:
    """Random crops, then the given ones: (N, 3, H, W), float32."""
    made = random_crops(input_size)
    if crops is None:
        return made
    if crops.ndim != 4 or tuple(crops.shape[1:]) != (3, *input_size):
        expected = f"(N, 3, {input_size[0]}, {input_size[1]})"
        raise TrainingError(f"sample crops for the parity check must be {expected}, not {tuple(crops.shape)}")
    return torch.cat([made, crops.cpu().float()])


def _calibration(images: Tensor | None, input_size: tuple[int, int]) -> Tensor:
    if images is None or not len(images):
        raise TrainingError("int8 needs images that the ranges of its activations are read from", "Give --data.")
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, *input_size):
        raise TrainingError(f"calibration images must be (N, 3, {input_size[0]}, {input_size[1]})")
    return images.cpu().float()


def _embed(network: ReidNetwork, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([_tensor(network(batch)) for batch in torch.split(images, _BATCHES[-1])])


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"a network in evaluation mode returns a tensor, not {type(value).__name__}")
    return value


_BATCHES = (1, 3, 16)


def _run(runner: Runner, images: Tensor) -> Tensor:
    """Embeddings in batches of 1, 3, then 16: a batch that is not free is found here."""
    parts, begin, turn = [], 0, 0
    while begin < len(images):
        size = _BATCHES[min(turn, len(_BATCHES) - 1)]
        parts.append(runner(images[begin : begin + size]))
        begin, turn = begin + size, turn + 1
    return torch.cat(parts)


def _needed(precision: str) -> float:
    return {"fp32": MIN_COSINE, INT8: 0.0}.get(precision, MIN_REDUCED_COSINE)


def _same_neighbours(parity: Parity, precision: str) -> bool:
    return precision == INT8 or parity.top1_agreement >= MIN_AGREEMENT


def _answers_alike(parity: Parity, precision: str) -> bool:
    return parity.min_cosine > _needed(precision) and _same_neighbours(parity, precision)


def _refuse_if_different(parity: Parity, target: Path, format_name: str, precision: str) -> None:
    needed = _needed(precision)
    if not parity.min_cosine > needed:
        raise TrainingError(
            f"the {format_name} file in {precision} answers differently from PyTorch: cosine {parity.min_cosine:.6f} at"
            f" worst over {parity.images} images, {needed} is needed; {target} was not written",
            None if precision == "fp32" else "Export in fp32.",
        )
    if not _same_neighbours(parity, precision):
        raise TrainingError(
            f"the {format_name} file in {precision} finds another nearest neighbour for"
            f" {1 - parity.top1_agreement:.1%} of {parity.images} images; {target} was not written",
            "Export in fp32.",
        )


__all__ = [
    "CALIBRATION_IMAGES",
    "FORMATS",
    "INT8",
    "PRECISIONS",
    "ExportReport",
    "ExportedNetwork",
    "Parity",
    "Preprocessing",
    "check_format",
    "check_target",
    "export_network",
    "quantise",
]
