"""Effects in mAP: a weighted regression over candidates, with errors that hold for candidates, not trainings.

Replicates of one candidate share its own deviation, so a candidate is one observation whose variance is
own^2 + seed^2 / trainings; weights follow from both, and standard errors from the residuals of whole candidates
(HC3, the jackknife's form, which needs no equal variances). Where few candidates decide a contrast, their residuals
alone would be a poor estimate of its error: it is moderated by the variance of all candidates, in proportion to the
number that decide (as in Smyth, Linear Models and Empirical Bayes Methods, 2004). Which contrasts make a rule is left
to `families`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.stats import f as fisher
from scipy.stats import t as student

from nas.results.intervals import Estimate
from nas.shrinking.design import Design, DesignChoice, Term, build_design
from nas.shrinking.sample import Sample
from nas.shrinking.saturation import saturation, scaled

Floats = npt.NDArray[np.float64]

MIN_DF = 8
"""Residual degrees of freedom below which nothing is estimated."""
_LEVERAGE_CAP = 0.95
_PRIOR_CANDIDATES = 20.0
"""Candidates that the variance of all counts as, beside those that decide a contrast."""


@dataclass(frozen=True)
class Fit:
    """A fitted design.

    Attributes:
        design: columns and their names; rows are the candidates with a finite score.
        beta: (columns,) coefficients, mAP.
        row_space: (columns, columns) projection on what the sample can tell apart.
        residuals: (candidates,) mAP.
        jackknifed: (candidates,) residuals as they would be had the candidate not been fitted, mAP.
        expected: (candidates,) variance of each candidate's score if all were alike but for their trainings.
        gain: (columns, candidates) beta as a linear map of the scores.
        df: residual degrees of freedom.
        seed_sd: sd between trainings of one candidate; NaN without replicates.
        own_sd: sd of the candidates' own deviations beyond the design; NaN without replicates.
        rows: (all candidates,) which candidates of the sample were used.
    """

    design: Design
    beta: Floats
    row_space: Floats
    residuals: Floats
    jackknifed: Floats
    expected: Floats
    gain: Floats
    df: int
    seed_sd: float
    own_sd: float
    rows: npt.NDArray[np.bool_]

    @cached_property
    def enough(self) -> bool:
        """Whether there are enough candidates for the number of columns."""
        return self.df >= MIN_DF

    def estimable(self, contrast: Floats) -> bool:
        """Whether the sample can tell what the contrast asks."""
        return bool(np.abs(self.row_space @ contrast - contrast).max(initial=0.0) < 1e-6)

    def difference(self, contrast: Floats) -> Estimate | None:
        """A contrast's estimate and standard error; None when the sample cannot tell it."""
        if not self.enough or not self.estimable(contrast):
            return None
        covariance, df = self.errors(contrast[None, :])
        return Estimate(float(contrast @ self.beta), float(np.sqrt(max(covariance[0, 0], 0.0))), float(df[0]))

    def errors(self, contrasts: Floats) -> tuple[Floats, Floats]:
        """(contrasts, contrasts) covariance, clustered by candidate, and (contrasts,) degrees of freedom."""
        reach = contrasts @ self.gain
        share = reach**2 * self.expected
        deciding = share.sum(axis=1) ** 2 / np.maximum((share**2).sum(axis=1), 1e-300)
        own = np.sqrt(deciding / (deciding + _PRIOR_CANDIDATES))
        common = np.sqrt(_PRIOR_CANDIDATES / (deciding + _PRIOR_CANDIDATES))
        robust, alike = (reach * self.jackknifed**2) @ reach.T, (reach * self.expected) @ reach.T
        blended = robust * np.outer(own, own) + alike * np.outer(common, common)
        return blended, np.minimum(deciding + _PRIOR_CANDIDATES, self.df)

    def term(self, term: Term) -> Estimate | None:
        """The coefficient of one column; None when there is no such column or it cannot be told."""
        return self.difference(self.design.unit(term)) if self.design.has(term) else None

    def wald_p(self, contrasts: Floats) -> float:
        """p value against "all these contrasts are zero" (F test); NaN when not all can be told."""
        if not self.enough or not all(self.estimable(row) for row in contrasts):
            return float("nan")
        covariance, df = self.errors(contrasts)
        rank = int(np.linalg.matrix_rank(covariance, tol=1e-14))
        if rank == 0:
            return float("nan")
        values = contrasts @ self.beta
        statistic = float(values @ np.linalg.pinv(covariance, rcond=1e-10) @ values) / rank
        return float(fisher.sf(statistic, rank, df.min()))


