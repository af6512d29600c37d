"""Jobs for devices elsewhere: a network and its reference as small packed ONNX files, their protocol, a checksum.

Weights stay at home. A latency does not depend on their values, so every large weight becomes a reference into a
file of noise that the device makes for itself, scaled about like the weight: a job for a ResNet-50 is some
kilobytes instead of 94 MB. How a job is done is `nas.latency.device_agent`'s, where it lies `nas.latency.exchange`'s.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any

from nas import latency
from nas.errors import LatencyError
from nas.latency.protocol import LatencyProtocol
from nas.spaces import Candidate

ENGINE_BACKENDS = ("onnxruntime", "onnxruntime-tensorrt", "tensorrt")
"""Backends that run from a job's ONNX file; others rebuild the network and need this package on the device."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the oldest time a zip can hold: equal networks make equal bytes


def make_job(
    candidate: Candidate, protocol: LatencyProtocol, device: str, reference: Candidate | None = None
) -> dict[str, Any]:
    """A job as the mailbox keeps it.

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
            model, noise = latency.without_weights(network, protocol)
            listed.append({"notation": network.notation, "file": f"{number}.onnx", "noise": noise})
            archive.writestr(zipfile.ZipInfo(f"{number}.onnx", _EARLIEST), model, zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo("networks.json", _EARLIEST), json.dumps(listed))
    return content.getvalue()


def packed_notations(packed: bytes) -> list[str]:
    """The networks of a packed file: the one to time, and its reference where there is one."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return [str(listed["notation"]) for listed in json.loads(archive.read("networks.json"))]
