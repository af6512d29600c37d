"""The backbones: networks without their heads at any width, timm's by name, and classes of one's own.

A trunk maps images to one feature map; its parameters keep their authors' names, so that published weights load. Where
blocks may be placed in it is read off its structure by `nas.networks.sites`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from nas.errors import SpaceError
from nas.networks.backbones.foreign import FeaturesFirst, build_foreign, foreign_class, refusal, weight_tags
from nas.networks.backbones.ibn import ibn_trunk
from nas.networks.backbones.mobile import mobilenet_trunk, shufflenet_trunk
from nas.networks.backbones.osnet import osnet_trunk
from nas.networks.backbones.resnet import resnet_trunk, set_stem
from nas.networks.sites import FoundSite, Trace, look_through, sites_of, strided_modules, without_stride
from nas.spaces.sites import check_backbone, last_strides, require_last_stride, require_stem

_BUILDERS: Mapping[str, Callable[[str, float], nn.Module]] = MappingProxyType(
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
"""Names of the backbones that come with the package."""


@dataclass(frozen=True)
class Structure:
    """What the run of a backbone with its published strides shows.

    Attributes:
        sites: with the shapes for images of 256x128.
        strided: modules that make the last stage's map smaller than that of the stage before.
        unused: the parts that feature maps need neither in evaluation nor in training, such as a classifier.
    """

    sites: tuple[FoundSite, ...]
    strided: tuple[str, ...]
    unused: tuple[str, ...]


def build_backbone(name: str, *, width: float = 1, last_stride: int = 1, stem: str = "standard") -> nn.Module:
    """A backbone without its head, with fresh weights.

    Args:
        name: one of `BACKBONE_NAMES`, `timm:NAME`, or `module:Class`.
        width: factor on all channels; published weights fit 1 only, and so do backbones that do not come with nas.
        last_stride: stride of the first block of the last stage, 1 or 2; OSNet knows 1 only, as it was published.
        stem: of a ResNet, see `nas.spaces.sites.STEMS`: other projects' published networks have another.

    Returns:
        A trunk that maps (B, 3, H, W) to (B, C, H/s, W/s), s = 16 or 32 for `last_stride` 1 or 2 in most.

    Raises:
        SpaceError: for an unknown name, an illegal last stride, or a network that has no feature maps.
    """
    check_backbone(name)
    require_last_stride(name, last_stride)
    require_stem(name, stem)
    found = structure(name)
    trunk = _fresh(name, width)
    for part in found.unused:
        delattr(trunk, part)
    if last_stride == 1 and 2 in last_strides(name):
        without_stride(trunk, found.strided)
    if stem != "standard":
        set_stem(trunk, stem)
    return trunk


def _fresh(name: str, width: float) -> nn.Module:
    if name in _BUILDERS:
        return _BUILDERS[name](name, width)
    if width != 1:
        raise SpaceError(f"width of {name} must be 1, not {width!r}: its channels come with its name")
    return build_foreign(name)


def structure(name: str) -> Structure:
    """Sites and strides of a backbone as published, found once; a `SpaceError` says why blocks cannot stand in it."""
    return _structure(name, name if name in _BUILDERS else foreign_class(name))


@cache
def _structure(name: str, made_by: Any) -> Structure:  # an edited class of the same name is another
    try:
        trunk, trace = look(name, lambda: _fresh(name, 1))
        sites = sites_of(trace, trunk)
    except SpaceError as error:
        raise SpaceError(f"blocks cannot be placed in {name}: {error.message}", error.hint) from error
    called = {call.path.partition(".")[0] for call in trace.calls}
    own = {path.partition(".")[0] for path, _ in trunk.named_parameters() if "." in path}
    unused = own - called if isinstance(trunk, FeaturesFirst) else set()
    left = tuple(sorted(unused - _run_in_training(trunk))) if unused else ()
    return Structure(sites, strided_modules(trace, sites), left)


def _run_in_training(trunk: nn.Module) -> set[str]:
    """The parts that a training step runs; all of them where it cannot be tried."""
    called: set[str] = set()
    hooks = [
        part.register_forward_pre_hook(lambda *_, name=path.partition(".")[0]: called.add(name))
        for path, part in trunk.named_modules()
        if path
    ]
    images = torch.zeros(2, 3, 256, 128, device=next(trunk.parameters()).device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            trunk.train()(images)
    except Exception:  # whatever the network's own code raises
        return {name for name, _ in trunk.named_children()}
    finally:
        trunk.eval()
        for hook in hooks:
            hook.remove()
    return called


def look(name: str, build: Callable[[], nn.Module], size: tuple[int, int] = (256, 128)) -> tuple[nn.Module, Trace]:
    """A trunk without data, and what its run shows; with data where its code cannot do without.

    Raises:
        SpaceError: it cannot be made, or does not run on images of (height, width) pixels.
    """
    try:
        return _looked(name, build, size, "meta")
    except SpaceError as error:
        if name in _BUILDERS or error.__cause__ is None:
            raise
        return _looked(name, build, size, "cpu")


def _looked(name: str, build: Callable[[], nn.Module], size: tuple[int, int], device: str) -> tuple[nn.Module, Trace]:
    with torch.device(device), torch.random.fork_rng(devices=[]):
        trunk = build().eval()
        reason = refusal(name, trunk)
        if reason is not None:
            raise SpaceError(reason)
        return trunk, look_through(trunk, (3, *size))


__all__ = ["BACKBONE_NAMES", "Structure", "build_backbone", "look", "structure", "weight_tags"]