def fit_effects(sample: Sample, choice: DesignChoice | None = None) -> Fit:
    """The effects of a sample.

    Args:
        sample: one backbone's candidates.
        choice: groups of columns; None: all that the sample can carry (see `affordable`).
    """
    used = np.isfinite(sample.score)
    kept = sample.take(used)
    design = build_design(kept, choice or affordable(kept))
    scale = saturation(design, kept)
    fit = _weighted(scaled(design, kept, scale), kept, used)
    return replace(fit, df=fit.df - len(scale))


def differ(coarse: Fit, fine: Fit, level: float = 0.01) -> bool:
    """Whether the finer of two nested fits is needed: F test of the residual sums of squares."""
    extra = coarse.df - fine.df
    within, beyond = (float((f.residuals**2).sum()) for f in (fine, coarse))
    if extra <= 0 or within <= 0 or not fine.enough:
        return False
    return bool(fisher.sf((beyond - within) / extra / (within / fine.df), extra, fine.df) < level)


def affordable(sample: Sample) -> DesignChoice:
    """The richest design that leaves enough degrees of freedom; groups go in the order they matter least."""
    tries = (
        DesignChoice(),
        DesignChoice(params=False),
        DesignChoice(nearest=4, params=False),
        DesignChoice(nearest=2, params=False, mix=False),
        DesignChoice(nearest=0, params=False, mix=False, pairs=False),
        DesignChoice(nearest=2, sites="stages", pairs=True, mix=False, params=False),
        DesignChoice(nearest=0, sites="stages", pairs=False, mix=False, params=False),
    )
    for choice in tries:
        matrix = build_design(sample, choice).matrix
        if len(sample) - np.linalg.matrix_rank(matrix) >= max(MIN_DF, len(sample) // 4):
            return choice
    return tries[-1]


def _weighted(design: Design, sample: Sample, rows: npt.NDArray[np.bool_]) -> Fit:
    """Weighted least squares; weights from the seed's and the candidates' own variance."""
    weights = sample.finished.astype(np.float64)
    fit = _solve(design, sample.score, weights, sample.seed_sd, rows)
    if np.isnan(sample.seed_sd) or not fit.enough or len(set(sample.finished.tolist())) < 2:
        return fit
    variance = fit.own_sd**2 + sample.seed_sd**2 / sample.finished
    return _solve(design, sample.score, 1 / np.maximum(variance, 1e-12), sample.seed_sd, rows)


def _solve(design: Design, score: Floats, weights: Floats, seed_sd: float, rows: npt.NDArray[np.bool_]) -> Fit:
    root = np.sqrt(weights / weights.mean()) if len(weights) else weights
    left, singular, right = np.linalg.svd(design.matrix * root[:, None], full_matrices=False)
    rank = int((singular > singular.max(initial=0.0) * 1e-9).sum())
    left, singular, right = left[:, :rank], singular[:rank], right[:rank]
    gain = (right.T / singular) @ left.T * root
    beta = gain @ score
    leverage = np.minimum((left**2).sum(axis=1), 1.0)
    residuals = score - design.matrix @ beta
    df = len(score) - rank
    # A candidate that alone decides a column (often the baseline) has no residual to speak of: the model's variance.
    common = float((weights * residuals**2).sum()) / max(df, 1) / weights
    jackknifed = np.where(leverage < _LEVERAGE_CAP, residuals / np.maximum(1 - leverage, 1e-9), np.sqrt(common))
    return Fit(
        design=design,
        beta=beta,
        row_space=right.T @ right,
        residuals=residuals,
        jackknifed=jackknifed,
        expected=common,
        gain=gain,
        df=df,
        seed_sd=seed_sd,
        own_sd=_own_sd(residuals, leverage, weights, seed_sd),
        rows=rows,
    )


def _own_sd(residuals: Floats, leverage: Floats, weights: Floats, seed_sd: float) -> float:
    """By moments: the residual variance is own^2 + seed^2 / trainings; here for weights = trainings."""
    if np.isnan(seed_sd) or (1 - leverage).sum() < 1:
        return float("nan")
    total = float((residuals**2).sum()) / float((1 - leverage).sum())
    return float(np.sqrt(max(total - seed_sd**2 * float(np.mean(1 / np.maximum(weights, 1))), 0.0)))


def quantile(df: float, confidence: float) -> float:
    """Half-width of an interval in standard errors."""
    return float(student.ppf(0.5 + confidence / 2, df))
