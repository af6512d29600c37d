"""ResNets with instance and batch normalisation: IBN-Net (Pan et al., ECCV 2018), without heads.

Form a normalises half of the channels after each block's first convolution within the image, in all stages but the
last. Form b normalises the stem, and the sum at the end of the first two stages, within the image. Parameter names are
those of the authors' published weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from nas.networks.backbones.resnet import initialise_convolutions, resnet_trunk


def ibn_trunk(name: str, width: float) -> nn.Sequential:
    """The trunk of `resnet50_ibn_a` or `_b`: a ResNet's modules, some with other normalisation."""
    resnet, _, form = name.partition("_ibn_")
    trunk = resnet_trunk(resnet, width)
    if form == "a":
        for stage in ("layer1", "layer2", "layer3"):
            for block in trunk.get_submodule(stage).children():
                block.bn1 = HalfInstanceNorm(block.conv1.out_channels)  # type: ignore[arg-type, union-attr]
        return trunk
    trunk.bn1 = nn.InstanceNorm2d(trunk.conv1.out_channels, affine=True)  # type: ignore[arg-type, union-attr]
    for stage in ("layer1", "layer2"):
        blocks = trunk.get_submodule(stage)
        blocks[-1] = _NormalisedBottleneck(blocks[-1].conv1)  # type: ignore[index, operator]
    return trunk


class HalfInstanceNorm(nn.Module):
    """Instance normalisation of the first half of the channels, batch normalisation of the rest."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.instances = channels // 2
        self.IN = nn.InstanceNorm2d(self.instances, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.instances)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), normalised."""
        return torch.cat([self.IN(x[:, : self.instances]), self.BN(x[:, self.instances :])], 1)


class _NormalisedBottleneck(Bottleneck):  # type: ignore[misc]
    """A bottleneck whose sum of branch and shortcut is normalised within the image, in `IN`, before the last ReLU."""

    def __init__(self, first: nn.Conv2d) -> None:
        super().__init__(first.in_channels, first.out_channels)
        self.IN = nn.InstanceNorm2d(first.in_channels, affine=True)
        initialise_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        branch = self.bn3(self.conv3(branch))
        summed: Tensor = self.relu(self.IN(branch + x))
        return summed
