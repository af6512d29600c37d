"""ONNX files: written by PyTorch's exporter, run by ONNX Runtime for the parity check.

The exporter writes operator set 18 or newer. From 18 on, TensorRT 8.0 to 8.6 (JetPack 5 and 6.0) reads the axes of
ReduceMean wrongly and answers differently, so files are brought back to 17, which every other runtime reads too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.errors import TrainingError
from nas.networks.export.deployed import INT8, DeployedNetwork
from nas.networks.export.int8 import quantise
from nas.networks.export.metadata import INPUT_NAME, OUTPUT_NAME
from nas.networks.export.program import quiet

OPSET = 17
"""The operator set of files, unless another is asked for."""
WRITTEN_OPSET = 18
"""The oldest one that PyTorch's exporter writes."""
NEWEST_OPSET = 23


@dataclass(frozen=True)
class OnnxFile:
    """`FORMATS["onnx"]`: free batch, weights inside, metadata in `metadata_props`, operator set 17 or newer."""

    opset: int = OPSET
    suffix: str = ".onnx"
    batch: int | None = None
    precisions: tuple[str, ...] = ("fp32", "fp16", INT8)

    def unavailable(self, precision: str) -> str | None:
        """Needs the packages of the extra `latency`."""
        missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
        return f"{' and '.join(missing)} not installed; pip install 'nas-reid[latency]'" if missing else None

    def write(
        self, network: DeployedNetwork, path: Path, metadata: Mapping[str, str], calibration: Tensor | None = None
    ) -> None:
        """Writes the file."""
        import onnx

        model = self.program(network).model_proto
        if self.opset < WRITTEN_OPSET:
            to_opset_17(model)
        onnx.helper.set_model_props(model, dict(metadata))
        onnx.save(model, str(path))
        if calibration is not None:
            quantise(path, calibration)

    def program(self, network: DeployedNetwork) -> torch.onnx.ONNXProgram:
        """The network in ONNX's operators, with a free batch; a `TrainingError` where one of them has no ONNX form."""
        try:
            with quiet():
                exported = torch.onnx.export(
                    network,
                    (network.example(),),
                    input_names=[INPUT_NAME],
                    output_names=[OUTPUT_NAME],
                    dynamic_shapes=({0: torch.export.Dim("batch")},),
                    opset_version=max(self.opset, WRITTEN_OPSET),
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


def to_opset_17(model: Any) -> None:
    """Writes an ONNX model of operator set 18 in set 17, in place; onnx's own converter stops at Split.

    An operator that set 17 lacks is a `TrainingError`.
    """
    import onnx

    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in _AXES_AS_INPUT and len(node.input) > 1:
            axes = constants[node.input.pop(1)]
            _without(node, "noop_with_empty_axes")
            node.attribute.append(onnx.helper.make_attribute("axes", axes.tolist()))
        elif node.op_type == "Split":
            _without(node, "num_outputs")  # both sets split equally where no sizes are given
    used = {name for node in model.graph.node for name in node.input}
    unused = [tensor for tensor in model.graph.initializer if tensor.name not in used]
    for tensor in unused:
        model.graph.initializer.remove(tensor)
    next(one for one in model.opset_import if not one.domain).version = 17
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"the network has no form in ONNX's operator set 17: {reason}", "Give --opset 18."
        ) from error


_REDUCTIONS = ("Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
_AXES_AS_INPUT = {f"Reduce{kind}" for kind in _REDUCTIONS}
"""Reductions whose axes are an attribute up to set 17 (those of ReduceSum are an input since 13)."""


def _without(node: Any, name: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
