"""The eager network recorded as one CUDA graph: its kernels without the time Python needs to launch them."""

from __future__ import annotations

from nas.latency.backends.base import LatencyBackend, Session, cuda_versions, load_network, no_cuda
from nas.latency.backends.eager import TorchSession
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import Subject

WARMUP_BEFORE_CAPTURE = 3


class CudaGraphs:
    """The network as a recorded graph."""

    name = "cuda_graphs"

    def unavailable(self, protocol: LatencyProtocol) -> str | None:
        """Graphs exist on CUDA devices only."""
        return no_cuda(protocol) if protocol.on_gpu else "CUDA graphs need a CUDA device"

    def versions(self) -> dict[str, str]:
        """CUDA and cuDNN."""
        return cuda_versions()

    def open(self, subject: Subject, protocol: LatencyProtocol, build: int) -> Session:
        """Runs a few batches on a side stream, as capturing asks for, then records one."""
        import torch

        network, images = load_network(subject, protocol)
        side = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(images.device))
        with torch.inference_mode(), torch.cuda.stream(side):
            for _ in range(WARMUP_BEFORE_CAPTURE):
                network(images)
        torch.cuda.current_stream(images.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            network(images)
        return TorchSession(network, images, lambda _: graph.replay())


def make(name: str) -> LatencyBackend:
    """The backend."""
    return CudaGraphs()
