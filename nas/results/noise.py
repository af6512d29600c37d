"""How much a training's score moves by itself: what a seed moves for all candidates alike, and what is left for one.

Trainings of one seed from one start form a *block*: they see the same batches, and the seed's own shift is common to
all of them. Model of one level: value = candidate + block + rest. The shift is taken out of differences within blocks;
what is left is the noise that they have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.results.columns import MAP, Metric, finished
from nas.results.intervals import ROUNDING, Floats, Spread

BLOCKS = ("start", "seed")
"""Columns whose combinations are blocks; one that a table lacks is the same for all."""


@dataclass(frozen=True)
class Noise:
    """The two components, and what both come to where trainings are not compared within blocks.

    Attributes:
        single: sd of what is left for one training beside others of its block.
        shared: sd of what a block (seed, start) moves for all candidates alike.
        whole: sd of a candidate's trainings over blocks.
        trainings: finished trainings that were read.
        blocks: blocks they were trained in.
    """

    single: Spread
    shared: Spread
    whole: Spread
    trainings: int
    blocks: int

    @property
    def known(self) -> bool:
        """Whether anything is known: no candidate was trained twice, nothing is."""
        return self.whole.known or self.single.known


def block_codes(table: pd.DataFrame) -> npt.NDArray[np.intp]:
    """(rows,) number of each training's block; all 0 for a table without seeds and starts."""
    codes = np.zeros(len(table), dtype=np.intp)
    for column in BLOCKS:
        if column in table:
            key = table[column]
            if column == "start":  # a control whose weights were moved (`plain:<hash>+2`) is in its start's block
                key = key.astype("string").str.replace(r"\+.*", "", regex=True)
            own, values = pd.factorize(key, sort=True)  # what is missing is one more block
            codes = codes * (len(values) + 1) + own
    return np.unique(codes, return_inverse=True)[1]


def noise_of(table: pd.DataFrame, metric: Metric = MAP) -> Noise:
    """The noise of the finished trainings of one level.

    single^2 = RSS / (n - c - r) of the two-way fit; shared^2 = max(0, (SS_blocks - r single^2) / trace), with r the
    blocks' rank and trace that of the blocks' design within candidates (Henderson's third method, Biometrics 1953);
    the degrees of freedom of both together by Satterthwaite. Where no two candidates share two blocks, only the sum of
    both is known: the sd within candidates. With one training a candidate nothing is known. An sd of 0 is what equal
    scores show: no interval rests on it (see `nas.results.intervals.ROUNDING`). Failed trainings are left out.
    """
    rows = finished(table, metric)
    blocks = len(np.unique(block_codes(rows)))
    fit = _fit(rows, metric)
    if fit is None:
        return Noise(Spread(), Spread(), Spread(), len(rows), blocks)
    df = fit.within - fit.rank
    if df <= 0:
        whole = Spread(math.sqrt(fit.total / fit.within), fit.within)
        return Noise(Spread(), Spread(), whole, len(rows), blocks)
    single = fit.left / df
    if fit.rank == 0:
        alone = Spread(math.sqrt(single), df)
        # Repeats within one block say nothing of what another seed would move.
        named = any(column in rows for column in BLOCKS)
        return Noise(alone, Spread(), Spread() if named else alone, len(rows), blocks)
    shared = max(0.0, (fit.explained - fit.rank * single) / fit.trace)
    return Noise(
        Spread(math.sqrt(single), df),
        Spread(math.sqrt(shared), fit.rank),
        _together(single, df, shared, fit.rank),
        len(rows),
        blocks,
    )


def _together(single: float, df: float, shared: float, rank: float) -> Spread:
    """The sd of both, with Satterthwaite's degrees of freedom."""
    total = single + shared
    freedom = total**2 / (single**2 / df + shared**2 / rank) if total > 0 else df
    return Spread(math.sqrt(total), freedom)


def block_effects(table: pd.DataFrame, metric: Metric = MAP, shrunk: bool = False) -> Floats:
    """(rows,) what the block of each training moved its score by, as far as the table tells; 0 where it does not.

    Effects are fitted beside the candidates of one level (so that an uneven choice of candidates is no effect of a
    seed), and sum to zero over the trainings that they were fitted on. Unfinished ones get their block's effect, too.

    Args:
        table: of one level.
        metric: what is scored.
        shrunk: predictions, not estimates: each times shared^2 / (shared^2 + single^2 / n), with its n trainings; 0
            where the two components are not known. An estimate from few trainings is mostly noise.
    """
    codes = block_codes(table)
    effects = np.zeros(int(codes.max(initial=-1)) + 1)
    done = table.index.isin(finished(table, metric).index)
    fit = _fit(table[done], metric, codes[done])
    if fit is not None:
        effects[fit.codes] = fit.effects * (_reliability(noise_of(table, metric), fit) if shrunk else 1.0)
    return np.asarray(effects[codes])


def _reliability(noise: Noise, fit: _Fit) -> Floats:
    """(blocks,) the share of each estimated effect that is expected to be true (Henderson, Biometrics 1975)."""
    if not (noise.shared.known and noise.single.known) or noise.shared.sd == 0:
        return np.zeros(len(fit.counts))
    return np.asarray(noise.shared.sd**2 / (noise.shared.sd**2 + noise.single.sd**2 / fit.counts), dtype=np.float64)


@dataclass(frozen=True)
class _Fit:
    """A two-way fit: sums of squares within candidates, and the blocks' share of them."""

    total: float
    explained: float
    left: float
    within: int
    rank: int
    trace: float
    codes: npt.NDArray[np.intp]
    counts: npt.NDArray[np.intp]
    effects: Floats


def _fit(rows: pd.DataFrame, metric: Metric, blocks: npt.NDArray[np.intp] | None = None) -> _Fit | None:
    """The fit over candidates with two or more trainings: others say nothing of noise; None when there are none."""
    blocks = block_codes(rows) if blocks is None else blocks
    candidate = rows.groupby("notation", sort=False).ngroup().to_numpy()
    again = np.bincount(candidate)[candidate] > 1 if len(rows) else np.zeros(0, dtype=bool)
    if not again.any():
        return None
    value = rows[metric.column].to_numpy(dtype=np.float64)[again]
    _, candidate = np.unique(candidate[again], return_inverse=True)
    codes, column = np.unique(blocks[again], return_inverse=True)
    design = _centred(np.eye(len(codes))[column], candidate)
    centred = _centred(value[:, None], candidate)[:, 0]
    effects, _, rank, _ = np.linalg.lstsq(design, centred, rcond=1e-9)
    weights = np.bincount(column) / len(column)
    least = len(value) * (ROUNDING * np.abs(value).max()) ** 2
    total, left = float(centred @ centred), float(np.square(centred - design @ effects).sum())
    return _Fit(
        total=total if total > least else 0.0,
        explained=float(np.square(design @ effects).sum()),
        left=left if left > least else 0.0,
        within=len(value) - int(candidate.max()) - 1,
        rank=int(rank),
        trace=float(np.square(design).sum()),
        codes=codes,
        counts=np.bincount(column),
        effects=np.asarray(effects - weights @ effects, dtype=np.float64),
    )


def _centred(values: Floats, group: npt.NDArray[np.intp]) -> Floats:
    """(rows, columns) values minus the mean of their group."""
    sums = np.zeros((int(group.max()) + 1, values.shape[1]))
    np.add.at(sums, group, values)
    return np.asarray(values - (sums / np.bincount(group)[:, None])[group])
