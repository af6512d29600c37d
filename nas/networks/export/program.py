"""torch.export files (.pt2): PyTorch's own graph, loaded without this package; in int8 quantised by torchao (PT2E).

In int8 the graph states quantised weights and activations as pairs of operators that quantise and dequantise, which
PyTorch's compiler makes integer arithmetic of. They are registered by `import torch.ao.quantization.fx._decomposed`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.networks.export.deployed import INT8, DeployedNetwork

METADATA_FILE = "metadata.json"
QUANTISED_OPERATORS = "torch.ao.quantization.fx._decomposed"
"""The module of PyTorch's that registers the operators of an int8 program."""
CALIBRATION_BATCH = 16


class ExportedProgramFile:
    """`FORMATS["torch-export"]`: free batch; metadata as the extra file `metadata.json`."""

    suffix = ".pt2"
    batch = None
    precisions: tuple[str, ...] = ("fp32", "fp16", "bf16", INT8)

    def unavailable(self, precision: str) -> str | None:
        """Part of PyTorch; int8 needs the extra `pt2e`."""
        missing = precision == INT8 and find_spec("torchao") is None
        return "torchao not installed; pip install 'nas-reid[pt2e]'" if missing else None

    def write(
        self, network: DeployedNetwork, path: Path, metadata: Mapping[str, str], calibration: Tensor | None = None
    ) -> None:
        """Writes the file."""
        with quiet():
            program = traced(network, network)
            if calibration is not None:
                program = traced(quantised(program, _products(), calibration), network)
            torch.export.save(program, path, extra_files={METADATA_FILE: json.dumps(dict(metadata))})

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """The program as a function."""
        _register_quantised_operators()
        with quiet():
            module = torch.export.load(path).module()

        def run(images: Tensor) -> Tensor:
            with torch.no_grad():
                embedding: Tensor = module(images)
            return embedding

        return run

    def read_metadata(self, path: Path) -> dict[str, str]:
        """The content of `metadata.json`."""
        files = {METADATA_FILE: ""}
        _register_quantised_operators()
        with quiet():
            torch.export.load(path, extra_files=files)
        return {str(key): str(value) for key, value in json.loads(files[METADATA_FILE]).items()}


def _register_quantised_operators() -> None:
    """Where PyTorch has them; a program that needs none is read without."""
    with contextlib.suppress(ImportError):
        importlib.import_module(QUANTISED_OPERATORS)


def traced(module: torch.nn.Module, network: DeployedNetwork, batch: int | None = None) -> torch.export.ExportedProgram:
    """A program with a free batch, or for so many images."""
    if batch is not None:
        return torch.export.export(module, (network.example(batch),))
    return torch.export.export(module, (network.example(),), dynamic_shapes=({0: torch.export.Dim("batch")},))


def quantised(
    program: torch.export.ExportedProgram, quantizer: Any, images: Tensor, batch: int = CALIBRATION_BATCH
) -> torch.nn.Module:
    """A program in int8: weights channel by channel, activations by what they take on calibration images.

    Args:
        quantizer: of torchao's kind: which operators, and how.
        images: (N, 3, H, W), normalised.
    """
    pt2e = importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
    prepared = pt2e.prepare_pt2e(program.module(), quantizer)
    with torch.no_grad():
        for part in torch.split(images, batch):
            prepared(part)
    made: torch.fx.GraphModule = pt2e.convert_pt2e(prepared)
    used = {node.target for node in made.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in made.named_parameters() if name not in used]:  # what became integers
        owner, _, last = name.rpartition(".")
        delattr(made.get_submodule(owner), last)
    return made


def _products() -> Any:
    """A quantizer of torchao's kind: the inputs and weights of all convolutions and matrix products with weights.

    torchao's own for x86 processors looks for larger patterns, and stops at blocks that share a module's source.
    """
    kinds = importlib.import_module("torchao.quantization.pt2e.quantizer")
    observers = importlib.import_module("torchao.quantization.pt2e")
    ranges = {"is_dynamic": False, "observer_or_fake_quant_ctr": observers.MinMaxObserver.with_args(eps=2**-12)}
    given = kinds.QuantizationSpec(
        dtype=torch.uint8, quant_min=0, quant_max=255, qscheme=torch.per_tensor_affine, **ranges
    )
    weight = kinds.QuantizationSpec(
        dtype=torch.int8,
        quant_min=-127,
        quant_max=127,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
        observer_or_fake_quant_ctr=observers.PerChannelMinMaxObserver.with_args(eps=2**-12),
    )
    wanted = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)

    class Products(kinds.Quantizer):  # type: ignore[misc, name-defined]
        def annotate(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
            for node in model.graph.nodes:
                if node.target in wanted and node.args[1].op == "get_attr":
                    node.meta["quantization_annotation"] = kinds.QuantizationAnnotation(
                        input_qspec_map={node.args[0]: given, node.args[1]: weight}, _annotated=True
                    )
            return model

        def validate(self, model: torch.fx.GraphModule) -> None:
            """Everything that was annotated is legal."""

    return Products()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the exporter's own messages off the screen; errors still arrive as exceptions."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export", "torchao", "executorch")
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
