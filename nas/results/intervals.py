"""Intervals: one Student form; from fewer than two independent values they are not known (NaN)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import chdtri, gammaincinv, ndtr, stdtr, stdtrit

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

UNKNOWN: Interval = (math.nan, math.nan)
CONFIDENCE = 0.95
"""Of every interval, unless one says otherwise: what the field prints."""
ROUNDING = 1e-12
"""A spread below so much of the largest value is what rounding leaves of equal values. Equal scores show that the data
are too few, or the trainings too short, for any noise to be seen, never that there is none."""


@dataclass(frozen=True)
class Estimate:
    """An estimated number with its standard error.

    Attributes:
        value: the estimate.
        se: its standard error; NaN where it is not known.
        df: degrees of freedom of the standard error; 0 where it is not known.
    """

    value: float
    se: float = math.nan
    df: float = 0.0

    def __neg__(self) -> Estimate:
        """The same seen from the other side: of A minus B, B minus A."""
        return Estimate(-self.value, self.se, self.df)

    def __sub__(self, other: Estimate) -> Estimate:
        """Minus an independent one, unequal variances (Welch and Satterthwaite); not known where one of them is not.

        df = (v1 + v2)^2 / (v1^2 / df1 + v2^2 / df2), v = se^2.

        >>> found = mean_from(0.88, 0.001, 3) - mean_from(0.88, 0.001, 3)
        >>> round(found.df), round(found.interval()[1], 4)
        (4, 0.0023)
        """
        value, v1, v2 = self.value - other.value, self.se**2, other.se**2
        if not (self.known and other.known):
            return Estimate(value)
        return Estimate(value, math.sqrt(v1 + v2), (v1 + v2) ** 2 / (v1**2 / self.df + v2**2 / other.df))

    @property
    def known(self) -> bool:
        """Whether anything is known of its error; one of 0 rests on equal values, and is not."""
        return self.df > 0 and 0 < self.se < math.inf and math.isfinite(self.value)

    def interval(self, confidence: float = CONFIDENCE, quantile: float | None = None) -> Interval:
        """value -+ t(df) se; not known without degrees of freedom.

        Args:
            confidence: of the two-sided interval.
            quantile: in place of Student's, as `simultaneous_quantile` gives it.

        >>> Estimate(0.01).interval()
        (nan, nan)
        """
        if not self.known:
            return UNKNOWN
        half = self.se * (student_quantile(self.df, confidence) if quantile is None else quantile)
        return self.value - half, self.value + half

    def p_above(self, bound: float = 0.0) -> float:
        """One-sided p value against "it is `bound` or less"; NaN where the error is not known."""
        return float(stdtr(self.df, (bound - self.value) / self.se)) if self.known else math.nan

    def p_below(self, bound: float = 0.0) -> float:
        """One-sided p value against "it is `bound` or more"; NaN where the error is not known."""
        return float(stdtr(self.df, (self.value - bound) / self.se)) if self.known else math.nan

    def p_two_sided(self) -> float:
        """p value against "it is 0"; NaN where the error is not known."""
        return float(np.minimum(1.0, 2.0 * np.minimum(self.p_above(), self.p_below())))


NOT_KNOWN = Estimate(math.nan)
"""What a table does not tell."""


@dataclass(frozen=True)
class Spread:
    """A standard deviation and its degrees of freedom; not known when there are none.

    Attributes:
        sd: NaN where it is not known.
        df: degrees of freedom.
    """

    sd: float = math.nan
    df: float = 0.0

    @property
    def known(self) -> bool:
        return self.df > 0

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """sd sqrt(df / chi2): of normal values; not known where no spread was seen.

        >>> [round(end, 3) for end in Spread(1.0, 10).interval()]
        [0.699, 1.755]
        """
        if not (self.known and self.sd > 0):
            return UNKNOWN
        upper, lower = chdtri(self.df, [0.5 - confidence / 2, 0.5 + confidence / 2])
        return self.sd * math.sqrt(self.df / upper), self.sd * math.sqrt(self.df / lower)

    @property
    def reach(self) -> float:
        """Half of the 95 % interval of one value of this spread; NaN where none was seen."""
        return student_quantile(self.df) * self.sd if self.sd > 0 else math.nan


def student_quantile(df: float, confidence: float = CONFIDENCE) -> float:
    """Half width of a two-sided interval in standard errors; NaN without degrees of freedom."""
    return float(stdtrit(df, 0.5 + confidence / 2)) if df > 0 else math.nan


def mean_of(values: npt.ArrayLike) -> Estimate:
    """The mean of independent values; NaN are left out.

    >>> mean_of([0.3, 0.3]).interval()
    (nan, nan)
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if len(known) < 2:
        return Estimate(float(known.mean()) if len(known) else math.nan)
    return mean_from(float(known.mean()), float(known.std(ddof=1)), len(known))


