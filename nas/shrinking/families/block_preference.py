"""Block preference: "C-NL over HAC at equal positions: +0.0021" - an order among blocks, every pair of them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from nas.results.intervals import Estimate
from nas.shrinking.analysis import Analysis, FamilyTests, Judgement, Key
from nas.shrinking.design import used_sites
from nas.shrinking.equivalence import turned
from nas.spaces.findings import Finding
from nas.spaces.rules import BlockPreference


def block_preference(analysis: Analysis) -> FamilyTests:
    """The questions and conclusions of this family."""
    pairs = {pair: _difference(analysis, *pair) for pair in combinations(analysis.sample.blocks, 2)}
    p_values: dict[Key, float] = {
        ("block_preference", *pair): float("nan") if d is None else d.p_two_sided() for pair, d in pairs.items()
    }

    def conclude(adjusted: Mapping[Key, float]) -> list[Finding]:
        return [_conclude(analysis, pair, d, p_values, adjusted) for pair, d in pairs.items()]

    told: dict[Key, Estimate] = {("block_preference", *pair): d for pair, d in pairs.items() if d is not None}
    return FamilyTests(p_values, conclude, told)


def _difference(analysis: Analysis, first: str, second: str) -> Estimate | None:
    """First block minus second at equal sites and numbers of blocks."""
    design = analysis.fit.design
    if ("block",) not in design.factors:
        return None
    levels, names = design.levels(("block",)), design.factors[("block",)].levels
    return analysis.fit.difference(levels[names.index(first)] - levels[names.index(second)])


def _conclude(
    analysis: Analysis,
    pair: tuple[str, str],
    difference: Estimate | None,
    p_values: Mapping[Key, float],
    adjusted: Mapping[Key, float],
) -> Finding:
    better, worse = pair
    if difference is not None and difference.value < 0:
        better, worse = worse, better
        difference = turned(difference)
    key: Key = ("block_preference", *pair)
    rows = _rows(analysis, pair)
    evidence = analysis.evidence(
        rows, difference, p=p_values[key], p_adjusted=adjusted[key], latency_ms=_cost(analysis, better, worse)
    )
    answer: Judgement = analysis.judge(difference, adjusted[key], min(_support(analysis, b) for b in pair), "block")
    return analysis.finding(
        BlockPreference(better=better, worse=worse, strength="preference", backbone=analysis.scope), answer, evidence
    )


def _rows(analysis: Analysis, blocks: tuple[str, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    numbers = [analysis.sample.blocks.index(block) + 1 for block in blocks]
    return np.asarray(np.isin(analysis.sample.placed, numbers).any(axis=1))


def _support(analysis: Analysis, block: str) -> int:
    return analysis.sample.support(_rows(analysis, (block,)))


def _cost(analysis: Analysis, better: str, worse: str) -> float | None:
    sites = used_sites(analysis.sample)
    first, second = analysis.costs.block_ms(better, sites), analysis.costs.block_ms(worse, sites)
    return None if first is None or second is None else first - second
