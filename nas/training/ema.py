"""Exponential moving average of a network's weights: what is evaluated when the recipe has `ema_decay`."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class AveragedWeights:
    """Keeps a copy of a network whose parameters follow the trained ones slowly.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that the random start is forgotten quickly.
    Buffers (BatchNorm statistics) are averages already and are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Moves the average towards the network's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages: list[Tensor] = list(self.network.parameters())
        weights: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(averages, weights, 1.0 - decay)
        torch._foreach_copy_(list(self.network.buffers()), list(network.buffers()))

    def state_dict(self) -> dict[str, Tensor | int]:
        """Averaged weights and `updates`."""
        return {**self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Restores `state_dict`."""
        weights = dict(state)
        self.updates = int(weights.pop("updates"))
        self.network.load_state_dict(weights)
