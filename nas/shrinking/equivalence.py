"""Equivalence: when "no worse by more than the margin" is shown, and when a sample could not have shown anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t as student

Answer = Literal["better", "worse", "equal", "unclear"]


@dataclass(frozen=True)
class Difference:
    """An estimated difference in mAP.

    Attributes:
        effect: estimate.
        se: standard error.
        df: degrees of freedom of the standard error.
    """

    effect: float
    se: float
    df: float

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided interval."""
        half = float(student.ppf(0.5 + confidence / 2, self.df)) * self.se
        return self.effect - half, self.effect + half

    def p_above(self, bound: float = 0.0) -> float:
        """One-sided p value against "the difference is `bound` or less"."""
        return float(student.sf((self.effect - bound) / self.se, self.df)) if self.se > 0 else float("nan")

    def p_below(self, bound: float = 0.0) -> float:
        """One-sided p value against "the difference is `bound` or more"."""
        return float(student.cdf((self.effect - bound) / self.se, self.df)) if self.se > 0 else float("nan")

    def p_two_sided(self) -> float:
        """p value against "no difference"."""
        return min(1.0, 2 * min(self.p_above(), self.p_below())) if self.se > 0 else float("nan")


def no_worse(difference: Difference, margin: float, level: float = 0.05) -> bool:
    """Whether the difference is shown to be above -margin (non-inferiority, one-sided).

    >>> no_worse(Difference(-0.0001, 0.0001, 100), margin=0.0005)
    True
    """
    return bool(difference.p_above(-margin) <= level)


def compare(difference: Difference, margin: float, confidence: float = 0.95) -> Answer:
    """What an interval says: better or worse than no difference, equal within the margin, or unclear.

    >>> compare(Difference(0.0001, 0.0001, 100), margin=0.0005)
    'equal'
    """
    low, high = difference.interval(confidence)
    if np.isnan(low) or low <= 0 <= high:
        return "equal" if -margin <= low and high <= margin else "unclear"
    return "better" if low > 0 else "worse"


def could_see(difference: Difference, effect: float, level: float = 0.05, power: float = 0.8) -> bool:
    """Whether a sample of this precision finds a true difference of `effect` with the given power.

    >>> could_see(Difference(0.0, 0.0002, 100), 0.001), could_see(Difference(0.0, 0.0008, 100), 0.001)
    (True, False)
    """
    needed = float(student.ppf(1 - level / 2, difference.df) + student.ppf(power, difference.df))
    return bool(difference.se * needed <= effect)
