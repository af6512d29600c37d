"""Jobs for devices elsewhere: a network and its reference as small packed ONNX files, their protocol, a checksum.

Weights stay at home. A latency does not depend on their values, so every large weight becomes a reference into a
file of noise that the device makes for itself, scaled about like the weight: a job for a ResNet-50 is some
kilobytes instead of 94 MB. How a job is done is `nas.latency.device_agent`'s, where it lies `nas.latency.exchange`'s.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nas.errors import LatencyError
from nas.latency.device_agent.noise import NOISE_FILE
from nas.latency.onnx_file import export_onnx
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import as_subject
from nas.spaces import Candidate

ENGINE_BACKENDS = ("onnxruntime", "onnxruntime-tensorrt", "tensorrt")
"""Backends that run from a job's ONNX file; others rebuild the network and need this package on the device."""

KEPT_BYTES = 1024
ALIGNMENT = 4096  # parts of external data begin at whole pages, so that runtimes can map them


_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the oldest time a zip can hold: equal networks make equal bytes


def make_job(
    candidate: Candidate, protocol: LatencyProtocol, device: str, reference: Candidate | None = None
) -> dict[str, Any]:
    """A job as the mailbox keeps it.

    Args:
        candidate: the network to time.
        protocol: how.
        device: whom the job is for.
        reference: the network to time in turns with; None: alone.

    Returns:
        `device`, `architecture_id`, `notation`, `protocol_id`, `protocol`, `network` (see `pack`; None for a backend
        that rebuilds the networks) and `sha256` of it.

    Raises:
        LatencyError: when a network cannot be written as ONNX.
    """
    if protocol.load is not None:
        raise LatencyError(
            "load: a network beside is run where this package is, not by a device's agent",
            "leave load out, or measure on the device with `nas worker --measures-for`",
        )
    packed = pack(candidate, protocol, reference) if protocol.backend in ENGINE_BACKENDS else None
    return describe_job(candidate, protocol, device, packed)


def describe_job(
    candidate: Candidate, protocol: LatencyProtocol, device: str, network: bytes | None = None
) -> dict[str, Any]:
    """The entry of a job around its network file; see `make_job`."""
    return {
        "device": device,
        "architecture_id": candidate.architecture.id,
        "notation": candidate.architecture.notation,
        "protocol_id": protocol.id,
        "protocol": protocol.resolved().to_dict(),
        "network": network,
        "sha256": "" if network is None else hashlib.sha256(network).hexdigest(),
    }


def pack(candidate: Candidate, protocol: LatencyProtocol, reference: Candidate | None = None) -> bytes:
    """A zip of the networks as ONNX files without their large weights, and of `networks.json`, which describes them.

    That is a list with `notation`, `file` and `noise` (parts of the file of noise, or None) of the network and of its
    reference. Needs the package `onnx`.
    """
    networks = [candidate.architecture, *([] if reference is None else [reference.architecture])]
    content, listed = io.BytesIO(), []
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, network in enumerate(networks):
            model, noise = _without_weights(network, protocol)
            listed.append({"notation": network.notation, "file": f"{number}.onnx", "noise": noise})
            archive.writestr(zipfile.ZipInfo(f"{number}.onnx", _EARLIEST), model, zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo("networks.json", _EARLIEST), json.dumps(listed))
    return content.getvalue()


def packed_notations(packed: bytes) -> list[str]:
    """The networks of a packed file: the one to time, and its reference where there is one."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return [str(listed["notation"]) for listed in json.loads(archive.read("networks.json"))]


@functools.lru_cache(maxsize=4)  # writing a reference for every network that is timed beside it takes seconds each
def _without_weights(candidate: Candidate, protocol: LatencyProtocol) -> tuple[bytes, str | None]:
    import onnx

    with TemporaryDirectory(prefix="nas-job-") as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(as_subject(candidate), protocol, path)
        model = onnx.load(str(path))
    noise = refer_to_noise(model)
    return model.SerializeToString(), noise


def refer_to_noise(model: Any) -> str | None:
    """Replaces the large floating-point weights of an ONNX model by references into a noise file.

    Returns:
        The parts of the file, for `nas.latency.device_agent.noise.noise_file`; None when there is no large weight.
    """
    import numpy
    from onnx import TensorProto, numpy_helper

    kinds = {TensorProto.FLOAT: "f32", TensorProto.FLOAT16: "f16"}
    large = [t for t in model.graph.initializer if t.data_type in kinds and _bytes(t) > KEPT_BYTES]
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
    from onnx import TensorProto

    length = _bytes(tensor)
    for content in ("raw_data", "float_data", "int32_data"):
        tensor.ClearField(content)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", NOISE_FILE), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)


def _bytes(tensor: Any) -> int:
    from onnx import TensorProto

    return int(math.prod(tensor.dims)) * (2 if tensor.data_type == TensorProto.FLOAT16 else 4)


def _exponent(spread: float) -> int:
    """The power of two nearest to a spread; a constant weight counts as a small one."""
    return min(4, max(-14, round(math.log2(spread)))) if spread > 0 else -14
