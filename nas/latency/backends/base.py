"""What every backend offers, and what the PyTorch ones share.

A new backend is a module with `make(name)` and a line in `nas.latency.backends.BACKENDS`:

    class Mine:
        name = "mine"
        def unavailable(self, protocol): return None          # or a sentence that says why not
        def versions(self): return {"mine": "1.0"}
        def open(self, subject, protocol, build): return MySession(...)
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Protocol

from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import Subject, sample_input, torch_dtype

if TYPE_CHECKING:
    import torch
    from torch import nn


class Session(Protocol):
    """One build of one network, ready to run."""

    def run(self) -> None:
        """Runs one batch and returns when the device has finished it."""

    def peak_memory_mb(self) -> float | None:
        """Memory the network needs while it runs, in MB, or None when this backend cannot tell."""

    def close(self) -> None:
        """Frees what the session holds."""


class LatencyBackend(Protocol):
    """A way to run networks."""

    name: str

    def unavailable(self, protocol: LatencyProtocol) -> str | None:
        """Why a protocol cannot be measured here, or None when it can."""

    def versions(self) -> dict[str, str]:
        """Versions of what this backend runs on, beyond the Python packages."""

    def open(self, subject: Subject, protocol: LatencyProtocol, build: int) -> Session:
        """Builds the network anew, as the `build`-th of the protocol's builds (from 0)."""


def installed(*modules: str) -> str | None:
    """Why a backend is not available when one of its modules is not installed, or None."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} is not installed" if missing else None


def no_cuda(protocol: LatencyProtocol) -> str | None:
    """Why a CUDA device cannot be used here, or None when it can or is not asked for."""
    if not protocol.on_gpu:
        return None
    import torch

    if not torch.cuda.is_available():
        return "no CUDA device is visible to PyTorch"
    index = torch.device(protocol.device).index or 0
    return None if index < torch.cuda.device_count() else f"there is no device {protocol.device}"


def cuda_versions() -> dict[str, str]:
    """Versions of CUDA and cuDNN as PyTorch uses them; empty on a machine without."""
    import torch

    if not torch.cuda.is_available():
        return {}
    cudnn: object = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {"cuda": str(torch.version.cuda), "cudnn": str(cudnn)}


def load_network(subject: Subject, protocol: LatencyProtocol) -> tuple[nn.Module, torch.Tensor]:
    """The network on its device in its precision, and the batch to run it with."""
    import torch

    network = subject.make(protocol).to(device=protocol.device, dtype=torch_dtype(protocol.precision))
    if protocol.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network.eval(), sample_input(protocol, protocol.device)