def mean_from(mean: float, sd: float, n: float) -> Estimate:
    """The mean of n independent values, from what is told of them; its error is not known from fewer than two, or
    equal ones."""
    return Estimate(mean, sd / math.sqrt(n), n - 1) if n > 1 and sd > ROUNDING * abs(mean) else Estimate(mean)


def mean_interval(values: npt.ArrayLike) -> Interval:
    """Student's interval of the mean of independent values.

    >>> mean_interval([0.63])
    (nan, nan)
    """
    return mean_of(values).interval()


def half_widths(sd: npt.ArrayLike, n: npt.ArrayLike, confidence: float = CONFIDENCE) -> Floats:
    """Half of Student's interval of means of n independent values each, from their sd; NaN for fewer than two, or
    equal ones."""
    spread, count = np.asarray(sd, dtype=np.float64), np.asarray(n, dtype=np.float64)
    spread = np.where(spread > ROUNDING, spread, np.nan)
    quantile = stdtrit(np.where(count > 1, count - 1, np.nan), 0.5 + confidence / 2)
    return np.asarray(quantile * spread / np.sqrt(count))


def simultaneous_quantile(shared: npt.ArrayLike, df: float, confidence: float = CONFIDENCE) -> float:
    """Half width, in standard errors, of intervals that hold all together: Dunnett's for comparisons to one control.

    P(max_i |T_i| <= q) = confidence for T_i = (sqrt(r_i) Z_0 + sqrt(1 - r_i) Z_i) / S with independent standard normal
    Z and S^2 = chi2(df) / df; the two integrals by Gauss's rule (Dunnett, JASA 1955).

    Args:
        shared: (comparisons,) r_i: the control's share of the variance of each difference. 0, no common control, gives
            the studentized maximum modulus, which is never too narrow (Sidak, JASA 1967).
        df: degrees of freedom of the common standard deviation; 0: not known.

    >>> round(simultaneous_quantile([0.5] * 5, 10), 2)  # five treatments, one control as often trained
    2.99
    >>> abs(simultaneous_quantile([0.0], 7) - student_quantile(7)) < 1e-3
    True
    """
    share = np.clip(np.asarray(shared, dtype=np.float64), 0.0, 0.999)
    if not df > 0 or not len(share):
        return math.nan
    levels, counts = np.unique(np.round(share, 2), return_counts=True)
    nodes, weights = np.polynomial.hermite_e.hermegauss(48)
    weights = weights / weights.sum()
    unit, mass = np.polynomial.legendre.leggauss(48)
    scale = np.sqrt(2 * gammaincinv(df / 2, (unit + 1) / 2) / df)
    centre = np.sqrt(levels)[:, None, None] * nodes[None, :, None]
    own = np.sqrt(1 - levels)[:, None, None]

    def missing(q: float) -> float:
        reach = q * scale[None, None, :]
        inside = ndtr((reach - centre) / own) - ndtr((-reach - centre) / own)
        together = np.exp((counts[:, None, None] * np.log(np.maximum(inside, 1e-300))).sum(axis=0))
        return float(weights @ together @ (mass / 2)) - confidence

    single = student_quantile(df, confidence)
    most = student_quantile(df, 1 - (1 - confidence) / len(share))
    return float(brentq(missing, 0.9 * single, 1.1 * most + 1.0))
