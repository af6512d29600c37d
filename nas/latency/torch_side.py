"""What PyTorch does for a measurement: the networks and batches that are timed, and its switches set and set back.

The rest of this room names networks and keeps figures without loading PyTorch.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.fx.experimental import optimization

from nas.data.devices import tf32, usable_device
from nas.errors import LatencyError
from nas.latency.device_agent.machine import usable_cpus
from nas.latency.protocol import INT8, LatencyProtocol
from nas.latency.subject import Subject
from nas.networks import ReidNetwork, build_network, fold_batchnorm
from nas.spaces import Candidate

INPUT_SEED = 0


def no_cuda(protocol: LatencyProtocol) -> str | None:
    """Why a CUDA device cannot be used here, or None when it can or is not asked for."""
    if not protocol.on_gpu:
        return None
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
    if not torch.cuda.is_available():
        return {}
    cudnn: object = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {"cuda": str(torch.version.cuda), "cudnn": str(cudnn)}


@contextlib.contextmanager
def numerics(protocol: LatencyProtocol) -> Iterator[None]:
    """PyTorch's threads of a CPU, or its switches of a GPU, set as the protocol says, and set back.

    TF32 in convolutions and in matrix products is one choice here (PyTorch's defaults differ); cuDNN takes its usual
    algorithms, deterministic or not.
    """
    if not protocol.on_gpu:
        threads = torch.get_num_threads()
        torch.set_num_threads(protocol.threads or usable_cpus())
        try:
            yield
        finally:
            torch.set_num_threads(threads)
        return
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
    own = protocol.resolved()
    network = subject.make(own).to(device=own.device, dtype=torch_dtype(own.precision))
    if own.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network.eval(), sample_input(own, own.device)


def network_of(candidate: Candidate, protocol: LatencyProtocol) -> nn.Module:
    """A candidate's network in evaluation mode, its normalisation folded where the protocol says so."""
    network = build_network(
        candidate,
        input_size=protocol.input,
        form="plain" if protocol.form == "plain" else "fast",
        seed=0,
        **(protocol.head.arguments() if protocol.head else {}),
    ).eval()
    network = fold_batchnorm(network) if protocol.fold_batchnorm else network
    return network if protocol.heads == 1 else _SharedTrunk(network, protocol.heads).eval()


class _SharedTrunk(nn.Module):
    """One trunk for several tasks: a network whose last map goes through other heads like its own, too."""

    def __init__(self, network: ReidNetwork, heads: int) -> None:
        super().__init__()
        self.network = network
        self.others = nn.ModuleList(
            nn.Sequential(*copy.deepcopy((network.pool, network.bnneck))) for _ in range(heads - 1)
        )
        generator = torch.Generator().manual_seed(INPUT_SEED)
        for values in self.others.state_dict().values():  # equal heads would be computed once by some runtimes
            if values.is_floating_point():
                values.mul_(1 + 0.1 * torch.rand(values.shape, generator=generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to the embeddings of all heads, side by side, (B, heads * D)."""
        features = self.network.feature_map(images)
        own = self.network.bnneck(self.network.pool(features))
        return torch.cat([own, *(head(features) for head in self.others)], 1)


def network_from(make: Callable[[], nn.Module], protocol: LatencyProtocol) -> nn.Module:
    """The same of what a function makes."""
    network = make().eval()
    return fold_any(network) if protocol.fold_batchnorm else network


def fold_any(network: nn.Module) -> nn.Module:
    """Any network with normalisation fused into its convolutions where torch.fx can trace it, else the network."""
    try:
        return optimization.fuse(copy.deepcopy(network))
    except TimeoutError:  # of whoever limits the measurement
        raise
    except Exception:  # control flow that cannot be traced: timed as it is
        return network


def sample_input(protocol: LatencyProtocol, device: str | torch.device = "cpu") -> torch.Tensor:
    """The batch of the PyTorch backends: normal noise, (B, 3, H, W), in the protocol's precision."""
    generator = torch.Generator().manual_seed(INPUT_SEED)
    images = torch.randn(protocol.batch, 3, *protocol.input, generator=generator)
    images = images.to(device=device, dtype=torch_dtype(protocol.precision))
    return images.contiguous(memory_format=torch.channels_last) if protocol.channels_last else images


def torch_dtype(precision: str) -> torch.dtype:
    """The torch dtype of a precision; of int8, that of the network before it is quantised, and of its input."""
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, INT8: torch.float32}[precision]


def card_properties(index: int) -> object:
    """What torch knows of a card; None where it sees no such card."""
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        return None
    return torch.cuda.get_device_properties(index)
