"""Expected hypervolume improvement when the cost is known and mAP is uncertain: exact, in closed form.

The hypervolume of a front (mAP up, cost down) below a reference cost is the area under the staircase
g(t) = best mAP at cost <= t. A candidate of cost c whose mAP is N(m, s^2) adds max(0, mAP - g(t)) at every t >= c, so

    EHVI = integral from c to the reference of EI(m, s; g(t)) dt = sum over steps of width x EI(m, s; height)

with the expected improvement EI(m, s; h) = s (phi(z) + z Phi(z)), z = (m - h) / s (Jones et al. 1998). With two
objectives of which one is known, this is Emmerich's expected hypervolume improvement without any further integral.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Floats = npt.NDArray[np.float64]


def expected_improvement(mean: Floats, sd: Floats, height: Floats | float) -> Floats:
    """E[max(0, mAP - height)] for mAP ~ N(mean, sd^2); arrays broadcast.

    >>> expected_improvement(np.array([1.0]), np.array([0.0]), 0.25).tolist()
    [0.75]
    """
    safe = np.maximum(sd, 1e-12)
    z = (mean - height) / safe
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    return np.asarray(safe * (density + z * ndtr(z)))


@dataclass(frozen=True)
class Staircase:
    """Best mAP by cost.

    Attributes:
        starts: (steps,) cost where each step begins, ascending; the first is minus infinity.
        heights: (steps,) mAP of each step, ascending; the first is that of the reference point.
        end: reference cost.
    """

    starts: Floats
    heights: Floats
    end: float

    @classmethod
    def of(cls, values: Floats, costs: Floats, floor: float, end: float) -> Staircase:
        """The staircase of points, above mAP `floor` and below cost `end`."""
        starts, heights = [-np.inf], [floor]
        for i in np.lexsort((-values, costs)):
            if costs[i] < end and values[i] > heights[-1]:
                starts.append(float(costs[i]))
                heights.append(float(values[i]))
        return cls(np.array(starts), np.array(heights), end)

    def with_point(self, value: float, cost: float) -> Staircase:
        """The staircase with one more point."""
        values, costs = np.append(self.heights[1:], value), np.append(self.starts[1:], cost)
        return Staircase.of(values, costs, float(self.heights[0]), self.end)

    def expected_gain(self, mean: Floats, sd: Floats, costs: Floats) -> Floats:
        """(candidates,) expected hypervolume improvement."""
        gains = expected_improvement(mean[:, None], sd[:, None], self.heights[None, :])
        return np.asarray((self._widths(costs) * gains).sum(axis=1))

    def _widths(self, costs: Floats) -> Floats:
        """(candidates, steps) how much of each step lies at or above each cost."""
        ends = np.append(self.starts[1:], self.end)
        return np.asarray(np.maximum(0.0, ends - np.maximum(self.starts, costs[:, None])))
