"""The backbones that can be varied: networks without their heads, as sequences with sites.

A trunk is an `nn.Sequential` whose parameter names are torchvision's, for OSNet
torchreid's and for IBN-Net its authors', so that published weights load. Where
blocks may be placed in it is read off its structure by `nas.networks.sites`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from nas.errors import SpaceError, unknown_name
from nas.networks.backbones.ibn import ibn_trunk
from nas.networks.backbones.mobile import mobilenet_trunk, shufflenet_trunk
from nas.networks.backbones.osnet import osnet_trunk
from nas.networks.backbones.resnet import resnet_trunk
from nas.networks.sites import find_sites, set_stride
from nas.spaces.sites import last_strides, require_last_stride

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
        "resnet50_ibn_a": ibn_trunk,
        "resnet50_ibn_b": ibn_trunk,
        "osnet_x1_0": osnet_trunk,
        "osnet_x0_75": osnet_trunk,
        "osnet_x0_5": osnet_trunk,
        "osnet_x0_25": osnet_trunk,
        "osnet_ain_x1_0": osnet_trunk,
    }
)

BACKBONE_NAMES: tuple[str, ...] = tuple(_BUILDERS)
"""Names that `build_backbone` knows."""


def build_backbone(name: str, *, width: float = 1, last_stride: int = 1) -> nn.Sequential:
    """A backbone without its head, with fresh weights.

    Args:
        name: one of `BACKBONE_NAMES`.
        width: factor on all channels; published weights fit 1 only.
        last_stride: stride of the first block of the last stage, 1 or 2; OSNet knows 1 only, as it was published.

    Returns:
        A trunk that maps (B, 3, H, W) to (B, C, H/s, W/s), s = 16 or 32 for `last_stride` 1 or 2.

    Raises:
        SpaceError: for an unknown name or an illegal last stride.
    """
    if name not in _BUILDERS:
        raise SpaceError(unknown_name("backbone", name, BACKBONE_NAMES))
    require_last_stride(name, last_stride)
    trunk = _BUILDERS[name](name, width)
    if last_stride == 1 and 2 in last_strides(name):
        sites = find_sites(trunk)
        first_of_last_stage = next(site for site in sites if site.stage == sites[-1].stage)
        set_stride(trunk.get_submodule(first_of_last_stage.path), 1)
    return trunk


__all__ = ["BACKBONE_NAMES", "build_backbone"]
