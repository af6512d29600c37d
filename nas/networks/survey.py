"""What a backbone looks like at one input size: sites with shapes, output, cost. Found once, without data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from nas.errors import SpaceError
from nas.networks.backbones import Structure, build_backbone, look, structure
from nas.networks.counting import ImageCost, count_cost
from nas.networks.shapes import FeatureShape
from nas.networks.sites import INPUT, FoundSite
from nas.spaces.blocks import Params
from nas.spaces.candidate import BACKBONE_DEFAULTS
from nas.spaces.sites import BACKBONES, Site, Topology, foreign_title

SMALLEST_INPUT = 8


@dataclass(frozen=True)
class Survey:
    """A backbone at one input size: its sites, the shape of its last feature map, and what it alone costs an image."""

    sites: tuple[FoundSite, ...]
    out: FeatureShape
    cost: ImageCost


def backbone_settings(params: Params) -> dict[str, Any]:
    """What `build_backbone` takes, from the parameters of a candidate's backbone."""
    values = {**BACKBONE_DEFAULTS, **dict(params)}
    return {**values, "width": float(values["width"])}


def survey(backbone: str, backbone_params: Params = (), input_size: tuple[int, int] = (256, 128)) -> Survey:
    """Looks at a backbone.

    >>> [site.number for site in survey("resnet50").sites if site.place == site.stage_length]
    [1, 4, 8, 14, 17]

    Args:
        backbone_params: pairs of `width`, `last_stride` and `stem`, as in a candidate.
        input_size: (height, width) in pixels.

    Raises:
        SpaceError: for an unknown backbone, one that blocks cannot stand in, or an input that is too small.
    """
    if min(input_size) < SMALLEST_INPUT:
        raise SpaceError(f"an input of {input_size[0]}x{input_size[1]} pixels is too small; at least {SMALLEST_INPUT}")
    return _survey(backbone, tuple(backbone_settings(backbone_params).items()), input_size, structure(backbone))


@lru_cache(maxsize=256)
def _survey(
    backbone: str, settings: tuple[tuple[str, Any], ...], input_size: tuple[int, int], found: Structure
) -> Survey:
    try:
        trunk, trace = look(backbone, lambda: build_backbone(backbone, **dict(settings)), input_size)
    except SpaceError as error:
        if backbone not in BACKBONES or error.__cause__ is None:
            raise SpaceError(f"{backbone}: {error.message}", error.hint) from error
        size = f"{input_size[0]}x{input_size[1]}"  # torch's own: pooling or normalisation of too few positions
        reason = str(error.__cause__).splitlines()[0]
        raise SpaceError(f"an input of {size} pixels is too small for {backbone}: {reason}") from error
    shapes = {call.path: FeatureShape(*call.shape[1:]) for call in trace.calls}
    sites = tuple(replace(site, shape=shapes[site.path]) for site in found.sites)
    device = next(trunk.parameters()).device
    out = FeatureShape(*trace.output[1:])
    return Survey(sites, out, count_cost(trunk, torch.empty(1, 3, *input_size, device=device)))


def topology(backbone: str, last_stride: int | None) -> Topology:
    """The sites of a backbone that does not come with nas, as spaces know them.

    Args:
        backbone: `timm:NAME` or `module:Class`.
        last_stride: 1, 2 (as published), or None: 1 where that is possible.

    Raises:
        SpaceError: blocks cannot stand in it, or its last stage cannot have that stride.
    """
    if last_stride is None:
        try:
            return topology(backbone, 1)
        except SpaceError:
            return topology(backbone, 2)
    strided = structure(backbone).strided
    try:
        found = survey(backbone, (("last_stride", last_stride),), INPUT[1:]).sites
        strides = [max(1, round(INPUT[1] / site.shape.height)) for site in found]
        last = next(i for i, site in enumerate(found) if site.stage == found[-1].stage)
        if last_stride == 1 and last and strides[last] != strides[last - 1]:
            raise SpaceError(f"{', '.join(strided) or 'its code'} makes the last stage's map smaller")
    except SpaceError as error:
        if last_stride == 2:
            raise
        hint = f"Write {backbone}(last_stride=2)."
        raise SpaceError(f"last_stride=1 is not possible for {backbone}: {error.message}", hint) from error
    sites = [
        Site(s.number, s.stage, s.place, s.stage_length, s.shape.channels, stride, s.path)
        for s, stride in zip(found, strides, strict=True)
    ]
    return Topology(backbone, foreign_title(backbone), tuple(sites))
