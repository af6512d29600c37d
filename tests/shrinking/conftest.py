"""Landscapes and tables shared by the tests of shrinking."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from nas.spaces import Candidate, DesignSpace
from nas.testing.landscapes import Landscape, landscape_table

BLOCKS = ("se", "hac", "agw", "cnl")


def make_landscape(**changes: object) -> Landscape:
    """Four blocks that all bring 0.003 anywhere; what is not changed is flat."""
    flat = {
        "backbone": "resnet50",
        "blocks": BLOCKS,
        "base": 0.86,
        "block_gain": np.full(4, 0.003),
        "site_gain": np.zeros(17),
        "interaction": np.zeros((4, 17)),
    }
    return Landscape(**{**flat, **changes})  # type: ignore[arg-type]


def good_sites(sites: Sequence[int], gain: float = 0.003) -> np.ndarray:
    """(17,) gains of some sites."""
    gains = np.zeros(17)
    gains[[s - 1 for s in sites]] = gain
    return gains


@pytest.fixture(scope="session")
def space() -> DesignSpace:
    """ResNet-50, four blocks, up to five of them anywhere."""
    return DesignSpace.from_dict(
        {"name": "planted", "backbones": ["resnet50"], "blocks": list(BLOCKS), "rules": [{"max_blocks": 5}]}
    )


@pytest.fixture(scope="session")
def sweep(space: DesignSpace) -> Callable[..., pd.DataFrame]:
    """A stratified sweep of a landscape."""

    def run(landscape: Landscape, n: int = 240, seed: int = 0, seeds: Sequence[int] = (0,)) -> pd.DataFrame:
        drawn = space.stratified(n, seed)
        return landscape_table(landscape, [*space.baselines(), *(c for c in drawn if c.placements)], seeds)

    return run


def parse(*texts: str) -> list[Candidate]:
    """Candidates from notations."""
    return [Candidate.parse(text) for text in texts]
