"""How likely a training is to finish, from which placements were in those that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nas.search.proposals.base import Observation
from nas.spaces import Candidate, get_topology

Floats = npt.NDArray[np.float64]
_Part = tuple[str, str, int]
_BENEFIT = 0.3
"""Of the doubt, in trainings that finished: one failure alone leaves a chance of a quarter."""
_HOPELESS = 3
"""Failures without a success: by chance one in a thousand for what fails one time in ten."""


def success_chances(history: Sequence[Observation], candidates: Sequence[Candidate]) -> Floats:
    """(candidates,) chance that a training finishes: that of its worst part.

    A part is a block in a stage of a backbone; its chance is (finished + a) / (finished + failed + a), a = 0.3,
    over the candidates that hold it: what never failed counts as safe. What failed three times and never finished
    has no chance.
    """
    if all(observation.map is not None for observation in history):
        return np.ones(len(candidates))
    finished: Counter[_Part] = Counter()
    failed: Counter[_Part] = Counter()
    for observation in history:
        (failed if observation.map is None else finished).update(_parts(observation.candidate))
    chance = {part: _chance(finished[part], count) for part, count in failed.items()}
    return np.array([min((chance.get(part, 1.0) for part in _parts(c)), default=1.0) for c in candidates])


def _chance(finished: int, failed: int) -> float:
    if not finished and failed >= _HOPELESS:
        return 0.0
    return (finished + _BENEFIT) / (finished + failed + _BENEFIT)


def _parts(candidate: Candidate) -> set[_Part]:
    topology = get_topology(candidate.backbone)
    return {(candidate.backbone, p.block, topology.site(p.site).stage) for p in candidate.placements}
