"""Bayesian linear regression with one prior variance a group of features: the exact posterior, in closed form.

    y = X w + e,   w_i ~ N(0, v[group of i]),   e_r ~ N(0, s_own + s_seed / replicates_r)

This is a Gaussian process whose kernel is a sum over groups (Rasmussen and Williams 2006, sec. 2.1-2.2), written in
the space of features: the cost is that of a (features x features) matrix, whatever the number of trainings. The
variances maximise the evidence times log-normal priors. Only features that vary among the observations enter the
matrix; the others keep their prior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEVEL_VARIANCE = 100.0
"""Prior variance of the level, in variances of the target: as good as not known beforehand."""
PRIOR_SPREAD = 2.0
"""sd of the log-normal priors: a variance may well be seven times what it begins with, or a seventh."""


@dataclass(frozen=True)
class Prior:
    """Variances of the groups and of the residuals, in units of the standardised target.

    Attributes:
        groups: prior variance of a weight, by group.
        residual: variance of the residuals of single trainings.
    """

    groups: Mapping[str, float]
    residual: float


@dataclass(frozen=True)
class Posterior:
    """Weights after the observations.

    Attributes:
        mean: (features,) of the weights.
        root: (features, features) upper triangular R with covariance R^-1 R^-T, of the features that vary.
        used: (features,) which features those are.
        prior_variance: (features,) of all weights.
        residual: variance of residuals of single trainings.
        evidence: log marginal likelihood of the observations.
    """

    mean: Floats
    root: Floats
    used: npt.NDArray[np.bool_]
    prior_variance: Floats
    residual: float
    evidence: float

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of X w for (rows, features): what is expected of new candidates, without noise."""
        return x @ self.mean, (self.halves(x) ** 2).sum(axis=0)

    def halves(self, x: Floats) -> Floats:
        """(features, rows) H, so that H^T H is the covariance of X w."""
        seen = solve_triangular(self.root, x[:, self.used].T, trans="T", lower=False, check_finite=False)
        unseen = x[:, ~self.used] * np.sqrt(self.prior_variance[~self.used])
        return np.concatenate([seen, unseen.T])


@dataclass(frozen=True)
class Data:
    """Observations, reduced to what the posterior needs: sums over rows, weighted by replicates.

    Attributes:
        gram: (used, used) sum of x x^T / relative noise variance.
        moment: (used,) sum of x y / relative noise variance.
        power: sum of y^2 / relative noise variance.
        rows: number of observations.
        log_noise: sum of the logarithms of the relative noise variances.
        group: (used,) index of each feature's group.
        used: (features,) which features vary.
        names: names of the groups, by index.
    """

    gram: Floats
    moment: Floats
    power: float
    rows: int
    log_noise: float
    group: Ints
    used: npt.NDArray[np.bool_]
    names: tuple[str, ...]

    @classmethod
    def of(cls, x: Floats, y: Floats, groups: Sequence[str], relative_noise: Floats) -> Data:
        """Reduces (rows, features) `x` and (rows,) `y`; `relative_noise` is each row's variance by a single one's."""
        used = np.asarray((x != 0).any(axis=0))
        names = tuple(dict.fromkeys(groups))
        index = np.array([names.index(group) for group in groups], dtype=np.int64)
        weighted = x[:, used] / relative_noise[:, None]
        log_noise = float(np.log(relative_noise).sum())
        power = float(y @ (y / relative_noise))
        return cls(x[:, used].T @ weighted, weighted.T @ y, power, len(y), log_noise, index[used], used, names)


def posterior(data: Data, groups: Sequence[str], prior: Prior) -> Posterior:
    """The exact posterior of the weights under a prior."""
    variance = np.array([prior.groups[group] for group in groups])
    root, mean, evidence = _solve(data, variance[data.used], prior.residual)
    weights = np.zeros(len(groups))
    weights[data.used] = mean
    return Posterior(weights, root, data.used, variance, prior.residual, evidence)


def _solve(data: Data, variance: Floats, residual: float) -> tuple[Floats, Floats, float]:
    """Root of the precision, mean, log evidence.

    With the precision P = X^T N^-1 X / r + V^-1 = R^T R (N the relative noise of rows, r the residual variance, V the
    prior): mean = P^-1 X^T N^-1 y / r, and by the matrix determinant lemma log det cov(y) = log det P + log det V +
    rows log r + log det N, so that nothing of the size of the observations is ever built.
    """
    precision = data.gram / residual
    precision[np.diag_indices_from(precision)] += 1.0 / variance
    factor = cho_factor(precision, lower=False, check_finite=False)
    mean = cho_solve(factor, data.moment / residual, check_finite=False)
    root = np.triu(factor[0])
    log_det = 2.0 * float(np.log(np.diag(root)).sum()) + float(np.log(variance).sum())
    log_det += data.rows * np.log(residual) + data.log_noise
    fit = data.power / residual - float(data.moment @ mean) / residual
    return root, np.asarray(mean), -0.5 * (fit + log_det + data.rows * np.log(2.0 * np.pi))


def learned(
    data: Data, start: Prior, fixed: Sequence[str] = (), spread: float = PRIOR_SPREAD, steps: int = 12
) -> Prior:
    """The variances that maximise evidence x log-normal priors around `start`.

    Args:
        data: the observations.
        start: medians of the priors, and where the search begins.
        fixed: groups that keep their variance.
        spread: standard deviation of the priors, in natural logarithms.
        steps: most steps of the search (L-BFGS).
    """
    present = np.unique(data.group)
    free = np.array([i for i in present if data.names[i] not in fixed], dtype=np.int64)
    middle = np.log([*(start.groups[data.names[i]] for i in free), start.residual])
    logs = np.log([start.groups[name] for name in data.names])

    def loss(at: Floats) -> tuple[float, Floats]:
        value, slope = evidence_slope(data, np.concatenate([_put(logs, free, at[:-1]), at[-1:]]))
        away = (at - middle) / spread
        return -value + 0.5 * float(away @ away), -slope[[*free, -1]] + away / spread

    bounds = [(m - 7.0, m + 7.0) for m in middle]
    best = minimize(loss, middle, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps})
    found = _put(logs, free, best.x[:-1])
    groups = {name: float(np.exp(v)) for name, v in zip(data.names, found, strict=True)}
    return Prior({**start.groups, **groups}, float(np.exp(best.x[-1])))


def _put(values: Floats, where: Ints, new: Floats) -> Floats:
    changed = values.copy()
    changed[where] = new
    return changed


def evidence_slope(data: Data, logs: Floats) -> tuple[float, Floats]:
    """Log evidence and its slope by the logarithms of the groups' variances and, last, of the residual variance.

    For group g: (sum of m_i^2 / v - number of well-determined weights) / 2 (MacKay 1992), where the latter is the sum
    of 1 - S_ii / v.
    """
    variance, residual = np.exp(logs[:-1])[data.group], float(np.exp(logs[-1]))
    root, mean, value = _solve(data, variance, residual)
    half = solve_triangular(root, np.eye(len(root)), lower=False, check_finite=False)
    spread = (half**2).sum(axis=1)
    determined = 1.0 - spread / variance
    by_weight = 0.5 * (mean**2 / variance - determined)
    slope = np.bincount(data.group, by_weight, minlength=len(logs) - 1)
    error = data.power - 2.0 * float(data.moment @ mean) + float(mean @ data.gram @ mean)
    last = 0.5 * (error / residual - data.rows + float(determined.sum()))
    return value, np.concatenate([slope, [last]])
