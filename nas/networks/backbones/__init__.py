"""The backbones that can be varied: torchvision's networks without their heads, as sequences with sites.

A trunk is an `nn.Sequential` whose parameter names are torchvision's, so that its published weights load. Where
blocks may be placed in it is read off its structure by `nas.networks.sites`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from nas.errors import SpaceError, unknown_name
from nas.networks.backbones.mobile import mobilenet_trunk, shufflenet_trunk
from nas.networks.backbones.resnet import resnet_trunk
from nas.networks.sites import find_sites, set_stride

_BUILDERS: Mapping[str, Callable[[str, float], nn.Sequential]] = MappingProxyType(
    {
        "resnet18": resnet_trunk,
        "resnet34": resnet_trunk,
        "resnet50": resnet_trunk,
        "resnet101": resnet_trunk,
        "resnet152": resnet_trunk,
        "shufflenet_v2_x1_0": shufflenet_trunk,
        "shufflenet_v2_x2_0": shufflenet_trunk,
        "mobilenet_v3_small": mobilenet_trunk,
        "mobilenet_v3_large": mobilenet_trunk,
    }
)

BACKBONE_NAMES: tuple[str, ...] = tuple(_BUILDERS)
"""Names that `build_backbone` knows."""


def build_backbone(name: str, *, width: float = 1, last_stride: int = 1) -> nn.Sequential:
    """A backbone without its head, with fresh weights.

    Args:
        name: one of `BACKBONE_NAMES`.
        width: factor on all channels; published weights fit 1 only.
        last_stride: stride of the first block of the last stage, 1 or 2.

    Returns:
        A trunk that maps (B, 3, H, W) to (B, C, H/s, W/s), s = 16 or 32 for `last_stride` 1 or 2.

    Raises:
        SpaceError: for an unknown name or an illegal last stride.
    """
    if name not in _BUILDERS:
        raise SpaceError(unknown_name("backbone", name, BACKBONE_NAMES))
    if last_stride not in (1, 2):
        raise SpaceError(f"last_stride of {name} must be 1 or 2, not {last_stride!r}")
    trunk = _BUILDERS[name](name, width)
    if last_stride == 1:
        sites = find_sites(trunk)
        first_of_last_stage = next(site for site in sites if site.stage == sites[-1].stage)
        set_stride(trunk.get_submodule(first_of_last_stage.path), 1)
    return trunk


__all__ = ["BACKBONE_NAMES", "build_backbone"]
