"""OpenVINO: compiled for the processor it runs on, from an ONNX file. Made for Intel's, runs on other x86 ones too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.errors import LatencyError
from nas.latency.backends.base import Session, installed
from nas.latency.device_agent.machine import usable_cpus
from nas.latency.onnx_file import exported
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import Subject
from nas.latency.torch_side import sample_input

if TYPE_CHECKING:
    import openvino

PRECISION = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}


class OpenVino:
    """A network compiled by OpenVINO."""

    name = "openvino"

    def unavailable(self, protocol: LatencyProtocol) -> str | None:
        """The packages, and a CPU to run on."""
        if protocol.on_gpu:
            return "OpenVINO measures on the CPU here"
        missing = installed("onnx", "openvino")
        return f"{missing} (pip install 'nas-reid[latency,openvino]')" if missing else None

    def versions(self) -> dict[str, str]:
        """OpenVINO's own build number."""
        import openvino

        return {"openvino": str(openvino.get_version())}

    def open(self, subject: Subject, protocol: LatencyProtocol, build: int) -> Session:
        """Compiles for latency: one stream, all threads on it."""
        return OpenVinoSession(subject, protocol)


class OpenVinoSession:
    """One compiled network and its infer request."""

    def __init__(self, subject: Subject, protocol: LatencyProtocol) -> None:
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": PRECISION[protocol.precision],
            "INFERENCE_NUM_THREADS": protocol.threads or usable_cpus(),
        }
        # The file stays in fp32: OpenVINO takes its precision from the hint.
        with exported(subject, protocol, precision="fp32") as path:
            compiled = openvino.Core().compile_model(path, "CPU", settings)
        _require_precision(compiled, protocol.precision)
        self._request: openvino.InferRequest | None = compiled.create_infer_request()
        self._request.set_input_tensor(openvino.Tensor(sample_input(protocol).float().numpy()))

    def run(self) -> None:
        """One batch."""
        assert self._request is not None
        self._request.infer()

    def peak_memory_mb(self) -> float | None:
        """Not told by OpenVINO."""
        return None

    def close(self) -> None:
        """Drops the compiled network."""
        self._request = None


def _require_precision(compiled: openvino.CompiledModel, precision: str) -> None:
    """Refuses a network that runs in another precision than asked: in fp32 on a processor without fp16 units."""
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if used != PRECISION[precision]:
        raise LatencyError(f"OpenVINO would run in {used} on this processor, not in {PRECISION[precision]}")
