"""ResNets (He et al., CVPR 2016) in torchvision's layout, with a factor on all channels.

The residual blocks, parameter names and initialisation are torchvision's (stride on the 3x3 convolution, a ReLU after
the stem's normalisation); only the width of the network is our own.
"""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

_DEPTHS = MappingProxyType(
    {
        "resnet18": (BasicBlock, (2, 2, 2, 2)),
        "resnet34": (BasicBlock, (3, 4, 6, 3)),
        "resnet50": (Bottleneck, (3, 4, 6, 3)),
        "resnet101": (Bottleneck, (3, 4, 23, 3)),
        "resnet152": (Bottleneck, (3, 8, 36, 3)),
    }
)


def resnet_trunk(name: str, width: float) -> nn.Sequential:
    """conv1, bn1, relu, maxpool, layer1 ... layer4; all strides as published (last stride 2)."""
    block, depths = _DEPTHS[name]
    channels = max(1, round(64 * width))
    modules: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    inputs = channels
    for stage, depth in enumerate(depths):
        planes = channels * 2**stage
        modules[f"layer{stage + 1}"] = _layer(block, inputs, planes, depth, stride=1 if stage == 0 else 2)
        inputs = planes * block.expansion
    trunk = nn.Sequential(modules)
    initialise_convolutions(trunk)
    return trunk


def set_stem(trunk: nn.Module, stem: str) -> None:
    """The stem of the strong baseline and AGW (`no_relu`), or of FastReID (`no_padding`), as their code has it."""
    if stem == "no_relu":
        trunk.relu = nn.Identity()
    elif stem == "no_padding":
        trunk.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _layer(block: type[BasicBlock | Bottleneck], inputs: int, planes: int, depth: int, stride: int) -> nn.Sequential:
    outputs = planes * block.expansion
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
    blocks = [block(inputs, planes, stride, shortcut)]
    blocks += [block(outputs, planes) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def initialise_convolutions(trunk: nn.Module) -> None:
    """Draws all convolutions as He et al. (ICCV 2015) do for ReLUs, by their outputs; biases are 0."""
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
