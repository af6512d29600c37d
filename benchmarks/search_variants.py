"""What else was tried in place of the default strategy: other acquisitions, other features, a set kernel.

Names and what they change; `search_efficiency.py --variants` compares them on the same landscapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product

import moocore
import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from nas.search.proposals import Observation, Proposal, Request
from nas.search.proposals.features import Features
from nas.search.proposals.improvement import Staircase
from nas.search.proposals.model import Beliefs, ModelSettings, level_and_scale
from nas.search.proposals.placement import PlacementSampler, PlacementSettings
from nas.spaces import Candidate

Floats = npt.NDArray[np.float64]

PAIRS = ("near", "same stage", "stage pair", "site pair", "block pair", "mix", "many")
FINE = ("cell", "block stage", "stage", "end", "mean block", "mean site")
SCALES = {"site": 1.0, "block": 1.0, "stage": 0.7, "block stage": 0.7, "cell": 0.7, "count": 0.5, "hyperparameter": 0.7}


class SetKernel:
    """Gaussian process over sets of placements: a linear and a squared exponential kernel of their summed features.

    Share of the linear part, length and noise by marginal likelihood on a grid.
    """

    def __init__(self, request: Request, observed: Sequence[Observation]) -> None:
        self._features = Features(request.space, [*(o.candidate for o in observed), *request.pending])
        self._maps = np.array([o.map for o in observed], dtype=np.float64)
        self._level, self._scale = level_and_scale(self._maps)
        self._x = self._matrix([o.candidate for o in observed])
        self._y = (self._maps - self._level) / self._scale
        grid = product((0.0, 0.5, 0.9), (2.0, 4.0), (0.02, 0.1, 0.3))
        self._share, self._length, self._residual = max(grid, key=lambda point: self._evidence(*point))
        gram = self._kernel(self._x, self._x) + self._residual * np.eye(len(self._y))
        self._factor = cho_factor(gram, lower=True)
        self._weights = cho_solve(self._factor, self._y)

    @property
    def floor(self) -> float:
        return float(self._maps.min())

    def observed(self) -> Floats:
        fitted = self._kernel(self._x, self._x) @ self._weights
        return np.asarray(self._level + self._scale * fitted)

    def of(self, candidates: Sequence[Candidate]) -> Beliefs:
        x = self._matrix(candidates)
        across = self._kernel(self._x, x)
        half = solve_triangular(self._factor[0], across, lower=True)
        covariance = self._kernel(x, x) - half.T @ half
        # A square root of the covariance: the noise on its diagonal is far below any deviation that matters.
        root = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(x))).T
        mean = self._level + self._scale * (across.T @ self._weights)
        noise = self._residual * self._scale**2
        return Beliefs(mean, self._scale * root, 0.0, noise)

    def _matrix(self, candidates: Sequence[Candidate]) -> Floats:
        found = self._features(candidates)
        scale = np.array([SCALES.get(g, 0.7 if g.startswith("recipe ") else 0.0) for g in found.groups])
        return np.asarray((found.values * scale)[:, scale > 0])

    def _kernel(self, a: Floats, b: Floats, share: float | None = None, length: float | None = None) -> Floats:
        share, length = self._share if share is None else share, length or self._length
        dots = a @ b.T
        squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * dots
        return np.asarray(share * (0.1 * dots + 1.0) + (1 - share) * (np.exp(-squares / (2 * length**2)) + 1.0))

    def _evidence(self, share: float, length: float, residual: float) -> float:
        gram = self._kernel(self._x, self._x, share, length) + residual * np.eye(len(self._y))
        factor = cho_factor(gram, lower=True)
        return float(-0.5 * self._y @ cho_solve(factor, self._y) - np.log(np.diag(factor[0])).sum())


def replicating(request: Request) -> list[Proposal]:
    """Every fourth training repeats a candidate of the front of the means, the one with fewest trainings."""
    fresh = PlacementSampler()(replace(request, count=request.count - 1))
    known = [o for o in request.history if o.map is not None and o.cost is not None]
    if len(known) < PlacementSettings().start:
        return fresh
    points = np.array([[-float(o.map or 0.0), float(o.cost or 0.0)] for o in known])
    front = [o for o, keep in zip(known, moocore.is_nondominated(points), strict=True) if keep]
    least = min(front, key=lambda o: (o.replicates, -(o.map or 0.0)))
    return [*fresh, Proposal(least.candidate, least.attrs)]


def optimistic(stairs: Staircase, beliefs: Beliefs, costs: Floats, _: np.random.Generator) -> Floats:
    """(candidates,) gain one deviation above the mean."""
    return stairs.expected_gain(beliefs.mean + beliefs.sd, np.zeros(len(costs)), costs)


def thompson(stairs: Staircase, beliefs: Beliefs, costs: Floats, rng: np.random.Generator) -> Floats:
    """(candidates,) gain of a joint draw."""
    own = np.sqrt(beliefs.own) * rng.standard_normal(len(beliefs.mean))
    drawn = beliefs.mean + rng.standard_normal(len(beliefs.halves)) @ beliefs.halves + own
    return stairs.expected_gain(np.asarray(drawn), np.zeros(len(costs)), costs)


def _with(**changes: object) -> PlacementSampler:
    return PlacementSampler(replace(PlacementSettings(), **changes))  # type: ignore[arg-type]


def _without(*groups: str) -> PlacementSampler:
    return _with(model=replace(ModelSettings(), left_out=groups))


VARIANTS: Mapping[str, Callable[[Request], list[Proposal]]] = {
    "placement": PlacementSampler(),
    "Thompson draw instead of expected gain": _with(acquisition=thompson),
    "one deviation above the mean (UCB) instead of expected gain": _with(acquisition=optimistic),
    "blocks and sites only (additive)": _without(*PAIRS, *FINE),
    "without pairs": _without(*PAIRS),
    "without pairs of single sites": _without("site pair"),
    "fixed variances, not learned": _with(model=replace(ModelSettings(), steps=0)),
    "set kernel instead of linear features": PlacementSampler(surrogate=SetKernel),
    "starts after 4 trainings": _with(start=4),
    "starts after 16 trainings": _with(start=16),
    "every fourth training repeats one of the front": replicating,
    "no local search": _with(near=0, draws=800),
}
