"""Saturation: where many blocks are placed, each site and block may matter less than it does alone.

Block and site effects of candidates with more than k blocks are scaled by a factor for each number of blocks, at most
one; k is the number up to which nothing is scaled. Which k, and whether any, is decided by the Bayesian information
criterion (by a difference of 6, "strong"), so that samples without saturation are left alone; effects are then means
over the sampled numbers of blocks. The count's own terms are not touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.special import fdtrc

from nas.results.intervals import Floats
from nas.shrinking.design import Design
from nas.shrinking.sample import Flags, Sample

Scale = dict[int, float]

_PLACED_TERMS = ("block", "site", "cell", "stage", "stage end")
_STEPS = 60
"""Of the alternation, at most; it stops before when no factor moves by more than 0.003."""
_LEAST_CANDIDATES = 9
"""With a number of blocks before it gets a factor of its own: one more than `effects.MIN_DF`."""
_LEAST_FACTOR = 0.2
"""A factor near 0 would leave the effects of those candidates without a scale, and the alternation without an end."""
_MATTERS_LEVEL = 1e-4
"""Of the F test for block and site columns: factors of mere noise fit well, so nothing is scaled on a doubtful one."""
_STRONG = 6.0
"""Difference in the information criterion that counts as strong evidence (Kass and Raftery, JASA 90, 1995)."""


def saturation(design: Design, sample: Sample) -> Scale:
    """The factor for each number of blocks that is scaled; empty where nothing is. All scores must be finite."""
    most = int(sample.counts.max(initial=0))
    seen = [k for k in range(2, most + 1) if (sample.counts == k).sum() >= _LEAST_CANDIDATES]
    if not seen or len(sample) - design.matrix.shape[1] <= 2 * len(seen):
        return {}
    best: Scale = {}
    lowest = _criterion(design, sample, best)
    if not _placement_matters(design, sample):
        return best
    for first in seen:
        scale = _alternate(design, sample, [k for k in seen if k >= first])
        value = _criterion(design, sample, scale)
        if value < lowest - (_STRONG if not best else 0.0):
            best, lowest = scale, value
    return best


def _placement_matters(design: Design, sample: Sample) -> bool:
    """Whether block and site columns say anything at all (F test); noise must not be scaled."""
    without = design.matrix[:, ~_placed(design)]
    extra = design.matrix.shape[1] - without.shape[1]
    df = len(sample) - design.matrix.shape[1]
    if not extra or df <= 0:
        return False
    within, beyond = _squares(design.matrix, sample.score), _squares(without, sample.score)
    return within > 0 and bool(fdtrc(extra, df, (beyond - within) / extra / (within / df)) < _MATTERS_LEVEL)


def scaled(design: Design, sample: Sample, scale: Mapping[int, float]) -> Design:
    """The design with block and site columns scaled."""
    if not scale:
        return design
    factor = np.array([scale.get(int(k), 1.0) for k in sample.counts])
    matrix = np.where(_placed(design)[None, :], design.matrix * factor[:, None], design.matrix)
    return replace(design, matrix=matrix)


def _placed(design: Design) -> Flags:
    return np.array([term[0] in _PLACED_TERMS for term in design.terms])


def _alternate(design: Design, sample: Sample, counts: list[int]) -> Scale:
    """Alternating least squares: effects given the factors, factors given the effects."""
    scale = dict.fromkeys(counts, 1.0)
    for _ in range(_STEPS):
        before, scale = scale, _factors(design, sample, scale)
        if max(abs(scale[k] - before[k]) for k in counts) < 0.003:
            break
    return scale


def _factors(design: Design, sample: Sample, scale: Scale) -> Scale:
    placed = _placed(design)
    beta = _least_squares(scaled(design, sample, scale).matrix, sample.score)
    part = design.matrix[:, placed] @ beta[placed]
    many = np.stack([part * (sample.counts == k) for k in scale], axis=1)
    few = np.where(np.isin(sample.counts, list(scale)), 0.0, part)
    rest = design.matrix[:, ~placed]
    factors = _least_squares(np.hstack([rest, many]), sample.score - few)[rest.shape[1] :]
    return {k: float(np.clip(factor, _LEAST_FACTOR, 1.0)) for k, factor in zip(scale, factors, strict=True)}


def _criterion(design: Design, sample: Sample, scale: Scale) -> float:
    matrix = scaled(design, sample, scale).matrix
    n = len(sample)
    return n * float(np.log(max(_squares(matrix, sample.score) / n, 1e-30))) + len(scale) * float(np.log(n))


def _squares(matrix: Floats, values: Floats) -> float:
    return float(((values - matrix @ _least_squares(matrix, values)) ** 2).sum())


def _least_squares(matrix: Floats, values: Floats) -> Floats:
    """Coefficients by normal equations with a trace of ridge: fast, and safe where columns repeat each other."""
    gram = matrix.T @ matrix
    ridge = 1e-9 * float(np.trace(gram)) / len(gram)
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(len(gram)), matrix.T @ values))
