"""What is believed of the mAP of candidates, given the observations: the surrogate in the units of mAP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nas.search.proposals.base import Observation
from nas.search.proposals.features import Features, Matrix
from nas.search.proposals.surrogate import LEVEL_VARIANCE, Data, Posterior, Prior, learned, posterior
from nas.spaces import Candidate, DesignSpace

Floats = npt.NDArray[np.float64]

LEVEL = "level"
OTHER = "other"
_OUTLIER = 6.0
"""Spreads below the median at which a score is cut: a diverged training says "bad", not how bad."""
_FLOOR = 4.0
"""Spreads below the median beyond which no improvement is counted: the reference point of the hypervolume."""


@dataclass(frozen=True)
class ModelSettings:
    """What can be chosen about the surrogate.

    Attributes:
        left_out: groups of features that are not used.
        prior: prior variance of a weight, by group, in variances of the observed mAP; `other` for all else.
        residual: prior share of the observed variance that is noise.
        own: share of the residual variance that belongs to the candidate, not to the seed, when noise is not known.
        steps: most steps of the search for variances; 0 keeps the prior ones.
    """

    left_out: tuple[str, ...] = ()
    prior: tuple[tuple[str, float], ...] = ((OTHER, 0.1),)
    residual: float = 0.2
    own: float = 0.3
    steps: int = 12


@dataclass(frozen=True)
class Beliefs:
    """A joint normal distribution of the true mAP of some candidates.

    Attributes:
        mean: (candidates,).
        halves: (features, candidates) H; the covariance is H^T H, plus `own` on the diagonal.
        own: variance of each candidate's own deviation.
        noise: variance of a training around its candidate's true mAP.
    """

    mean: Floats
    halves: Floats
    own: float
    noise: float

    @property
    def sd(self) -> Floats:
        """(candidates,) standard deviations."""
        return np.asarray(np.sqrt((self.halves**2).sum(axis=0) + self.own))

    @property
    def marginals(self) -> tuple[Floats, Floats]:
        """Means and standard deviations."""
        return self.mean, self.sd

    def after(self, index: int) -> Beliefs:
        """As if one candidate's expected mAP had been observed: means stay, deviations shrink.

        H' = (I - a h h^T) H for the candidate's column h, with a so that H'^T H' is the covariance given one more
        noisy value.
        """
        column = self.halves[:, index]
        power = float(column @ column)
        if power <= 0.0:
            return self
        kept = np.sqrt((self.own + self.noise) / (self.own + self.noise + power))
        return replace(self, halves=self.halves - np.outer(column, (1.0 - kept) / power * (column @ self.halves)))


class Model:
    """The surrogate fitted to observations.

    Args:
        space: sites, blocks and recipe values of new candidates.
        observed: observations with a mAP.
        noise: standard deviation of mAP between seeds, when known.
        settings: what is used and how.
        others: candidates from outside the space that will be asked about.
    """

    def __init__(
        self,
        space: DesignSpace,
        observed: Sequence[Observation],
        noise: float | None = None,
        settings: ModelSettings | None = None,
        others: Sequence[Candidate] = (),
    ) -> None:
        self._settings = settings or ModelSettings()
        candidates = [o.candidate for o in observed]
        self._features = Features(space, [*candidates, *others])
        self._maps = np.array([o.map for o in observed], dtype=np.float64)
        self._replicates = np.array([max(o.replicates, 1) for o in observed], dtype=np.float64)
        self._level, self._scale = level_and_scale(self._maps)
        self._x = self._matrix(candidates)
        self._fit(noise)

    @property
    def posterior(self) -> Posterior:
        """The weights, in standardised units."""
        return self._posterior

    @property
    def floor(self) -> float:
        """The lowest mAP worth speaking of: the lowest observed, unless that training diverged."""
        return float(max(self._maps.min(), self._level - _FLOOR * self._scale))

    def of(self, candidates: Sequence[Candidate]) -> Beliefs:
        """What is believed of candidates that were not trained."""
        x = self._matrix(candidates).values
        mean = self._level + self._scale * (x @ self._posterior.mean)
        noise = self._posterior.residual * self._scale**2 - self._own
        return Beliefs(mean, self._scale * self._posterior.halves(x), self._own, noise)

    def observed(self) -> Floats:
        """(observations,) expected true mAP of the observed candidates: model and own deviation."""
        fitted = self._level + self._scale * (self._x.values @ self._posterior.mean)
        noise = np.maximum(self._posterior.residual * self._scale**2 - self._own, 0.0) / self._replicates
        share = self._own / np.maximum(self._own + noise, 1e-300)
        return np.asarray(fitted + share * (self._maps - fitted))

    def _matrix(self, candidates: Sequence[Candidate]) -> Matrix:
        found = self._features(candidates)
        keep = np.array([group not in self._settings.left_out for group in found.groups], dtype=bool)
        groups = tuple(group for group, k in zip(found.groups, keep, strict=True) if k)
        level = np.ones((len(candidates), 1))
        return Matrix(np.concatenate([level, found.values[:, keep]], axis=1), (LEVEL, *groups))

    def _fit(self, noise: float | None) -> None:
        chosen = dict(self._settings.prior)
        prior = Prior({g: chosen.get(g, chosen[OTHER]) for g in self._x.groups}, self._settings.residual)
        prior = replace(prior, groups={**prior.groups, LEVEL: LEVEL_VARIANCE})
        y = np.maximum((self._maps - self._level) / self._scale, -_OUTLIER)
        own = self._settings.own
        relative = own + (1.0 - own) / self._replicates
        data = Data.of(self._x.values, y, self._x.groups, relative)
        if self._settings.steps:
            prior = learned(data, prior, fixed=(LEVEL,), steps=self._settings.steps)
        self._posterior = posterior(data, self._x.groups, prior)
        residual = prior.residual * self._scale**2
        self._own = residual * own if noise is None else max(residual - noise**2, 0.05 * residual)


def level_and_scale(values: Floats) -> tuple[float, float]:
    """Median and a spread that a few diverged trainings do not inflate; 1 when all are equal.

    The spread is the larger half of the interquartile range, in standard deviations of a normal distribution.
    """
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    spread = 1.4826 * max(high - middle, middle - low)
    if spread <= 0.0:
        spread = float(values.std())
    return float(middle), float(spread) if spread > 0.0 else 1.0
