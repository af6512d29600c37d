"""Effects in mAP: a weighted regression over candidates, with errors that hold for candidates, not trainings.

Replicates of one candidate share its own deviation, so a candidate is one observation whose variance is
own^2 + seed^2 / trainings; weights follow from both. What a seed or a start moves for all candidates alike is a fixed
effect: where candidates were not all trained in the same ones, its columns say how much of a candidate's mean comes
from each, and the differences between trainings of one candidate, which know nothing else, are rows of their own with
variance seed^2 (together that is generalised least squares over trainings). Standard errors come from the residuals of
whole candidates (HC3, the jackknife's form, which needs no equal variances). Where few candidates decide a contrast,
their residuals alone would be a poor estimate of its error: it is moderated by the variance of all candidates, in
proportion to the number that decide (as in Smyth, Linear Models and Empirical Bayes Methods, 2004). Which contrasts
make a rule is left to `families`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import fdtrc

from nas.results.intervals import NOT_KNOWN, Estimate, Floats
from nas.shrinking.design import SEEDS, Design, DesignChoice, Term, build_design
from nas.shrinking.sample import Flags, Sample
from nas.shrinking.saturation import saturation, scaled

MIN_DF = 8
"""Residual degrees of freedom below which nothing is estimated: the 95 % interval of a standard deviation from 8 of
them reaches from 0.68 to 1.92 of it; of fewer, a standard error is hardly more than a guess."""
LEAST_SHARE = 4
"""A design leaves a quarter of the candidates as degrees of freedom, so that leverages stay below 0.75 on the mean."""
_LEVERAGE_CAP = 0.95
"""Beyond it HC3 divides a residual by less than 0.05, and says more of rounding than of the candidate."""
_PRIOR_CANDIDATES = 20.0
"""Candidates that the variance of all counts as, beside those that decide a contrast: with it single placements in
four blocks err as often as they say (`test_a_level_that_few_candidates_decide_is_not_too_sure`)."""
TINY = 1e-12
"""Variance (mAP^2) that keeps weights finite where trainings repeat each other exactly."""


@dataclass(frozen=True)
class Fit:
    """A fitted design.

    Attributes:
        design: columns and their names; rows are the candidates with a finite score.
        beta: (columns,) coefficients, mAP.
        row_space: (columns, columns) projection on what the sample can tell apart.
        residuals: (candidates,) mAP.
        jackknifed: (rows,) residuals as they would be had the row not been fitted, mAP; the candidates' first, then
            those of differences between trainings of one candidate.
        expected: (rows,) variance of each row if all were alike but for their trainings.
        gain: (columns, rows) beta as a linear map of the scores.
        df: candidates beyond the columns that only they tell.
        seed_sd: sd between trainings of one candidate; NaN without replicates.
        own_sd: sd of the candidates' own deviations beyond the design; NaN without replicates.
        rows: (all candidates,) which candidates of the sample were used.
        repeated: what the errors rest on where they are those of trainings alone (see `repeated`): `seeds` or `starts`.
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
    rows: Flags
    repeated: str | None = None

    @cached_property
    def enough(self) -> bool:
        """Whether there are enough candidates for the number of columns."""
        return self.df >= MIN_DF

    def estimable(self, contrast: Floats) -> bool:
        """Whether the sample can tell what the contrast asks."""
        return bool(np.abs(self.row_space @ contrast - contrast).max(initial=0.0) < 1e-6)

    def difference(self, contrast: Floats) -> Estimate:
        """A contrast's estimate and standard error; not known when the sample cannot tell it."""
        if not self.enough or not self.estimable(contrast):
            return NOT_KNOWN
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

    def term(self, term: Term) -> Estimate:
        """The coefficient of one column; not known when there is no such column or it cannot be told."""
        return self.difference(self.design.unit(term)) if self.design.has(term) else NOT_KNOWN

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
        return float(fdtrc(rank, df.min(), max(0.0, statistic)))


def fit_effects(sample: Sample, choice: DesignChoice | None = None) -> Fit:
    """The effects of a sample, with the groups of columns chosen; None: all that it can carry (see `affordable`)."""
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
    if fine.repeated and fine.enough:  # no candidates are left over to tell it: their trainings do
        extra = int(np.subtract(*(np.linalg.matrix_rank(f.design.matrix) for f in (fine, coarse))))
        return extra > 0 and bool(fdtrc(extra, fine.df, beyond / extra / float(fine.expected[0])) < level)
    if extra <= 0 or within <= 0 or not fine.enough:
        return False
    return bool(fdtrc(extra, fine.df, (beyond - within) / extra / (within / fine.df)) < level)


