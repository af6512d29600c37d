"""The ways a network is run: one module a backend, one table of them.

A backend makes a `Session` from a network; timing, isolation and statistics are the same for all and live in
`nas.latency.measuring`. Backends import their library only when asked.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from nas.errors import LatencyError, unknown_name
from nas.latency.backends.base import LatencyBackend, Session
from nas.latency.protocol import LatencyProtocol

BACKENDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "eager": ("nas.latency.backends.eager", "PyTorch, operation by operation"),
        "compile": ("nas.latency.backends.compiled", "PyTorch, torch.compile (Inductor)"),
        "cuda_graphs": ("nas.latency.backends.cuda_graphs", "PyTorch, recorded as one CUDA graph"),
        "onnxruntime": ("nas.latency.backends.onnx_runtime", "ONNX Runtime, CPU or CUDA provider"),
        "onnxruntime-tensorrt": ("nas.latency.backends.onnx_runtime", "ONNX Runtime, TensorRT provider"),
        "tensorrt": ("nas.latency.backends.tensorrt", "TensorRT engine"),
        "openvino": ("nas.latency.backends.openvino", "OpenVINO, for Intel processors"),
    }
)
"""Name -> module with a function `make(name)`, and a title."""


def get_backend(name: str) -> LatencyBackend:
    """The backend of that name.

    Raises:
        LatencyError: for an unknown name; lists the known ones.
    """
    if name not in BACKENDS:
        raise LatencyError(unknown_name("latency backend", name, BACKENDS))
    backend: LatencyBackend = importlib.import_module(BACKENDS[name][0]).make(name)
    return backend


def available_backends(device: str = "cpu") -> dict[str, str | None]:
    """Every backend with None when it can measure on that device here, else the reason why not."""
    return {name: unavailable(LatencyProtocol(device=device, backend=name)) for name in BACKENDS}


def unavailable(protocol: LatencyProtocol) -> str | None:
    """Why the protocol's backend cannot measure on its device here, or None when it can."""
    return get_backend(protocol.backend).unavailable(protocol)


__all__ = ["BACKENDS", "LatencyBackend", "Session", "available_backends", "get_backend", "unavailable"]
