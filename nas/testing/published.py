"""Shrinking as published: good ranges of the winners of resamples of 25 %, taken as they are.

Kept as the method to compare with (Radosavovic et al. 2020; Eisenbach et al. 2023): no test, no correction for how
many ranges are looked at, no confirmation. Each parameter of the space is looked at by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.results.intervals import Floats
from nas.shrinking.design import block_params, families_of, is_range, recipe_values
from nas.shrinking.sample import Sample, draw_samples
from nas.shrinking.winners import good_levels, good_range, score_weights
from nas.spaces.rules import (
    BlockPreference,
    MaxBlocks,
    MinDistance,
    Mix,
    ParamsRule,
    RecipeRange,
    Rule,
    SitesRule,
    StageEnds,
)
from nas.spaces.site_sets import SiteSet
from nas.spaces.space import DesignSpace

SHARE = 0.25
"""Of all candidates, drawn into a resample whose best one wins."""


def published_rules(table: pd.DataFrame, space: DesignSpace, share: float = SHARE) -> list[Rule]:
    """The rules of a results table as the published procedure would adopt them, for the first backbone.

    Args:
        table: one row a training.
        space: the space the candidates were drawn from.
        share: share of the candidates in a resample.
    """
    sample = draw_samples(table).get(next(iter(space.backbones)))
    if sample is None or not len(sample):
        return []
    weights = score_weights(sample.score, max(1.0, share * len(sample)))
    found = (_sites, _blocks, _count, _distance, _mix, _stage_ends, _values)
    return [rule for derive in found for rule in derive(sample, weights)]


def _placement_weights(sample: Sample, weights: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    rows, columns = np.nonzero(sample.placed)
    return rows, columns, weights[rows] / sample.counts[rows]


def _sites(sample: Sample, weights: Floats) -> Iterator[Rule]:
    _, columns, share = _placement_weights(sample, weights)
    kept = good_levels([str(c + 1) for c in columns], share) if len(columns) else ()
    if 0 < len(kept) < len(set(columns.tolist())):
        yield SitesRule(sites=SiteSet(numbers=tuple(sorted(int(site) for site in kept))))


def _blocks(sample: Sample, weights: Floats) -> Iterator[Rule]:
    rows, columns, share = _placement_weights(sample, weights)
    names = [sample.blocks[sample.placed[r, c] - 1] for r, c in zip(rows, columns, strict=True)]
    kept = good_levels(names, share) if names else ()
    for block in sample.blocks:
        if kept and block not in kept:
            yield BlockPreference(better=kept[0], worse=block, strength="preference")


def _count(sample: Sample, weights: Floats) -> Iterator[Rule]:
    high = good_range(sample.counts.astype(float), weights)[1]
    if high < sample.counts.max():
        yield MaxBlocks(count=int(high))


def _distance(sample: Sample, weights: Floats) -> Iterator[Rule]:
    several = sample.counts > 1
    if several.any():
        nearest = np.array([np.diff(np.flatnonzero(row)).min() for row in sample.placed[several] > 0], dtype=float)
        low = good_range(nearest, weights[several])[0]
        if low > 1:
            yield MinDistance(distance=int(low))


def _mix(sample: Sample, weights: Floats) -> Iterator[Rule]:
    several = sample.counts > 1
    families = families_of(sample)
    if several.any() and len(set(families[several].tolist())) > 1:
        kept = good_levels([str(min(int(f), 2)) for f in families[several]], weights[several])
        if len(kept) == 1:
            one = kept == ("1",)
            yield Mix(max_families=1) if one else Mix(min_families=2, strength="preference")


def _stage_ends(sample: Sample, weights: Floats) -> Iterator[Rule]:
    _, columns, share = _placement_weights(sample, weights)
    ends = set(sample.topology.stage_ends)
    if len(columns) and good_levels(["end" if c + 1 in ends else "other" for c in columns], share) == ("end",):
        yield StageEnds(strength="preference")


def _values(sample: Sample, weights: Floats) -> Iterator[Rule]:
    for block, name, values, counts in block_params(sample):
        rows, levels = np.nonzero(counts)
        kept = good_levels([str(level) for level in levels], weights[rows])
        if len(kept) < len(values):
            yield ParamsRule(block=block, param=name, values=tuple(values[int(level)] for level in kept))
    for name, column in recipe_values(sample):
        known = np.array([value is not None for value in column])
        if is_range(list(column)):
            low, high = good_range(column[known].astype(float), weights[known])
            yield RecipeRange(key=name, low=low, high=high)
        else:
            named = {repr(value): value for value in column[known]}
            winning = good_levels([repr(value) for value in column[known]], weights[known])
            if len(winning) < len(named):
                yield RecipeRange(key=name, values=tuple(named[level] for level in winning))
