"""What a candidate's blocks change the moment they are put in, before any of them is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nas.networks.network import build_network
from nas.spaces.candidate import Candidate, as_candidate

IMAGES = 4
"""Images looked at: blocks that normalise over the batch need more than one."""


@dataclass(frozen=True)
class Insertion:
    """A new network's embeddings beside those of the same network without its blocks.

    Attributes:
        difference: largest absolute difference of one value.
        largest: largest absolute value without the blocks, to judge the difference by.
    """

    difference: float
    largest: float

    @property
    def is_identity(self) -> bool:
        """Whether the blocks pass everything on; a share of 1e-5 is left to rounding through a deep network."""
        return self.difference <= 1e-5 * self.largest

    def sentence(self) -> str:
        """In words."""
        if self.is_identity:
            return f"the identity: the output moves by {self.difference:.1g} at most"
        return f"changes the output by up to {self.difference:.3g}, where its largest value is {self.largest:.3g}"


def check_insertion(candidate: Candidate | str, input_size: tuple[int, int] = (256, 128)) -> Insertion:
    """Builds a candidate with and without its blocks, on the same fresh trunk, and compares what comes out.

    >>> check_insertion("resnet18(width=0.25)+se(start=identity)@3", (32, 32)).is_identity
    True

    Raises:
        SpaceError: the candidate cannot be built for this input size.
    """
    candidate = as_candidate(candidate)
    images = torch.randn(IMAGES, 3, *input_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        built, plain = (
            build_network(c, input_size=input_size, seed=0).eval()(images) for c in (candidate, candidate.baseline)
        )
    return Insertion(float((built - plain).abs().max()), float(plain.abs().max()))
