"""What a design can see: the smallest difference found with 80 % power, and the trainings that a wished one takes.

From the noise of one training beside others of its block, and from the number of questions asked: intervals hold
together for all of them, so more candidates see less. Noise that is not known gives no answer (NaN, None).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from scipy.optimize import brentq
from scipy.special import nctdtr, ndtri

from nas.results.intervals import CONFIDENCE, simultaneous_quantile

POWER = 0.8
"""Of a difference that a design is said to see: the field's usual share (Cohen 1988)."""
MOST_BLOCKS = 1000
"""Seeds beyond which nothing is planned."""


@dataclass(frozen=True)
class ComparisonDesign:
    """Candidates compared to one control, all trained once in each block.

    Attributes:
        candidates: networks compared to the control.
        blocks: seeds (and starts) each is trained in.
        control: trainings of the control in each block.
    """

    candidates: int
    blocks: int
    control: int = 1

    @property
    def df(self) -> int:
        """Degrees of freedom of the noise of one training: trainings minus networks minus blocks, plus one."""
        return max(0, self.blocks * (self.candidates + self.control) - self.candidates - self.blocks)

    @property
    def shared(self) -> float:
        """The control's share of the variance of each difference."""
        return 1.0 / (self.control + 1.0)

    @property
    def relative_error(self) -> float:
        """Standard error of a difference to the control, in units of the noise of one training."""
        return math.sqrt((1.0 + 1.0 / self.control) / self.blocks)


def visible_difference(sd: float, design: ComparisonDesign, power: float = POWER) -> float:
    """The smallest true difference to the control whose simultaneous 95 % interval excludes 0 with that power.

    Solves P(T > q) = power for T ~ noncentral t(df, difference / error); NaN where the noise is not known or the design
    leaves no degrees of freedom.

    >>> 0.005 < visible_difference(0.002, ComparisonDesign(candidates=5, blocks=3)) < 0.008
    True

    Args:
        sd: of one training beside others of its block (`Noise.single`).
        design: what is trained.
        power: share of studies in which it is found.
    """
    if design.df < 1 or design.candidates < 1:
        return math.nan
    return seen_by(sd * design.relative_error, _quantile(design), design.df, power)


@lru_cache(maxsize=4096)
def _quantile(design: ComparisonDesign) -> float:
    return simultaneous_quantile([design.shared] * design.candidates, design.df, CONFIDENCE)


def seen_by(error: float, quantile: float, df: float, power: float = POWER) -> float:
    """The smallest true difference that an interval of so many standard errors to each side tells from 0.

    Args:
        error: standard error of the difference; NaN where it is not known.
        quantile: half of the interval's width over the error.
        df: the error's degrees of freedom.
        power: share of studies in which it is found.
    """
    return error * _noncentrality(quantile, df, power) if error > 0 and df > 0 else math.nan


@lru_cache(maxsize=4096)
def _noncentrality(quantile: float, df: float, power: float) -> float:
    """The noncentrality at which Student's t passes the quantile with that power."""
    most = quantile + float(ndtri(power)) * math.sqrt(1.0 + quantile**2 / df) + 10.0
    return float(brentq(lambda shift: 1 - nctdtr(df, shift, quantile) - power, 0.0, most))


def blocks_needed(sd: float, wished: float, design: ComparisonDesign, power: float = POWER) -> int | None:
    """Seeds each network must be trained in to see a wished difference; None where that is not known or too many.

    Arguments as for `visible_difference`; the design's own number of blocks plays no part.
    """
    if not sd > 0 or not wished > 0:
        return None

    def seen(blocks: int) -> bool:
        return visible_difference(sd, replace(design, blocks=blocks), power) <= wished

    if not seen(MOST_BLOCKS):
        return None
    low, high = 1, MOST_BLOCKS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high
