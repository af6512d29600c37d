"""TensorRT engines, where TensorRT and a GPU are: built from the ONNX form, for batches up to 64.

An engine fits the GPU and the TensorRT version it was built with; take the ONNX file to other machines. An engine
file has no room for metadata: they stand beside it in `<name>.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.errors import TrainingError
from nas.networks.export.deployed import DeployedNetwork
from nas.networks.export.metadata import INPUT_NAME, OUTPUT_NAME
from nas.networks.export.onnx_file import OPSET, OnnxFile

BATCHES = (1, 16, 64)  # smallest, best and largest


@dataclass(frozen=True)
class EngineFile:
    """`FORMATS["tensorrt"]`; `opset` is that of the ONNX form it is built from."""

    opset: int = OPSET
    suffix: str = ".engine"
    batch: int | None = None
    precisions: tuple[str, ...] = ("fp32", "fp16")

    def unavailable(self, precision: str) -> str | None:
        """Needs the package, a CUDA device, and what ONNX needs."""
        if find_spec("tensorrt") is None:
            return "TensorRT is not installed (pip install tensorrt, or part of JetPack); export to onnx instead"
        if not torch.cuda.is_available():
            return "TensorRT builds engines on the GPU that runs them, and no CUDA device is available"
        return OnnxFile().unavailable(precision)

    def write(
        self, network: DeployedNetwork, path: Path, metadata: Mapping[str, str], calibration: Tensor | None = None
    ) -> None:
        """Builds an engine in the precision of the network's weights."""
        import tensorrt

        onnx_path = path.with_suffix(".onnx")
        OnnxFile(self.opset).write(network, onnx_path, metadata)
        try:
            path.write_bytes(_build(tensorrt, onnx_path, network))
        finally:
            onnx_path.unlink()
        metadata_path(path).write_text(json.dumps(dict(metadata), indent=2) + "\n")

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """The engine as a function; copies to the GPU and back."""
        import tensorrt

        runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
        context = engine.create_execution_context()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

        def run(images: Tensor) -> Tensor:
            given = images.cuda().contiguous()
            context.set_input_shape(INPUT_NAME, tuple(given.shape))
            found = torch.empty(tuple(context.get_tensor_shape(OUTPUT_NAME)), device="cuda")
            context.set_tensor_address(INPUT_NAME, given.data_ptr())
            context.set_tensor_address(OUTPUT_NAME, found.data_ptr())
            stream.wait_stream(torch.cuda.current_stream())
            context.execute_async_v3(stream.cuda_stream)
            stream.synchronize()
            return found.cpu()

        run.runtime = runtime  # type: ignore[attr-defined] # the engine lives no longer than its runtime
        return run

    def read_metadata(self, path: Path) -> dict[str, str]:
        """The content of the file beside the engine."""
        return {str(key): str(value) for key, value in json.loads(metadata_path(path).read_text()).items()}


def metadata_path(path: Path) -> Path:
    """Where the metadata of an engine stand."""
    return path.with_name(path.name + ".json")


def _build(trt: Any, onnx_path: Path, network: DeployedNetwork) -> bytes:
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    definition = builder.create_network(_creation_flags(trt))
    parser = trt.OnnxParser(definition, trt.Logger(trt.Logger.ERROR))
    if not parser.parse(onnx_path.read_bytes()):
        problems = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise TrainingError(f"TensorRT cannot read {network.network.candidate}: {problems}")
    config = builder.create_builder_config()
    if network.dtype is torch.float16 and hasattr(trt.BuilderFlag, "FP16"):
        config.set_flag(trt.BuilderFlag.FP16)
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT_NAME, *((batch, 3, *network.network.input_size) for batch in BATCHES))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(definition, config)
    if engine is None:
        raise TrainingError(f"TensorRT could not build an engine for {network.network.candidate}")
    return bytes(engine)


def _creation_flags(trt: Any) -> int:
    """Explicit batch, where a version still asks."""
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    return 0 if explicit is None else 1 << int(explicit)
