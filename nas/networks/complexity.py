"""What a candidate costs, before training and without data: parameters, multiply-accumulates, activations.

Everything is for one image and for the network as deployed: the classifier is left out, the head's neck is in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch

from nas.networks.blocks import FeatureShape, Form, get_block
from nas.networks.counting import ImageCost, count_cost
from nas.networks.head import make_head
from nas.networks.survey import survey
from nas.spaces.blocks import Params
from nas.spaces.candidate import Candidate, as_candidate


@dataclass(frozen=True)
class Complexity:
    """Cost of one image, in the terms of `ImageCost`; `body_params` and `body_macs` are of the backbone alone."""

    params: int
    macs: int
    activation_elements: int
    body_params: int
    body_macs: int

    def to_dict(self) -> dict[str, int]:
        """Plain data, for JSON and the database."""
        return asdict(self)


def complexity(
    candidate: Candidate | str,
    input_size: tuple[int, int] = (256, 128),
    *,
    form: Form = "fast",
    pooling: str = "gap",
    head: str = "bnneck",
    head_settings: Mapping[str, Any] | None = None,
) -> Complexity:
    """Cost of a candidate; milliseconds after the first of its backbone.

    >>> complexity("resnet50").body_params, round(complexity("resnet50").body_macs / 1e9, 3)
    (23508032, 4.053)

    Args:
        input_size: (height, width) in pixels.
        form: of the blocks; the plain form of some computes more.
        pooling, head, head_settings: as `build_network` takes them.

    Raises:
        SpaceError: when the candidate cannot be built for this input size.
    """
    candidate = as_candidate(candidate)
    found = survey(candidate.backbone, candidate.backbone_params, input_size)
    total = found.cost + _head_cost(found.out, head, pooling, tuple(sorted((head_settings or {}).items())))
    for placement in candidate.placements:
        site = found.sites[placement.site - 1]
        total += _block_cost(placement.block, placement.params, site.shape, form)
    return Complexity(total.params, total.macs, total.activation_elements, found.cost.params, found.cost.macs)


@lru_cache(maxsize=256)
def _head_cost(shape: FeatureShape, name: str, pooling: str, settings: Params) -> ImageCost:
    # On the CPU: a head of one's own may look at values.
    with torch.random.fork_rng(devices=[]):
        made = make_head(name, shape, pooling, dict(settings))
    head = torch.nn.Sequential(made.pool, made.neck).eval()
    return count_cost(head, torch.zeros(1, shape.channels, shape.height, shape.width))


@lru_cache(maxsize=4096)
def _block_cost(name: str, params: Params, shape: FeatureShape, form: Form) -> ImageCost:
    with torch.device("meta"):
        block = get_block(name).build(shape, form=form, **dict(params)).eval()
        return count_cost(block, torch.empty(1, shape.channels, shape.height, shape.width))
