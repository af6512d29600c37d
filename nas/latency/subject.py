"""What is timed: a network made anew for each build, from a candidate or from a function.

Left to the backends: what they make of it. Left to `nas.networks`: building, folding, exporting.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nas.latency.protocol import LatencyProtocol
from nas.spaces import Candidate, as_candidate

if TYPE_CHECKING:
    import torch
    from torch import nn

INPUT_SEED = 0


@dataclass(frozen=True)
class Subject:
    """A network to time.

    Attributes:
        name: for people; the notation of a candidate.
        make: builds the network, in evaluation mode, for float images (B, 3, H, W).
        candidate: the candidate, when it is one.
    """

    name: str
    make: Callable[[LatencyProtocol], nn.Module]
    candidate: Candidate | None = None


def as_subject(what: Candidate | str | Callable[[], nn.Module] | Subject) -> Subject:
    """A subject from a candidate, its notation, or a function that makes a network."""
    if isinstance(what, Subject):
        return what
    if isinstance(what, (Candidate, str)):
        candidate = as_candidate(what).architecture
        return Subject(candidate.notation, lambda protocol: _from_candidate(candidate, protocol), candidate)
    name = getattr(what, "__name__", type(what).__name__)
    return Subject(name, lambda protocol: _from_factory(what, protocol))


def _from_candidate(candidate: Candidate, protocol: LatencyProtocol) -> nn.Module:
    from nas.networks import build_network, fold_batchnorm

    network = build_network(candidate, input_size=protocol.input, form=_form(protocol.form), seed=0).eval()
    return fold_batchnorm(network) if protocol.fold_batchnorm else network


def _form(name: str) -> Literal["fast", "plain"]:
    return "plain" if name == "plain" else "fast"


def _from_factory(make: Callable[[], nn.Module], protocol: LatencyProtocol) -> nn.Module:
    network = make().eval()
    return fold_any(network) if protocol.fold_batchnorm else network


def fold_any(network: nn.Module) -> nn.Module:
    """Any network with normalisation fused into its convolutions where torch.fx can trace it, else the network."""
    from torch.fx.experimental import optimization

    try:
        return optimization.fuse(copy.deepcopy(network))
    except TimeoutError:  # of whoever limits the measurement
        raise
    except Exception:  # control flow that cannot be traced: timed as it is
        return network


def sample_input(protocol: LatencyProtocol, device: str | torch.device = "cpu") -> torch.Tensor:
    """The batch of the PyTorch backends: normal noise, (B, 3, H, W), in the protocol's precision."""
    import torch

    generator = torch.Generator().manual_seed(INPUT_SEED)
    images = torch.randn(protocol.batch, 3, *protocol.input, generator=generator)
    images = images.to(device=device, dtype=torch_dtype(protocol.precision))
    return images.contiguous(memory_format=torch.channels_last) if protocol.channels_last else images


def torch_dtype(precision: str) -> Any:
    """The torch dtype of a precision."""
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
