"""`torch.compile` with Inductor: compiled anew for every build, weights frozen into the code on a CPU.

Freezing lets Inductor pack the weights as a deployed network would have them; without it the compiled form of a
convolutional network is little faster than the eager one on a CPU.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from nas.latency.backends.base import LatencyBackend, Session, cuda_versions, installed, load_network, no_cuda
from nas.latency.backends.eager import TorchSession
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import Subject


class Compile:
    """The network compiled by Inductor."""

    name = "compile"

    def unavailable(self, protocol: LatencyProtocol) -> str | None:
        """A CPU needs a C++ compiler, a GPU needs Triton."""
        if protocol.on_gpu:
            return no_cuda(protocol) or installed("triton")
        return None if _has_compiler() else "torch.compile on a CPU needs a C++ compiler (g++ or clang++)"

    def versions(self) -> dict[str, str]:
        """CUDA and cuDNN."""
        return cuda_versions()

    def open(self, subject: Subject, protocol: LatencyProtocol, build: int) -> Session:
        """Compiles; the first batch is run here so that compiling counts as building."""
        import torch

        torch._dynamo.reset()
        network, images = load_network(subject, protocol)
        compiled: Any = torch.compile(network)
        # Later builds must not be read from Inductor's cache: their spread is what they are for.
        with _settings(anew=build > 0, freeze=not protocol.on_gpu), torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # among others that the caches are off, which is the purpose
            compiled(images)
        return CompiledSession(network, images, compiled)


class CompiledSession(TorchSession):
    """A compiled network; forgets the compiled code when closed."""

    def close(self) -> None:
        """Drops network and compiled code."""
        import torch

        super().close()
        torch._dynamo.reset()


@contextlib.contextmanager
def _settings(*, anew: bool, freeze: bool) -> Iterator[None]:
    from torch._inductor import config

    with config.patch(force_disable_caches=anew, freezing=freeze):
        yield


def _has_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return bool(get_cpp_compiler())
    except (InvalidCxxCompiler, OSError):
        return False


def make(name: str) -> LatencyBackend:
    """The backend."""
    return Compile()
