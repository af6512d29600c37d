"""Exponential moving average of a network's weights: what is evaluated when the recipe has `ema_decay`."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class AveragedWeights:
    """Keeps a copy of a network whose parameters follow the trained ones slowly.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that the random start is forgotten quickly.
    Buffers (BatchNorm statistics) are averages already: the trained network's own.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._trained = network
        self._averaged = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0
        self._averages: list[Tensor] = list(self._averaged.parameters())
        self._weights: list[Tensor] = list(network.parameters())

    @property
    def network(self) -> nn.Module:
        """The averaged network as it is now."""
        for mine, theirs in zip(self._averaged.modules(), self._trained.modules(), strict=True):
            mine._buffers.update(theirs._buffers)
        return self._averaged

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the network's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._averages, self._weights, 1.0 - decay)

    def state_dict(self) -> dict[str, Tensor | int]:
        """Averaged weights and `updates`."""
        return {**self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Restores `state_dict`."""
        weights = dict(state)
        self.updates = int(weights.pop("updates"))
        self.network.load_state_dict(weights)
