"""The network as a file holds it: float32 images in, float32 embeddings out, in one precision between."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from nas.networks.network import ReidNetwork

PRECISIONS: Mapping[str, torch.dtype] = MappingProxyType(
    {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
)
"""Precisions of weights by name."""
INT8 = "int8"
"""Written in fp32, then quantised on calibration images (`nas.networks.export.int8`)."""


class DeployedNetwork(nn.Module):
    """A folded network whose weights have one precision, `dtype`."""

    def __init__(self, network: ReidNetwork, precision: str) -> None:
        super().__init__()
        self.dtype = PRECISIONS["fp32" if precision == INT8 else precision]
        self.network = copy.deepcopy(network).to(self.dtype).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to embeddings (B, D), both float32."""
        embedding: Tensor = self.network(images.to(self.dtype))
        return embedding.float()

    def example(self, batch: int = 2) -> Tensor:
        """An input to trace with; two images, because a batch of one would be taken for a constant."""
        return torch.zeros(batch, 3, *self.network.input_size)


class ExportedNetwork(nn.Module):
    """An exported file (`run`) in place of its network, on the CPU: normalised images (B, 3, H, W) to (B, D)."""

    def __init__(self, run: Callable[[Tensor], Tensor], network: ReidNetwork) -> None:
        super().__init__()
        self.run, self.input_size, self.embedding_dim = run, network.input_size, network.embedding_dim
        self.register_parameter("place", nn.Parameter(torch.empty(0)))

    def forward(self, images: Tensor) -> Tensor:
        """What the file says."""
        return self.run(images.contiguous())
