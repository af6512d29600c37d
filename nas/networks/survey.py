"""What a backbone looks like at one input size: sites with shapes, output, cost. Found once, without data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from nas.errors import SpaceError
from nas.networks.backbones import build_backbone
from nas.networks.counting import Cost, count_cost
from nas.networks.shapes import FeatureShape
from nas.networks.sites import FoundSite, find_sites, with_shapes
from nas.spaces.blocks import Params
from nas.spaces.sites import last_strides

SMALLEST_INPUT = 8


@dataclass(frozen=True)
class Survey:
    """A backbone at one input size.

    Attributes:
        sites: all sites, with the shapes of their feature maps.
        out: shape of the last feature map.
        cost: of the backbone alone, for one image.
    """

    sites: tuple[FoundSite, ...]
    out: FeatureShape
    cost: Cost


def backbone_settings(params: Params) -> tuple[float, int]:
    """Width and last stride from the parameters of a candidate's backbone; 1 where one is missing."""
    values = dict(params)
    return float(values.get("width", 1)), int(values.get("last_stride", 1))


@lru_cache(maxsize=256)
def survey(backbone: str, backbone_params: Params = (), input_size: tuple[int, int] = (256, 128)) -> Survey:
    """Looks at a backbone.

    >>> [site.number for site in survey("resnet50").sites if site.place == site.stage_length]
    [1, 4, 8, 14, 17]

    Args:
        backbone: its name.
        backbone_params: pairs of `width` and `last_stride`, as in a candidate.
        input_size: (height, width) in pixels.

    Raises:
        SpaceError: for an unknown backbone or an input that is too small.
    """
    if min(input_size) < SMALLEST_INPUT:
        raise SpaceError(f"an input of {input_size[0]}x{input_size[1]} pixels is too small; at least {SMALLEST_INPUT}")
    width, last_stride = backbone_settings(backbone_params)
    with torch.device("meta"):
        sites = find_sites(build_backbone(backbone, width=width, last_stride=max(last_strides(backbone))))
        trunk = build_backbone(backbone, width=width, last_stride=last_stride).eval()
        try:
            shaped = with_shapes(trunk, sites, input_size)
        except (ValueError, RuntimeError) as error:  # torch's own: pooling or normalisation of too few positions
            size = f"{input_size[0]}x{input_size[1]}"
            first = str(error).splitlines()[0]
            raise SpaceError(f"an input of {size} pixels is too small for {backbone}: {first}") from error
        with torch.no_grad():
            out = FeatureShape(*trunk(torch.empty(1, 3, *input_size)).shape[1:])
        cost = count_cost(trunk, torch.empty(1, 3, *input_size))
    return Survey(shaped, out, cost)
