"""How a network without pretrained weights begins, beyond torch's own initialisation."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from nas.networks import ReidNetwork


def zero_residual_branches(network: ReidNetwork) -> None:
    """Sets the last BatchNorm weight of every residual branch to 0: each residual block starts as its shortcut.

    A deep ResNet then learns from its first steps on. In place of pretrained weights only; networks without residual
    blocks of torchvision's kinds stay as they are. Source: Goyal et al. 2017.
    """
    for module in network.backbone.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)


def initialise_classifier(network: ReidNetwork, std: float, generator: torch.Generator) -> None:
    """Draws the classifier's weights from N(0, std)."""
    if network.classifier is not None:
        nn.init.normal_(network.classifier.weight, std=std, generator=generator)  # type: ignore[arg-type]
