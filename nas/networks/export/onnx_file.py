"""ONNX files: written by PyTorch's exporter, run by ONNX Runtime for the parity check."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from nas.errors import TrainingError
from nas.networks.export.deployed import INT8, DeployedNetwork
from nas.networks.export.metadata import INPUT_NAME, OUTPUT_NAME

OPSET = 18


class OnnxFile:
    """`FORMATS["onnx"]`: operator set 18, free batch, weights inside, metadata in `metadata_props`."""

    suffix = ".onnx"
    precisions: tuple[str, ...] = ("fp32", "fp16", INT8)

    def unavailable(self) -> str | None:
        """Needs the packages of the extra `latency`."""
        missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
        return f"{' and '.join(missing)} not installed; pip install 'nas-reid[latency]'" if missing else None

    def write(self, network: DeployedNetwork, path: Path, metadata: Mapping[str, str]) -> None:
        """Writes the file."""
        program = self.program(network)
        program.model.metadata_props.update(metadata)
        program.save(str(path), external_data=False)

    def program(self, network: DeployedNetwork) -> torch.onnx.ONNXProgram:
        """The network in ONNX's operators, with a free batch.

        Raises:
            TrainingError: when an operator of an own block has no ONNX form.
        """
        try:
            with quiet():
                exported = torch.onnx.export(
                    network,
                    (network.example(),),
                    input_names=[INPUT_NAME],
                    output_names=[OUTPUT_NAME],
                    dynamic_shapes=({0: torch.export.Dim("batch")},),
                    opset_version=OPSET,
                    verbose=False,
                )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise TrainingError(f"{network.network.candidate} cannot be written as ONNX: {reason}") from error
        if exported is None:
            raise TypeError("the exporter returned no program")
        return exported

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """A session on the CPU."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def run(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run([OUTPUT_NAME], {INPUT_NAME: images.numpy()})[0])

        return run

    def read_metadata(self, path: Path) -> dict[str, str]:
        """The entries of `metadata_props`."""
        import onnx

        model = onnx.load(str(path), load_external_data=False)
        return {entry.key: entry.value for entry in model.metadata_props}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the exporter's own messages off the screen; errors still arrive as exceptions."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
