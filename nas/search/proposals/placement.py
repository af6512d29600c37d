"""The default strategy: learn mAP over placements, know the cost, go where the Pareto front is expected to grow most.

What a candidate costs is known before it is trained, so only mAP is modelled (`model`), by a linear Gaussian model
over features of placements. Of a pool of candidates (`pool`) the one with the largest expected hypervolume
improvement (`improvement`) is proposed; the rest of the batch is chosen as if its expected mAP had been observed
(kriging believer, Ginsbourger et al. 2010). Without costs the expected improvement of mAP takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nas.search.proposals.base import Observation, Proposal, Request
from nas.search.proposals.failures import success_chances
from nas.search.proposals.feasible import NewCandidates
from nas.search.proposals.improvement import Staircase
from nas.search.proposals.model import Beliefs, Model, ModelSettings
from nas.search.proposals.pool import Pool
from nas.spaces import Candidate

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """What can be chosen about the strategy; the defaults won on planted landscapes.

    Attributes:
        start: finished candidates before the model is asked; uniform draws until then.
        draws: uniform draws in the pool.
        near: candidates near the front in the pool, and again near the best of the pool.
        centres: how many of the best of the pool are looked around.
        margin: the reference cost lies this share of the range of costs beyond the dearest.
        model: the surrogate.
    """

    start: int = 8
    draws: int = 300
    near: int = 250
    centres: int = 6
    margin: float = 0.1
    model: ModelSettings = field(default_factory=ModelSettings)


class PlacementSampler:
    """A `Sampler`: surrogate, expected hypervolume improvement, local search.

    Args:
        settings: what to use instead of the defaults.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()

    def __call__(self, request: Request) -> list[Proposal]:
        usable = [o for o in request.history if o.map is not None and math.isfinite(o.map)]
        fresh = NewCandidates(request)
        wanted: list[Candidate | None] = [None] * request.count
        if len(usable) >= self._settings.start:
            wanted = [*_Batch(request, usable, self._settings).candidates(), *wanted][: request.count]
        found = [fresh.take(candidate) for candidate in wanted]
        return [Proposal(candidate) for candidate in found if candidate is not None]


class _Batch:
    """The model of the observations and the pool it is asked about."""

    def __init__(self, request: Request, observed: Sequence[Observation], settings: Settings) -> None:
        self._request = request
        self._observed = observed
        self._settings = settings
        self._model = Model(request.space, observed, request.noise, settings.model)
        self._pool = Pool(request)

    def candidates(self) -> list[Candidate]:
        """Up to the wanted number, the one with the largest expected gain first."""
        drawn = self._pool.drawn(self._settings.draws)
        costs = _Costs(self._request, self._observed, drawn, self._settings.margin)
        values = self._model.observed()
        stairs = Staircase.of(values, costs.observed, float(values.min()), costs.end)
        pool = drawn + self._pool.around(self._front(stairs, values, costs.observed), self._settings.near)
        gain = self._gain(stairs, self._model.of(pool), costs.of(pool), pool)
        best = [pool[i] for i in np.argsort(-gain, kind="stable")[: self._settings.centres]]
        pool += self._pool.around(best, self._settings.near)
        return self._chosen(pool, stairs, costs.of(pool))

    def _front(self, stairs: Staircase, values: Floats, costs: Floats) -> list[Candidate]:
        corners = set(zip(stairs.starts.tolist(), stairs.heights.tolist(), strict=True))
        at = zip(costs.tolist(), values.tolist(), strict=True)
        return [o.candidate for o, point in zip(self._observed, at, strict=True) if point in corners]

    def _gain(self, stairs: Staircase, beliefs: Beliefs, costs: Floats, pool: Sequence[Candidate]) -> Floats:
        chances = success_chances(self._request.history, pool)
        return stairs.expected_gain(beliefs.mean, beliefs.sd, costs) * chances

    def _chosen(self, pool: Sequence[Candidate], stairs: Staircase, costs: Floats) -> list[Candidate]:
        beliefs = self._model.of(pool)
        left = np.ones(len(pool), dtype=bool)
        chosen: list[Candidate] = []
        while left.any() and len(chosen) < self._request.count:
            gain = np.where(left, self._gain(stairs, beliefs, costs, pool), -np.inf)
            best = int(gain.argmax())
            left[best] = False
            chosen.append(pool[best])
            stairs = stairs.with_point(float(beliefs.mean[best]), float(costs[best]))
            beliefs = beliefs.after(best)
        return chosen


class _Costs:
    """Costs as the improvement needs them: numbers, whatever is unknown.

    Without any known cost all are 0 below a reference of 1, which leaves the expected improvement of mAP. Where some
    are known, an unknown one counts as the dearest.
    """

    def __init__(
        self, request: Request, observed: Sequence[Observation], drawn: Sequence[Candidate], margin: float
    ) -> None:
        self._cost = request.cost
        observed_costs = [o.cost for o in observed]
        drawn_costs = self._asked(drawn)
        known = [c for c in observed_costs + drawn_costs if c is not None and math.isfinite(c)]
        self._dearest = max(known, default=0.0)
        self.observed = self._numbers(observed_costs)
        self.end = self._dearest + margin * (self._dearest - min(known, default=0.0)) if known else 1.0
        if self.end <= self._dearest:
            self.end = self._dearest + 1.0

    def of(self, candidates: Sequence[Candidate]) -> Floats:
        """(candidates,) costs."""
        return self._numbers(self._asked(candidates))

    def _asked(self, candidates: Sequence[Candidate]) -> list[float | None]:
        return [None if self._cost is None else self._cost(candidate) for candidate in candidates]

    def _numbers(self, costs: Sequence[float | None]) -> Floats:
        return np.array([self._dearest if c is None or not math.isfinite(c) else c for c in costs], dtype=np.float64)
