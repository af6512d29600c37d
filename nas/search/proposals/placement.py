"""The default strategy: learn mAP over placements, know the cost, go where the Pareto front is expected to grow most.

What a candidate costs is known before it is trained, so only mAP is modelled (`model`), by a linear Gaussian model
over features of placements. Of a pool of candidates (`pool`) the one with the largest expected hypervolume
improvement (`improvement`) is proposed; the rest of the batch is chosen as if its expected mAP had been observed
(kriging believer, Ginsbourger et al. 2010). Without costs the expected improvement of mAP takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

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


Acquisition = Callable[[Staircase, Beliefs, Floats, np.random.Generator], Floats]


def expected_gain(stairs: Staircase, beliefs: Beliefs, costs: Floats, _: np.random.Generator) -> Floats:
    """(candidates,) what is maximised."""
    return stairs.expected_gain(*beliefs.marginals, costs)


@dataclass(frozen=True)
class PlacementSettings:
    """What can be chosen about the strategy; the defaults won on planted landscapes.

    Attributes:
        start: finished candidates before the model is asked; uniform draws until then.
        draws: uniform draws in the pool.
        near: candidates near the front in the pool, and again near the best of the pool.
        centres: how many of the best of the pool are looked around.
        acquisition: what is maximised.
        margin: the reference cost lies this share of the range of costs beyond the dearest.
        model: the surrogate.
    """

    start: int = 8
    draws: int = 300
    near: int = 250
    centres: int = 6
    margin: float = 0.1
    acquisition: Acquisition = expected_gain
    model: ModelSettings = field(default_factory=ModelSettings)


class Surrogate(Protocol):
    """What is believed of mAP, given the observations it was made from."""

    @property
    def floor(self) -> float:
        """The lowest mAP worth speaking of."""
        ...

    def observed(self) -> Floats:
        """(observations,) expected true mAP of what was trained."""
        ...

    def of(self, candidates: Sequence[Candidate]) -> Beliefs:
        """What is believed of candidates that were not trained."""
        ...


Fit = Callable[[Request, Sequence[Observation]], Surrogate]


class PlacementSampler:
    """A `Sampler`: surrogate, expected hypervolume improvement, local search.

    Args:
        settings: what to use instead of the defaults.
        surrogate: what believes; for comparisons.
    """

    def __init__(self, settings: PlacementSettings | None = None, surrogate: Fit | None = None) -> None:
        self._settings = settings or PlacementSettings()
        self._fit = surrogate or self._linear

    def _linear(self, request: Request, observed: Sequence[Observation]) -> Surrogate:
        return Model(request.space, observed, request.noise, self._settings.model, request.pending)

    def __call__(self, request: Request) -> list[Proposal]:
        usable = [o for o in request.history if o.map is not None and math.isfinite(o.map)]
        fresh = NewCandidates(request)
        wanted: list[Candidate | None] = [None] * request.count
        if len(usable) >= self._settings.start:
            batch = _Batch(request, usable, self._settings, self._fit(request, usable))
            wanted = [*batch.candidates(), *wanted][: request.count]
        found = [fresh.take(candidate) for candidate in wanted]
        return [Proposal(candidate) for candidate in found if candidate is not None]


class _Batch:
    """The model of the observations and the pool it is asked about."""

    def __init__(
        self, request: Request, observed: Sequence[Observation], settings: PlacementSettings, model: Surrogate
    ) -> None:
        self._request = request
        self._observed = observed
        self._settings = settings
        self._model = model
        self._pool = Pool(request)

    def candidates(self) -> list[Candidate]:
        """Up to the wanted number, the one with the largest gain first."""
        drawn = self._pool.drawn(self._settings.draws)
        costs = _Costs(self._request, self._observed, drawn, self._settings.margin)
        stairs, front = self._known_front(costs)
        pool = drawn + self._pool.around(front, self._settings.near)
        gain = stairs.expected_gain(*self._model.of(pool).marginals, costs.of(pool)) * self._chances(pool)
        best = [pool[i] for i in np.argsort(-gain, kind="stable")[: self._settings.centres]]
        return self._chosen(pool + self._pool.around(best, self._settings.near), stairs, costs)

    def _known_front(self, costs: _Costs) -> tuple[Staircase, list[Candidate]]:
        """The front of the expected true mAP of what was trained, and who is on it."""
        values = self._model.observed()
        stairs = Staircase.of(values, costs.observed, self._model.floor, costs.end)
        corners = set(zip(stairs.starts.tolist(), stairs.heights.tolist(), strict=True))
        points = zip(costs.observed.tolist(), values.tolist(), strict=True)
        return stairs, [o.candidate for o, point in zip(self._observed, points, strict=True) if point in corners]

    def _chances(self, pool: Sequence[Candidate]) -> Floats:
        return success_chances(self._request.history, pool)

    def _chosen(self, pool: Sequence[Candidate], stairs: Staircase, costs: _Costs) -> list[Candidate]:
        """One after the other, as if what is pending and chosen had been observed at its expected mAP."""
        everything = [*self._request.pending, *pool]
        beliefs, cost, chances = self._model.of(everything), costs.of(everything), self._chances(everything)
        free = np.arange(len(everything)) >= len(self._request.pending)
        for i in range(len(self._request.pending)):
            beliefs, stairs = beliefs.after(i), stairs.with_point(float(beliefs.mean[i]), float(cost[i]))
        chosen: list[Candidate] = []
        while free.any() and len(chosen) < self._request.count:
            rng = np.random.default_rng(self._request.number(f"draw {len(chosen)}"))
            gain = self._settings.acquisition(stairs, beliefs, cost, rng) * chances
            best = int(np.where(free, gain, -np.inf).argmax())
            free[best] = False
            chosen.append(everything[best])
            beliefs, stairs = beliefs.after(best), stairs.with_point(float(beliefs.mean[best]), float(cost[best]))
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
