"""ONNX Runtime with its CPU, CUDA or TensorRT provider, from an ONNX file made for the measurement."""

from __future__ import annotations

from nas.latency.backends.base import Session, installed
from nas.latency.device_agent.engines import onnx_provider
from nas.latency.onnx_file import EngineSession
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import Subject


class OnnxRuntime:
    """A network in ONNX Runtime, with its CPU or CUDA provider."""

    name, _tensorrt = "onnxruntime", False

    def unavailable(self, protocol: LatencyProtocol) -> str | None:
        """The packages, the provider, and a number format it can be fed with."""
        missing = installed("onnx", "onnxruntime")
        if missing:
            return f"{missing} (pip install 'nas-reid[latency]')"
        if self._tensorrt and not protocol.on_gpu:
            return "TensorRT needs a CUDA device"
        if protocol.precision == "bf16":
            return "ONNX Runtime is measured in fp32, fp16 or int8"
        import onnxruntime

        wanted, known = onnx_provider(protocol.device, self._tensorrt)[0], onnxruntime.get_available_providers()
        return None if wanted in known else f"this ONNX Runtime has no {wanted}, only {', '.join(known)}"

    def versions(self) -> dict[str, str]:
        """Nothing beyond the packages."""
        return {}

    def open(self, subject: Subject, protocol: LatencyProtocol, build: int) -> Session:
        """A session on a freshly read file."""
        return EngineSession(subject, protocol)


class OnnxRuntimeTensorRT(OnnxRuntime):
    """A network in ONNX Runtime with its TensorRT provider."""

    name, _tensorrt = "onnxruntime-tensorrt", True
