"""The ways a network is run: one module a backend, one table of them.

A backend makes a `Session` from a network; timing, isolation and statistics are the same for all and live in
`nas.latency.measuring`. Backends import their library only when asked.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from nas.errors import LatencyError, SpaceError
from nas.latency.backends.base import LatencyBackend, Session
from nas.latency.protocol import LatencyProtocol
from nas.spaces.plugins import find_part

BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        "eager": "nas.latency.backends.eager:Eager",
        "compile": "nas.latency.backends.compiled:Compile",
        "cuda_graphs": "nas.latency.backends.cuda_graphs:CudaGraphs",
        "onnxruntime": "nas.latency.backends.onnx_runtime:OnnxRuntime",
        "onnxruntime-tensorrt": "nas.latency.backends.onnx_runtime:OnnxRuntimeTensorRT",
        "tensorrt": "nas.latency.backends.tensorrt:TensorRT",
        "openvino": "nas.latency.backends.openvino:OpenVino",
    }
)
"""Name -> module and class."""


def get_backend(name: str) -> LatencyBackend:
    """The backend of that name; a `LatencyError` lists the known ones, or says why one's own is no backend."""
    if name not in BACKENDS:
        return _own(name)
    module, _, kind = BACKENDS[name].partition(":")
    backend: LatencyBackend = getattr(importlib.import_module(module), kind)()
    return backend


def _own(name: str) -> LatencyBackend:
    """A backend of one's own: a class without arguments, `module:Class` or an entry point."""
    try:
        made: LatencyBackend = find_part("latency backend", name, BACKENDS)()
    except SpaceError as error:
        raise LatencyError(error.message, error.hint) from error
    except TypeError as error:
        raise LatencyError(f"latency backend {name} cannot be made without arguments: {error}") from error
    if missing := [what for what in ("unavailable", "versions", "open") if not callable(getattr(made, what, None))]:
        raise LatencyError(
            f"latency backend {name} has no {' and no '.join(missing)}", "see docs/how-to/own-latency-backend.md"
        )
    return made


def available_backends(device: str = "cpu") -> dict[str, str | None]:
    """Every backend with None when it can measure on that device here, else the reason why not."""
    return {name: unavailable(LatencyProtocol(device=device, backend=name)) for name in BACKENDS}


def unavailable(protocol: LatencyProtocol) -> str | None:
    """Why the protocol's backend cannot measure on its device here, or None when it can."""
    return get_backend(protocol.backend).unavailable(protocol)


__all__ = ["BACKENDS", "LatencyBackend", "Session", "available_backends", "get_backend", "unavailable"]
