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


def success_chances(history: Sequence[Observation], candidates: Sequence[Candidate]) -> Floats:
    """(candidates,) chance that a training finishes: that of its worst part.

    A part is a block in a stage of a backbone; its chance is (finished + 1) / (finished + failed + 1) over the
    candidates that hold it, so what never failed counts as safe, and one failure halves what was never seen to finish.
    """
    if all(observation.map is not None for observation in history):
        return np.ones(len(candidates))
    finished: Counter[_Part] = Counter()
    failed: Counter[_Part] = Counter()
    for observation in history:
        (failed if observation.map is None else finished).update(_parts(observation.candidate))
    chance = {part: (finished[part] + 1) / (finished[part] + count + 1) for part, count in failed.items()}
    return np.array([min((chance.get(part, 1.0) for part in _parts(c)), default=1.0) for c in candidates])


def _parts(candidate: Candidate) -> set[_Part]:
    topology = get_topology(candidate.backbone)
    return {(candidate.backbone, p.block, topology.site(p.site).stage) for p in candidate.placements}