def repeated(fit: Fit, sample: Sample) -> Fit | None:
    """The fit with the errors of trainings alone, where the sample is the whole space and all were trained alike.

    A candidate's own deviation from the columns is then no chance: there are no others that it could have been drawn
    from. What is left is the noise of its mean: of the differences between candidates in one seed, what their means
    over all seeds do not tell (the interaction of a two-way table); no residual of a single candidate is read (there
    may be none: a column for each). From trained weights, starts repeat, not seeds: what a start does to a candidate is
    the same in all of its seeds, and one start is not enough (what it said of placements put in as the identity had
    nothing to do with what another said, docs/placement-table.md).

    Args:
        fit: of the whole space, each candidate finished.
        sample: those candidates.

    Returns:
        The fit; None where they were not all trained in the same seeds and starts, of which two are needed (from
        scratch, two seeds).
    """
    means, counts = sample.trained.means(sample.trained.start, len(sample))
    means = means[sample.counts > 0]  # the plain network is trained more often, and moves less
    if SEEDS in fit.design.factors or min(means.shape) < 2 or not np.isfinite(means).all():
        return None
    left = means - means.mean(axis=1, keepdims=True) - means.mean(axis=0) + means.mean()
    df = (means.shape[0] - 1) * (means.shape[1] - 1)
    share = counts[0] / counts[0].sum()
    alike = np.full(len(fit.expected), max(float((left**2).sum() / df * (share**2).sum()), TINY))
    by = "starts" if sample.trained.start.max(initial=-1) >= 0 else "seeds"
    return replace(fit, jackknifed=np.sqrt(alike), expected=alike, df=df, own_sd=0.0, repeated=by)


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
        if freedom(build_design(sample, choice), sample) >= max(MIN_DF, len(sample) // LEAST_SHARE):
            return choice
    return tries[-1]


def least_candidates(design: Design) -> int:
    """Finished candidates from which all columns of a design can be afforded, if all can be told apart."""
    columns = len(design.terms)
    return max(columns + MIN_DF, math.ceil(columns * LEAST_SHARE / (LEAST_SHARE - 1)))


def freedom(design: Design, sample: Sample) -> int:
    """Candidates beyond the columns that only they can tell."""
    inside, _ = _inside(design, sample)
    own = int(np.linalg.matrix_rank(inside)) if inside.size else 0
    return len(sample) + own - int(np.linalg.matrix_rank(np.vstack([design.matrix, inside])))


def _inside(design: Design, sample: Sample) -> tuple[Floats, Floats]:
    """(rows, columns) and (rows,) differences between trainings of one candidate; none where seeds have no columns."""
    if SEEDS not in design.factors:
        return np.zeros((0, len(design.terms))), np.zeros(0)
    blocks, score = sample.trained.within()
    first = design.factors[SEEDS].first
    matrix = np.zeros((len(score), len(design.terms)))
    matrix[:, first : first + blocks.shape[1] - 1] = blocks[:, :-1] - blocks[:, -1:]
    return matrix, score


def _weighted(design: Design, sample: Sample, rows: Flags) -> Fit:
    """Weighted least squares; weights from the seed's and the candidates' own variance."""
    inside = _inside(design, sample)
    alike = np.concatenate([sample.finished.astype(np.float64), np.ones(len(inside[1]))])
    fit = _solve(design, sample, inside, alike, rows)
    if np.isnan(sample.seed_sd) or not fit.enough or (len(set(alike.tolist())) < 2 and not len(inside[1])):
        return fit
    seed = sample.seed_sd**2
    variance = np.concatenate([fit.own_sd**2 + seed / sample.finished, np.full(len(inside[1]), seed)])
    return _solve(design, sample, inside, 1 / np.maximum(variance, TINY), rows)


def _solve(design: Design, sample: Sample, inside: tuple[Floats, Floats], weights: Floats, rows: Flags) -> Fit:
    """One weighted fit.

    With W the weights and U S V^T the singular values of W^(1/2) X cut at the rank: beta = V S^-1 U^T W^(1/2) y, which
    is the shortest of all best ones where columns repeat each other; V V^T projects on what the sample can tell, and
    the rows of U^2 sum to the leverages.
    """
    n = len(sample)
    matrix, score = np.vstack([design.matrix, inside[0]]), np.concatenate([sample.score, inside[1]])
    root = np.sqrt(weights / weights.mean()) if len(weights) else weights
    left, singular, right = np.linalg.svd(matrix * root[:, None], full_matrices=False)
    rank = int((singular > singular.max(initial=0.0) * 1e-9).sum())
    left, singular, right = left[:, :rank], singular[:rank], right[:rank]
    gain = (right.T / singular) @ left.T * root
    beta = gain @ score
    leverage = np.minimum((left**2).sum(axis=1), 1.0)
    residuals = score - matrix @ beta
    # A candidate that alone decides a column (often the baseline) has no residual to speak of: the model's variance.
    common = float((weights * residuals**2).sum()) / max(len(score) - rank, 1) / weights
    jackknifed = np.where(leverage < _LEVERAGE_CAP, residuals / np.maximum(1 - leverage, 1e-9), np.sqrt(common))
    return Fit(
        design=design,
        beta=beta,
        row_space=right.T @ right,
        residuals=residuals[:n],
        jackknifed=jackknifed,
        expected=common,
        gain=gain,
        df=freedom(design, sample),
        seed_sd=sample.seed_sd,
        own_sd=_own_sd(residuals[:n], leverage[:n], sample),
        rows=rows,
    )


def _own_sd(residuals: Floats, leverage: Floats, sample: Sample) -> float:
    """By moments: the residual variance of candidates is own^2 + seed^2 / trainings."""
    if np.isnan(sample.seed_sd) or (1 - leverage).sum() < 1:
        return float("nan")
    total = float((residuals**2).sum()) / float((1 - leverage).sum())
    return float(np.sqrt(max(total - sample.seed_sd**2 * float(np.mean(1 / np.maximum(sample.finished, 1))), 0.0)))
