"""What a candidate costs, before training and without data: parameters, multiply-accumulates, activations.

Everything is for one image and for the network as deployed: the classifier is left out, BNNeck is in.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache

import torch

from nas.networks.blocks import FeatureShape, Form, get_block
from nas.networks.counting import Cost, count_cost
from nas.networks.survey import survey
from nas.spaces.blocks import Params
from nas.spaces.candidate import Candidate, as_candidate


@dataclass(frozen=True)
class Complexity:
    """Cost of one image.

    Attributes:
        params: learned values of backbone, blocks and BNNeck.
        macs: multiply-accumulates of convolutions and matrix products.
        activation_elements: elements in the outputs of these.
        body_params, body_macs: of the backbone alone.
    """

    params: int
    macs: int
    activation_elements: int
    body_params: int
    body_macs: int

    def to_dict(self) -> dict[str, int]:
        """Plain data, for JSON and the database."""
        return asdict(self)


def complexity(
    candidate: Candidate | str, input_size: tuple[int, int] = (256, 128), *, form: Form = "fast"
) -> Complexity:
    """Cost of a candidate; milliseconds after the first of its backbone.

    >>> complexity("resnet50").body_params, round(complexity("resnet50").body_macs / 1e9, 3)
    (23508032, 4.053)

    Args:
        candidate: a candidate or its notation.
        input_size: (height, width) in pixels.
        form: of the blocks; the plain form of some computes more.

    Raises:
        SpaceError: when the candidate cannot be built for this input size.
    """
    candidate = as_candidate(candidate)
    found = survey(candidate.backbone, candidate.backbone_params, input_size)
    total = found.cost + Cost(2 * found.out.channels, 0, 0)
    for placement in candidate.placements:
        site = found.sites[placement.site - 1]
        total += _block_cost(placement.block, placement.params, site.shape, form)
    return Complexity(total.params, total.macs, total.activation_elements, found.cost.params, found.cost.macs)


@lru_cache(maxsize=4096)
def _block_cost(name: str, params: Params, shape: FeatureShape, form: Form) -> Cost:
    with torch.device("meta"):
        block = get_block(name).build(shape, form=form, **dict(params)).eval()
        return count_cost(block, torch.empty(1, shape.channels, shape.height, shape.width))
