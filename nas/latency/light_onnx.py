"""ONNX files without their weights: every large one becomes a reference into noise that the device makes for itself."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy
import onnx
from onnx import TensorProto, numpy_helper

from nas.latency.device_agent.noise import NOISE_FILE
from nas.latency.onnx_file import export_onnx
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import as_subject
from nas.spaces import Candidate

KEPT_BYTES = 1024
"""Smaller weights stay in the file: a reference takes about as much."""
ALIGNMENT = 4096
"""Parts of external data begin at whole pages, so that runtimes can map them."""


@functools.lru_cache(maxsize=4)  # writing a reference for every network that is timed beside it takes seconds each
def without_weights(candidate: Candidate, protocol: LatencyProtocol) -> tuple[bytes, str | None]:
    """A network as an ONNX file that refers to noise for its large weights, and the parts of that noise."""
    with TemporaryDirectory(prefix="nas-job-") as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(as_subject(candidate), protocol, path)
        model = onnx.load(str(path))
    noise = refer_to_noise(model)
    return model.SerializeToString(), noise


def refer_to_noise(model: Any) -> str | None:
    """Replaces the large floating-point weights of an ONNX model by references into a noise file.

    Returns the parts of that file (`device_agent.noise.noise_file`); None when there is no large weight.
    """
    kinds = {TensorProto.FLOAT: "f32", TensorProto.FLOAT16: "f16"}
    integers = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    scales = {node.input[1] for node in integers}
    large = [t for t in model.graph.initializer if t.data_type in kinds and _bytes(t) > KEPT_BYTES]
    large = [t for t in large if t.name not in scales]  # noise is no scale
    if not large:
        return None
    parts, offset = [kinds[large[0].data_type]], 0
    for tensor in large:
        spread = float(numpy.std(numpy_helper.to_array(tensor).astype(numpy.float64)))
        room = -(-_bytes(tensor) // ALIGNMENT) * ALIGNMENT
        parts.append(f"{_exponent(spread)}:{room}")
        _refer(tensor, offset)
        offset += room
    return " ".join(parts)


def _refer(tensor: Any, offset: int) -> None:
    length = _bytes(tensor)
    for content in ("raw_data", "float_data", "int32_data"):
        tensor.ClearField(content)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", NOISE_FILE), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)


def _bytes(tensor: Any) -> int:
    return int(math.prod(tensor.dims)) * (2 if tensor.data_type == TensorProto.FLOAT16 else 4)


def _exponent(spread: float) -> int:
    """The power of two nearest to a spread; a constant weight counts as a small one."""
    return min(4, max(-14, round(math.log2(spread)))) if spread > 0 else -14
