"""RAGA: relation-aware global attention (Zhang et al., CVPR 2020), gates from each node's relations to all others.

Nodes are positions (S) or channels (C); the same module serves both with the roles swapped. The relations enter a
1x1 convolution linearly, so the fast form never makes the nodes x nodes matrix G = theta^T phi:
W [G^T; G] = (W1 phi^T) theta + (W2 theta^T) phi.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nas.errors import SpaceError
from nas.networks.blocks.base import AttentionBlock, Form, as_map, hidden_channels
from nas.networks.shapes import FeatureShape
from nas.spaces.blocks import BLOCKS, BlockSpec

_RATIO = 8


class RelationAwareAttention(AttentionBlock):
    """out = s(spatial gate) * x, then s(channel gate) * out; `mode: sc|s|c`.

    Parameters depend on the number of positions, so an instance fits one input size and refuses others.
    """

    spec: ClassVar[BlockSpec] = BLOCKS["raga"]
    params_text = "S: 3(Cd + 2d) + 2Ne + 2e + (1+e)h + 2h + h + 2, d = C/8, e = N/8, h = (1+e)/8; C: C and N swapped"
    macs_text = "S: 3CdN + (1+e)hN + hN + (N²d + 2N²e plain, 4Nde fast); C: C and N swapped"
    forms: ClassVar[tuple[Form, ...]] = ("fast", "plain")

    def __init__(self, shape: FeatureShape, *, mode: str) -> None:
        super().__init__()
        self.shape = shape
        self.spatial = RelationGate(shape.channels, shape.positions) if "s" in mode else None
        self.channel = RelationGate(shape.positions, shape.channels) if "c" in mode else None

    def forward(self, x: Tensor) -> Tensor:
        """Scales positions, channels or both of (B, C, H, W); raises `SpaceError` for another C, H or W."""
        self._check(x)
        if self.spatial is not None:
            x = x * as_map(self.to_gate(self.spatial(x.flatten(2), self.form)), x)
        if self.channel is not None:
            x = x * self.to_gate(self.channel(x.flatten(2).transpose(1, 2), self.form)).transpose(1, 2)[..., None]
        return x

    def open_gates(self) -> None:
        """The last normalisation of each gate starts at scale 0."""
        super().open_gates()
        for gate in (self.spatial, self.channel):
            if gate is not None:
                nn.init.zeros_(gate.norm.weight)

    def _check(self, x: Tensor) -> None:
        shape = self.shape
        if tuple(x.shape[1:]) != (shape.channels, shape.height, shape.width):
            raise SpaceError(
                f"a RAGA block built for {shape} feature maps cannot take {'x'.join(map(str, x.shape[1:]))}",
                "Its parameters depend on the input size: build the network with that input_size.",
            )

    @classmethod
    def tied_to_input_size(cls, **params: Any) -> bool:
        """Always."""
        return True

    @classmethod
    def params_formula(cls, shape: FeatureShape, **params: Any) -> int:
        """See `params_text`."""
        return sum(_gate_params(*sizes) for sizes in _gates(shape, cls.complete(params)["mode"]))

    @classmethod
    def macs_formula(cls, shape: FeatureShape, form: Form = "plain", **params: Any) -> int:
        """See `macs_text`."""
        return sum(_gate_macs(*sizes, form) for sizes in _gates(shape, cls.complete(params)["mode"]))


class RelationGate(nn.Module):
    """A gate a node, from its own features and its relations to all nodes: (B, F, M) to (B, 1, M), before the sigmoid.

    Attributes:
        embed: theta, phi and g in one: F -> 3F/8.
        compare: relations 2M -> M/8.
        gate: (1 + M/8) -> (1 + M/8)/8 -> 1.
    """

    def __init__(self, features: int, nodes: int) -> None:
        super().__init__()
        embedding, relations = hidden_channels(features, _RATIO), hidden_channels(nodes, _RATIO)
        hidden = hidden_channels(1 + relations, _RATIO)
        self.embed = _conv_norm(features, 3 * embedding)
        self.compare = nn.Conv1d(2 * nodes, relations, 1, bias=False)
        self.compare_norm = nn.BatchNorm1d(relations)
        self.hidden = _conv_norm(1 + relations, hidden)
        self.gate = _conv_norm(hidden, 1)

    @property
    def norm(self) -> nn.BatchNorm1d:
        """The last normalisation."""
        norm = self.gate[1]
        assert isinstance(norm, nn.BatchNorm1d)
        return norm

    def forward(self, x: Tensor, form: Form) -> Tensor:
        """(B, F, M) to (B, 1, M)."""
        theta, phi, own = torch.relu(self.embed(x)).chunk(3, 1)
        relations = self._relations_fast(theta, phi) if form == "fast" else self._relations_plain(theta, phi)
        related = torch.relu(self.compare_norm(relations))
        joint = torch.cat((own.mean(1, keepdim=True), related), 1)
        gate: Tensor = self.gate(torch.relu(self.hidden(joint)))
        return gate

    def _relations_plain(self, theta: Tensor, phi: Tensor) -> Tensor:
        """(B, d, M) each to (B, M/8, M)."""
        relations = theta.transpose(1, 2) @ phi
        compared: Tensor = self.compare(torch.cat((relations.transpose(1, 2), relations), 1))
        return compared

    def _relations_fast(self, theta: Tensor, phi: Tensor) -> Tensor:
        incoming, outgoing = self.compare.weight[:, :, 0].chunk(2, 1)
        return (incoming @ phi.transpose(1, 2)) @ theta + (outgoing @ theta.transpose(1, 2)) @ phi


def _conv_norm(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs))


def _gates(shape: FeatureShape, mode: str) -> list[tuple[int, int]]:
    """(features, nodes) of each gate of a mode."""
    spatial, channel = (shape.channels, shape.positions), (shape.positions, shape.channels)
    return [spatial] * ("s" in mode) + [channel] * ("c" in mode)


def _gate_params(features: int, nodes: int) -> int:
    d, e = hidden_channels(features, _RATIO), hidden_channels(nodes, _RATIO)
    h = hidden_channels(1 + e, _RATIO)
    return 3 * (features * d + 2 * d) + 2 * nodes * e + 2 * e + (1 + e) * h + 2 * h + h + 2


def _gate_macs(features: int, nodes: int, form: Form) -> int:
    d, e = hidden_channels(features, _RATIO), hidden_channels(nodes, _RATIO)
    h = hidden_channels(1 + e, _RATIO)
    related = 4 * nodes * d * e if form == "fast" else nodes * nodes * (d + 2 * e)
    return 3 * features * d * nodes + related + ((1 + e) * h + h) * nodes
