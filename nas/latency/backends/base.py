"""What every backend offers, and what the PyTorch ones share.

A new backend is a module with `make(name)` and a line in `nas.latency.backends.BACKENDS`:

    class Mine:
        name = "mine"
        def unavailable(self, protocol): return None          # or a sentence that says why not
        def versions(self): return {"mine": "1.0"}
        def open(self, subject, protocol, build): return MySession(...)
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from nas.errors import LatencyError
from nas.latency.device_agent.timing import clocked
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import Subject, sample_input, torch_dtype

if TYPE_CHECKING:
    import torch
    from torch import nn


class Session(Protocol):
    """One build of one network, ready to run.

    A session may also have `read_ms()`, milliseconds of one batch by the device's own clock; `run` is timed from here
    otherwise.
    """

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

    from nas.data.devices import usable_device

    try:
        usable_device(protocol.device, LatencyError)
    except LatencyError as error:
        return error.message
    index = torch.device(protocol.device).index or 0
    major, minor = torch.cuda.get_device_capability(index)
    if protocol.precision == "bf16" and major < 8:
        return f"bf16 needs compute capability 8.0, this card has {major}.{minor}"
    if protocol.tf32 and protocol.precision == "fp32" and major < 8:
        return f"TF32 needs compute capability 8.0, this card has {major}.{minor}"
    return None


def cuda_versions() -> dict[str, str]:
    """Versions of CUDA and cuDNN as PyTorch uses them; empty on a machine without."""
    import torch

    if not torch.cuda.is_available():
        return {}
    cudnn: object = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {"cuda": str(torch.version.cuda), "cudnn": str(cudnn)}


def reader(session: Session) -> Callable[[], float]:
    """A function that runs one batch of a session and returns its milliseconds."""
    read: Callable[[], float] = getattr(session, "read_ms", None) or clocked(session.run)
    return read


@contextlib.contextmanager
def numerics(protocol: LatencyProtocol) -> Iterator[None]:
    """PyTorch's switches of a GPU set as the protocol says, and set back: what was trained before must not show.

    TF32 in convolutions and in matrix products is one choice here (PyTorch's defaults differ); cuDNN takes its usual
    algorithms, deterministic or not.
    """
    if not protocol.on_gpu:
        yield
        return
    import torch

    from nas.data.devices import tf32

    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    enabled, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    cudnn.benchmark, cudnn.deterministic = False, False
    torch.use_deterministic_algorithms(False)
    torch.cuda.empty_cache()  # engines find the card as they would in a process of their own
    try:
        with tf32(bool(protocol.resolved().tf32)):
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


def load_network(subject: Subject, protocol: LatencyProtocol) -> tuple[nn.Module, torch.Tensor]:
    """The network on its device in its precision, and the batch to run it with."""
    import torch

    own = protocol.resolved()
    network = subject.make(own).to(device=own.device, dtype=torch_dtype(own.precision))
    if own.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network.eval(), sample_input(own, own.device)
