"""OSNet (Zhou et al., ICCV 2019) and OSNet-AIN (Zhou et al., TPAMI 2021) without their heads.

A block runs four streams of one to four light 3x3 convolutions beside each other, so of four receptive fields, and adds
them up, each channel weighed by a gate that the streams share. AIN puts instance normalisation into some of the blocks'
residual branches, where the authors' search had put it. Module names are those of torchreid, so that the weights its
model zoo publishes load.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from nas.networks.backbones.resnet import initialise_convolutions
from nas.networks.blocks.base import pool

_STREAMS = 4
_SQUEEZE = 16


class _Layout(NamedTuple):
    channels: tuple[int, int, int, int]  # of the stem and of the three stages
    normalised: tuple[tuple[bool, bool], ...] | None = None  # AIN: which blocks hold instance normalisation


_AIN = ((True, True), (False, True), (True, False))
_LAYOUTS: Mapping[str, _Layout] = MappingProxyType(
    {
        "osnet_x1_0": _Layout((64, 256, 384, 512)),
        "osnet_x0_75": _Layout((48, 192, 288, 384)),
        "osnet_x0_5": _Layout((32, 128, 192, 256)),
        "osnet_x0_25": _Layout((16, 64, 96, 128)),
        "osnet_ain_x1_0": _Layout((64, 256, 384, 512), _AIN),
    }
)


def osnet_trunk(name: str, width: float) -> nn.Sequential:
    """conv1, maxpool, conv2 ... conv5; between stages an average pooling halves the map, in AIN as a module of its own.

    Channels are kept multiples of 4, as each block's four times narrower inside needs.
    """
    layout = _LAYOUTS[name]
    stem, *stages = (4 * max(1, round(channels * width / 4)) for channels in layout.channels)
    first_norm = nn.BatchNorm2d(stem) if layout.normalised is None else nn.InstanceNorm2d(stem, affine=True)
    modules: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False), bn=first_norm, relu=nn.ReLU(inplace=True)
            )
        ),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    inputs = stem
    for number, outputs in enumerate(stages, start=2):
        inside = layout.normalised[number - 2] if layout.normalised else (None, None)
        blocks: list[nn.Module] = [
            OmniScaleBlock(inputs, outputs, inside[0]),
            OmniScaleBlock(outputs, outputs, inside[1]),
        ]
        halving = [nn.Sequential(_pointwise(outputs, outputs), nn.AvgPool2d(2, stride=2))] if number < 4 else []
        modules[f"conv{number}"] = nn.Sequential(*blocks, *([] if layout.normalised else halving))
        if layout.normalised and halving:
            modules[f"pool{number}"] = halving[0]
        inputs = outputs
    modules["conv5"] = _pointwise(inputs, inputs)
    trunk = nn.Sequential(modules)
    initialise_convolutions(trunk)
    return trunk


def _pointwise(inputs: int, outputs: int, *, norm: bool = True, relu: bool = True) -> nn.Sequential:
    """A 1x1 convolution with what follows it, under the names `conv`, `bn` and `relu`."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=nn.Conv2d(inputs, outputs, 1, bias=False))
    if norm:
        layers["bn"] = nn.BatchNorm2d(outputs)
    if relu:
        layers["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


def _stream(channels: int, length: int) -> nn.Sequential:
    """`length` light convolutions: 1x1 over all channels, 3x3 a channel, normalisation."""
    return nn.Sequential(
        *(
            nn.Sequential(
                OrderedDict(
                    conv1=nn.Conv2d(channels, channels, 1, bias=False),
                    conv2=nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
                    bn=nn.BatchNorm2d(channels),
                    relu=nn.ReLU(inplace=True),
                )
            )
            for _ in range(length)
        )
    )


class _Gate(nn.Module):
    """x * sigmoid(W2 relu(W1 mean(x))), a weight a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // _SQUEEZE)
        self.fc1, self.fc2 = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.fc2(functional.relu(self.fc1(pool(x)[:, :, None, None])))
        return x * gate.sigmoid()


class OmniScaleBlock(nn.Module):
    """relu(shortcut(x) + expand(sum of gated streams of reduce(x))); (B, inputs, H, W) to (B, outputs, H, W).

    Args:
        normalised: None: OSNet's block. AIN's: whether the branch ends in instance instead of batch normalisation.
    """

    def __init__(self, inputs: int, outputs: int, normalised: bool | None = None) -> None:
        super().__init__()
        inner = outputs // 4
        self.conv1 = _pointwise(inputs, inner)
        streams = [_stream(inner, length) for length in range(1, _STREAMS + 1)]
        if normalised is None:  # torchreid names the streams of its two networks differently
            self.conv2a, self.conv2b, self.conv2c, self.conv2d = streams[0][0], *streams[1:]
            self._streams: tuple[str, ...] = ("conv2a", "conv2b", "conv2c", "conv2d")
        else:
            self.conv2 = nn.ModuleList(nn.Sequential(OrderedDict(layers=stream)) for stream in streams)
            self._streams = tuple(f"conv2.{i}" for i in range(_STREAMS))
        self.gate = _Gate(inner)
        self.conv3 = _pointwise(inner, outputs, norm=not normalised, relu=False)
        self.downsample = _pointwise(inputs, outputs, relu=False) if inputs != outputs else None
        self.IN = nn.InstanceNorm2d(outputs, affine=True) if normalised else None

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        shortcut = x if self.downsample is None else self.downsample(x)
        reduced = self.conv1(x)
        gated = [self.gate(self.get_submodule(name)(reduced)) for name in self._streams]
        branch = self.conv3(gated[0] + gated[1] + gated[2] + gated[3])
        if self.IN is not None:
            branch = self.IN(branch)
        return functional.relu(branch + shortcut)
