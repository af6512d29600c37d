"""Where a network looks: Grad-CAM at any site, and what each attention block does to its map.

A block's own map is read from its input and output, so every block has one, own blocks too: the gain of a position (or
of a channel) is the factor that brings the input closest to the output there. For a block that multiplies by a gate
over positions or over channels it is the gate itself; for a residual block it says what is raised and what is lowered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.errors import SpaceError
from nas.networks.network import ReidNetwork

SMALLEST = 1e-12
"""Of a sum of squares: where the input is 0 everywhere a gain means nothing and is told as 1."""


@dataclass(frozen=True)
class BlockMap:
    """What one block does to the maps of B images.

    Attributes:
        positions: (B, H, W) gain of each position.
        channels: (B, C) gain of each channel.
    """

    site: int
    block: str
    positions: Tensor
    channels: Tensor


def block_maps(network: ReidNetwork, images: Tensor) -> list[BlockMap]:
    """The own maps of all blocks for normalised images (B, 3, H, W), in the order of their sites; the mode stays."""
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    blocks = {p.site: p.block for p in network.candidate.placements}
    with ExitStack() as hooks, _evaluating(network), torch.inference_mode():
        for site in blocks:
            hooks.enter_context(_hook(network.blocks[str(site)], _keep(seen, site)))
        network(images)
    return [BlockMap(site, name, *_gains(*seen[site])) for site, name in sorted(blocks.items())]


def grad_cam(network: ReidNetwork, images: Tensor, site: int | None = None) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017) of what decides: the likeliest identity, or the feature itself.

    The target is the highest logit where the network has a classifier, else half the squared length of the embedding:
    its gradient is the embedding, so channels that make up the feature weigh most.

    Args:
        network: in any mode, which is left as it was.
        images: normalised, (B, 3, H, W).
        site: whose output is looked at; None: the last map before pooling.

    Returns:
        (B, H, W), the images' size, from 0 to 1 in each image; all 0 where nothing speaks for the target.

    Raises:
        SpaceError: there is no such site.
    """
    if site is not None and not 1 <= site <= len(network.sites):
        raise SpaceError(f"there is no site {site} in {network.candidate.backbone}, which has {len(network.sites)}")
    kept: list[Tensor] = []
    module = network.pool if site is None else _after(network, site)
    with _evaluating(network), torch.enable_grad(), ExitStack() as hooks:
        if site is None:
            handle = module.register_forward_pre_hook(lambda _m, inputs: kept.append(inputs[0]))
            hooks.callback(handle.remove)
        else:
            hooks.enter_context(_hook(module, lambda _i, output: kept.append(output)))
        embedding = network(images.requires_grad_())
        score = 0.5 * embedding.float().square().sum(dim=1)
        if network.classifier is not None:
            score = network.classifier(embedding).float().amax(dim=-1).reshape(len(images), -1).sum(1)
        (slope,) = torch.autograd.grad(score.sum(), kept[-1])
    weights = slope.float().mean(dim=(2, 3), keepdim=True)
    found = (weights * kept[-1].detach().float()).sum(dim=1, keepdim=True).clamp_min(0.0)
    large = functional.interpolate(found, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    top = large.amax(dim=(1, 2), keepdim=True)
    return torch.where(top > 0, large / top.clamp_min(SMALLEST), torch.zeros_like(large))


def _after(network: ReidNetwork, site: int) -> nn.Module:
    """The module whose output is a site's map: the block there, else the backbone's own."""
    if str(site) in network.blocks:
        return network.blocks[str(site)]
    return network.backbone.get_submodule(network.sites[site - 1].path)


def _gains(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Least-squares factors of each position and of each channel."""
    x, y = before.float(), after.float()
    product, square = x * y, x * x

    def gain(dims: tuple[int, ...]) -> Tensor:
        size = square.sum(dim=dims)
        return torch.where(size > SMALLEST, product.sum(dim=dims) / size.clamp_min(SMALLEST), torch.ones_like(size))

    return gain((1,)), gain((2, 3))


def _keep(seen: dict[int, tuple[Tensor, Tensor]], site: int) -> Any:
    def keep(inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[site] = inputs[0].detach().clone(), output.detach().clone()

    return keep


@contextmanager
def _hook(module: nn.Module, look: Any) -> Iterator[None]:
    """Calls `look(inputs, output)` after each forward pass of a module, while it lasts."""
    handle = module.register_forward_hook(lambda _module, inputs, output: look(inputs, output))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _evaluating(network: ReidNetwork) -> Iterator[None]:
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)
