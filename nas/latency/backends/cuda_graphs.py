"""The eager network recorded as one CUDA graph: its kernels without the time Python needs to launch them.

The backend that is meant on a GPU when none is named: a forward pass of ResNet-50 is some hundred launches, and eager
would time those. A reading is the mean of several replays between two events of the card's own clock, where one is
too short to be read exactly.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import nn

from nas.errors import LatencyError
from nas.latency.backends.base import Session
from nas.latency.backends.eager import OfTorch, TorchSession, allocated_before
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import Subject
from nas.latency.torch_side import load_network, no_cuda

WARMUP_BEFORE_CAPTURE = 3  # as PyTorch's documentation of CUDA graphs does: libraries choose kernels meanwhile
READING_MS = 2.0  # events resolve half a microsecond and starting a graph takes some: under 1 % of such a reading
MOST_REPLAYS = 50  # networks under 0.04 ms are read a little less exactly


class CudaGraphs(OfTorch):
    """The network as a recorded graph."""

    name = "cuda_graphs"

    def unavailable(self, protocol: LatencyProtocol) -> str | None:
        """Graphs exist on CUDA devices only."""
        return no_cuda(protocol) if protocol.on_gpu else "CUDA graphs need a CUDA device"

    def open(self, subject: Subject, protocol: LatencyProtocol, build: int) -> Session:
        """Runs a few batches on a side stream of the device, as capturing asks for, then records one there."""
        # The current device decides where a graph is captured: on another one it would come out empty.
        with torch.cuda.device(protocol.device), torch.cuda.stream(torch.cuda.Stream()), torch.inference_mode():  # type: ignore[no-untyped-call]
            before = allocated_before(protocol)
            network, images = load_network(subject, protocol)
            for _ in range(WARMUP_BEFORE_CAPTURE):
                network(images)
            torch.cuda.synchronize()
            graph = _captured(network, images, torch.cuda.current_stream(), subject.name)
            return GraphSession(network, images, graph, before)


def _captured(network: nn.Module, images: torch.Tensor, stream: torch.cuda.Stream, name: str) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with torch.cuda.graph(graph, stream=stream):
            network(images)
    if any("graph is empty" in str(warning.message).lower() for warning in told):
        raise LatencyError(f"{name}: CUDA recorded no kernel of it, so there is nothing to time")
    return graph


class GraphSession(TorchSession):
    """A recorded graph, timed by the card's own events."""

    def __init__(self, network: nn.Module, images: torch.Tensor, graph: torch.cuda.CUDAGraph, before: int) -> None:
        super().__init__(network, images, lambda _: graph.replay(), before)
        with torch.cuda.device(images.device):
            self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
        self._replays = 1
        once = self.read_ms()
        self._replays = 1 if once <= 0 else min(MOST_REPLAYS, max(1, math.ceil(READING_MS / once)))

    def read_ms(self) -> float:
        """Milliseconds of a replay, on the card."""
        assert self._forward is not None
        first, last = self._events
        with torch.cuda.device(self._images.device):
            first.record()
            for _ in range(self._replays):
                self._forward(self._images)
            last.record()
            last.synchronize()
        return float(first.elapsed_time(last)) / self._replays
