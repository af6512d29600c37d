"""TensorRT: an engine built from an ONNX file, the way the paper's robot runs its networks."""

from __future__ import annotations

import ctypes.util
from importlib import metadata

from nas.latency.backends.base import Session, installed
from nas.latency.gpu import gpu_index, read_gpu
from nas.latency.onnx_file import EngineSession
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import Subject


class TensorRT:
    """A network as a TensorRT engine; each build searches its kernels anew."""

    name = "tensorrt"

    def unavailable(self, protocol: LatencyProtocol) -> str | None:
        """A GPU, the Python packages and the CUDA runtime."""
        if not protocol.on_gpu:
            return "TensorRT needs a CUDA device"
        missing = installed("onnx", "tensorrt")
        if missing:
            return missing
        if protocol.precision == "bf16":
            return "TensorRT is measured in fp32 or fp16"
        if read_gpu(gpu_index(protocol.device) or 0) is None and ctypes.util.find_library("cuda") is None:
            return "no NVIDIA driver was found"
        return None

    def versions(self) -> dict[str, str]:
        """TensorRT's version, also where it came without a package."""
        try:
            return {"tensorrt": metadata.version("tensorrt")}
        except metadata.PackageNotFoundError:
            import tensorrt

            return {"tensorrt": str(tensorrt.__version__)}

    def open(self, subject: Subject, protocol: LatencyProtocol, build: int) -> Session:
        """Builds an engine."""
        return EngineSession(subject, protocol)
