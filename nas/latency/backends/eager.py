"""PyTorch operation by operation: the backend that is always there.

The session is also what `compile` and `cuda_graphs` time, with another callable inside.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import torch
from torch import nn

from nas.latency.backends.base import Session
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import Subject
from nas.latency.torch_side import cuda_versions, load_network, no_cuda


class TorchSession:
    """A PyTorch callable and its batch.

    Args:
        network: the network the callable was made from; its parameters count as memory.
        forward: what is timed; the network itself when None.
        before: bytes the CUDA allocator had given away before the network was made; what is above them is its.
    """

    def __init__(
        self,
        network: nn.Module,
        images: torch.Tensor,
        forward: Callable[[torch.Tensor], object] | None = None,
        before: int = 0,
    ) -> None:
        self._network: nn.Module | None = network
        self._images = images
        self._forward: Callable[[torch.Tensor], object] | None = network if forward is None else forward
        self._before = before

    def run(self) -> None:
        """One forward pass, waited for."""
        assert self._forward is not None
        with torch.inference_mode():
            self._forward(self._images)
        if self._images.is_cuda:
            torch.cuda.synchronize(self._images.device)

    def peak_memory_mb(self) -> float | None:
        """Weights and activations at their peak: by CUDA's allocator since the build, or one profiled pass on a CPU."""
        if self._images.is_cuda:
            self.run()
            return float(torch.cuda.max_memory_allocated(self._images.device) - self._before) / 1e6
        assert self._network is not None
        weights = sum(tensor.nbytes for tensor in [*self._network.parameters(), *self._network.buffers()])
        activations = peak_of_allocations(self.run)
        return None if activations is None else (weights + self._images.nbytes + activations) / 1e6

    def close(self) -> None:
        """Drops the network and, on a GPU, the allocator's cache."""
        self._network = self._forward = None
        if self._images.is_cuda:
            torch.cuda.empty_cache()


def allocated_before(protocol: LatencyProtocol) -> int:
    """Bytes of the CUDA allocator in use before a network is made; its peak is counted anew from here. 0 on a CPU.

    cuBLAS takes a workspace for each stream at its first product and keeps it: taken here, it is not the network's.
    """
    if not protocol.on_gpu:
        return 0
    with torch.inference_mode():
        square = torch.zeros(64, 64, device=protocol.device)
        square @ square
    del square
    torch.cuda.synchronize(protocol.device)
    torch.cuda.reset_peak_memory_stats(protocol.device)
    return int(torch.cuda.memory_allocated(protocol.device))


def peak_of_allocations(run: Callable[[], None]) -> int | None:
    """The highest sum of live CPU allocations PyTorch makes during one call, in bytes; None when not read."""
    with _quiet_profiler(), torch.autograd.profiler.profile(profile_memory=True, use_kineto=False) as profile:
        run()
    results = profile.kineto_results
    if results is None:
        return None
    live = peak = 0
    for event in results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak or None


@contextlib.contextmanager
def _quiet_profiler() -> Iterator[None]:
    # The profiler's library writes its comings and goings to stderr unless told before its first use.
    name, told = "KINETO_LOG_LEVEL", "KINETO_LOG_LEVEL" in os.environ
    os.environ.setdefault(name, "99")
    try:
        yield
    finally:
        if not told:
            os.environ.pop(name, None)


class OfTorch:
    """What the backends that run in PyTorch share."""

    def versions(self) -> dict[str, str]:
        """CUDA and cuDNN."""
        return cuda_versions()


class Eager(OfTorch):
    """The network as written."""

    name = "eager"

    def unavailable(self, protocol: LatencyProtocol) -> str | None:
        """Only a missing CUDA device stands in the way."""
        return no_cuda(protocol)

    def open(self, subject: Subject, protocol: LatencyProtocol, build: int) -> Session:
        """The network itself."""
        before = allocated_before(protocol)
        return TorchSession(*load_network(subject, protocol), before=before)
