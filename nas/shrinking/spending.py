"""How strict each look must be when the same growing sample is tested again and again.

Every round of `shrink: auto` tests all trainings so far, so its p values resemble those of the round before: sharing
the error rate out as if the looks were independent would waste most of it. The nominal level of a look follows from an
error-spending function: after a share t of the trainings, alpha t may be spent, and a look gets the level at which a
test without effect, not taken for a discovery before, is taken for one with what is left of that.

Source: Lan and DeMets, Discrete sequential boundaries for clinical trials, Biometrika 70 (1983), with the recursion of
Armitage, McPherson and Rowe, Repeated significance tests on accumulating data, JRSS A 132 (1969).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from nas.results.intervals import Floats

GRID = 801
"""Points of the integral; levels are exact to 1e-5."""
TAIL = 8.0
"""Standard deviations to which the integral reaches: beyond lies less than 1e-15."""
LEAST = 0.1
"""Share of what is left that a look may spend when the budget turns out larger than earlier looks thought: with less
an extended study would decide nothing, with more its last look nothing."""


@dataclass(frozen=True)
class Look:
    """A look at the data.

    Attributes:
        size: trainings it saw, those of earlier looks too.
        level: p value (one-sided) up to which a test counted as a discovery.
    """

    size: int
    level: float


def next_level(alpha: float, looks: Sequence[Look], size: int, total: int) -> float:
    """The level of the next look, so that all looks together err in at most `alpha` of the tests without effect.

    >>> round(next_level(0.05, [], 200, 400), 4)
    0.025
    >>> round(next_level(0.05, [Look(200, 0.025)], 400, 400), 4)  # half the level, were the looks independent
    0.0354

    Args:
        alpha: error rate of all looks.
        looks: the looks before, each at more trainings than the one before it.
        size: trainings this look sees, more than those before it.
        total: trainings when the budget is spent.
    """
    spent, process = 0.0, _Process.start()
    for look in looks:
        process = process.moved_to(look.size)
        if process.step > 0 and look.level > 0:
            boundary = -float(ndtri(look.level)) * look.size**0.5
            spent += process.beyond(boundary)
            process = process.cut_at(boundary)
    target = alpha * min(1.0, size / total) - spent
    if target <= 0:  # more was spent than such a budget allows by now
        target = LEAST * (alpha - spent)
    if target <= 0:
        return 0.0
    process = process.moved_to(size)
    highest = TAIL * size**0.5
    if process.beyond(-highest) <= target:  # nothing that is left could err more often
        return alpha
    boundary = brentq(lambda c: process.beyond(c) - target, -highest, highest, xtol=1e-9)
    return min(alpha, float(ndtr(-boundary / size**0.5)))


@dataclass(frozen=True)
class _Process:
    """The sum of a test without effect over the trainings, for those not yet taken for a discovery.

    Attributes:
        size: trainings so far.
        points, density: its distribution before the latest step, cut at the boundaries; empty at the start.
        step: trainings of the latest step.
    """

    size: int
    points: Floats
    density: Floats
    step: int

    @classmethod
    def start(cls) -> _Process:
        """Before the first training: the sum is 0."""
        return cls(0, np.empty(0), np.empty(0), 0)

    def moved_to(self, size: int) -> _Process:
        """After more trainings."""
        return _Process(size, self.points, self.density, self.step + size - self.size)

    def beyond(self, boundary: float) -> float:
        """Probability of a sum over the boundary now, and under all boundaries before."""
        sd = self.step**0.5
        if not len(self.points):
            return float(ndtr(-boundary / sd))
        return float(scipy.integrate.simpson(self.density * ndtr((self.points - boundary) / sd), x=self.points))

    def cut_at(self, boundary: float) -> _Process:
        """Those at or under the boundary, from here on."""
        sd = self.step**0.5
        points = np.linspace(-TAIL * self.size**0.5, boundary, GRID)
        if not len(self.points):
            return _Process(self.size, points, _density(points / sd) / sd, 0)
        steps = _density((points[:, None] - self.points[None, :]) / sd) / sd
        return _Process(self.size, points, scipy.integrate.simpson(steps * self.density, x=self.points, axis=1), 0)


def _density(x: Floats) -> Floats:
    """Of the standard normal distribution."""
    return np.asarray(np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi))
