"""`torch.compile` with Inductor: compiled anew for every build, weights frozen into the code on a CPU.

Freezing lets Inductor pack the weights as a deployed network would have them; without it the compiled form of a
convolutional network is little faster than the eager one on a CPU. Several sessions may be open at once (a network
and its reference): the compiled code of all goes when the last is closed, since forgetting it earlier would have the
others compiled again while they are timed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from torch._inductor import config
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler

from nas.latency.backends.base import Session, installed
from nas.latency.backends.eager import OfTorch, TorchSession, allocated_before
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import Subject
from nas.latency.torch_side import load_network, no_cuda


class Compile(OfTorch):
    """The network compiled by Inductor."""

    name = "compile"

    def unavailable(self, protocol: LatencyProtocol) -> str | None:
        """A CPU needs a C++ compiler, a GPU needs Triton."""
        if protocol.on_gpu:
            return no_cuda(protocol) or installed("triton") or _triton_needs()
        return None if _has_compiler() else "torch.compile on a CPU needs a C++ compiler (g++ or clang++)"

    def open(self, subject: Subject, protocol: LatencyProtocol, build: int) -> Session:
        """Compiles; the first batch is run here so that compiling counts as building."""
        if not CompiledSession.open_sessions:
            torch._dynamo.reset()
        before = allocated_before(protocol)
        network, images = load_network(subject, protocol)
        compiled = torch.compile(network)
        # Later builds must not be read from Inductor's cache: their spread is what they are for.
        with _settings(anew=build > 0, freeze=not protocol.on_gpu), torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # among others that the caches are off, which is the purpose
            compiled(images)
        return CompiledSession(network, images, compiled, before)


class CompiledSession(TorchSession):
    """A compiled network; the last one closed has all compiled code forgotten."""

    open_sessions: ClassVar[int] = 0

    def __init__(
        self, network: nn.Module, images: torch.Tensor, compiled: Callable[[torch.Tensor], object], before: int
    ) -> None:
        super().__init__(network, images, compiled, before)
        CompiledSession.open_sessions += 1

    def close(self) -> None:
        """Drops network and compiled code."""
        if self._network is not None:
            CompiledSession.open_sessions -= 1
        super().close()
        if not CompiledSession.open_sessions:
            torch._dynamo.reset()


@contextlib.contextmanager
def _settings(*, anew: bool, freeze: bool) -> Iterator[None]:
    with config.patch(force_disable_caches=anew, freezing=freeze):
        yield


def _triton_needs() -> str | None:
    """What Triton lacks to build its launchers: a C compiler and Python's headers; None when both are there."""
    if not any(shutil.which(name) for name in (os.environ.get("CC", ""), "cc", "gcc", "clang") if name):
        return "Triton needs a C compiler (gcc or clang)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "Triton needs Python's headers (Python.h, package python3-dev)"
    return None


def _has_compiler() -> bool:
    try:
        return bool(get_cpp_compiler())
    except (InvalidCxxCompiler, OSError):
        return False
