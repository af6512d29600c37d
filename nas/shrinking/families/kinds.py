"""Kinds of block: "C-NL over HAC at equal positions: +0.0021" - an order among blocks, every pair of them -, and
"two families of block rather than one: +0.0009, at +3.1 ms: not worth it under 5 % slow-down".

From trained weights, blocks that are not put in in the same forms are not compared: what a published form spoils of a
trained network would count as its block's worth. A gain by mixing makes a preference, if its time can be afforded; a
loss makes a constraint to one family. Where all blocks are of one family, types take the place of families.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from nas.results.intervals import NOT_KNOWN, Estimate
from nas.shrinking.analysis import Analysis, FamilyTests, Judgement, Key
from nas.shrinking.design import families_of, mixed, used_sites
from nas.shrinking.sample import Flags
from nas.spaces.blocks import get_block_spec
from nas.spaces.findings import Finding
from nas.spaces.rules import BlockPreference, Mix

Pair = tuple[str, str]


def block_preference(analysis: Analysis) -> FamilyTests:
    """The questions and conclusions of this family."""
    pairs: dict[Key, Pair] = {("block_preference", *pair): pair for pair in combinations(analysis.sample.blocks, 2)}
    forms = _forms(analysis)
    alike = {key: forms[first] == forms[second] for key, (first, second) in pairs.items()}
    told = {key: _difference(analysis, *pair) if alike[key] else NOT_KNOWN for key, pair in pairs.items()}

    def conclude(adjusted: Mapping[Key, float]) -> list[Finding]:
        return [
            _preference(analysis, pair, told[key], adjusted[key], None if alike[key] else _unlike(pair, forms))
            for key, pair in pairs.items()
        ]

    return FamilyTests({key: d.p_two_sided() for key, d in told.items()}, conclude, told)


def _difference(analysis: Analysis, first: str, second: str) -> Estimate:
    """First block minus second at equal sites and numbers of blocks."""
    design = analysis.fit.design
    if ("block",) not in design.factors:
        return NOT_KNOWN
    levels, names = design.levels(("block",)), design.factors[("block",)].levels
    return analysis.fit.difference(levels[names.index(first)] - levels[names.index(second)])


def _forms(analysis: Analysis) -> dict[str, frozenset[bool]]:
    """Whether each block was put in as the identity, as published or both; nothing from scratch: it spoils nothing."""
    warm = analysis.sample.trained.start.max(initial=-1) >= 0
    placed = [p for candidate in analysis.sample.candidates for p in candidate.placements]
    return {
        block: frozenset(p.is_identity for p in placed if warm and p.block == block) for block in analysis.sample.blocks
    }


def _unlike(pair: Pair, forms: Mapping[str, frozenset[bool]]) -> Judgement:
    words = {True: "the identity", False: "published"}
    put_in = [
        f"{get_block_spec(block).title} as {' and '.join(words[form] for form in sorted(forms[block]))}"
        for block in pair
    ]
    why = f"not compared: put in are {put_in[0]}, {put_in[1]}, and a form's damage is no block's worth"
    return Judgement("not enough data", f"{why}; write the same `start` for both")


def _preference(
    analysis: Analysis, pair: Pair, difference: Estimate, p_adjusted: float, unlike: Judgement | None
) -> Finding:
    better, worse = pair
    if difference.value < 0:
        better, worse, difference = worse, better, -difference
    evidence = analysis.evidence(
        _rows(analysis, *pair),
        difference,
        p=difference.p_two_sided(),
        p_adjusted=p_adjusted,
        latency_ms=_cost(analysis, better, worse),
    )
    support = min(analysis.sample.support(_rows(analysis, block)) for block in pair)
    rule = BlockPreference(better=better, worse=worse, strength="preference", backbone=analysis.scope)
    answer = unlike or analysis.judge(difference, p_adjusted, support, "block")
    return analysis.finding(rule, answer, evidence)


def _rows(analysis: Analysis, *blocks: str) -> Flags:
    numbers = [analysis.sample.blocks.index(block) + 1 for block in blocks]
    return np.asarray(np.isin(analysis.sample.placed, numbers).any(axis=1))


def _cost(analysis: Analysis, better: str, worse: str) -> float | None:
    sites = used_sites(analysis.sample)
    first, second = analysis.costs.block_ms(better, sites), analysis.costs.block_ms(worse, sites)
    return None if first is None or second is None else first - second


def mix(analysis: Analysis) -> FamilyTests:
    """The question and conclusion of this family."""
    difference = analysis.fit.term(("mix",))
    p = difference.p_two_sided()

    def conclude(p_adjusted: float) -> Finding:
        return (_loss if difference.value < 0 else _gain)(analysis, difference, p, p_adjusted)

    return FamilyTests.one(("mix",), p, conclude, difference)


def _gain(analysis: Analysis, difference: Estimate, p: float, p_adjusted: float) -> Finding:
    cost, most = _mixing_cost(analysis), analysis.settings.max_slowdown
    evidence = analysis.evidence(mixed(analysis.sample), difference, p=p, p_adjusted=p_adjusted, latency_ms=cost)
    answer = analysis.judge(difference, p_adjusted, evidence.trainings, "mix")
    share = analysis.costs.slowdown(cost) if cost is not None else None
    if answer.verdict == "adopted" and share is not None and share > most:
        answer = Judgement("rejected", f"not worth it under {most:.0%} slow-down: costs {share:.1%}")
    rule = Mix(strength="preference", backbone=analysis.scope, **{f"min_{_kinds(analysis)}": 2})
    return analysis.finding(rule, answer, evidence)


def _loss(analysis: Analysis, difference: Estimate, p: float, p_adjusted: float) -> Finding:
    evidence = analysis.evidence(mixed(analysis.sample), -difference, p=p, p_adjusted=p_adjusted)
    answer = analysis.judge(-difference, p_adjusted, evidence.trainings, "mix")
    return analysis.finding(Mix(backbone=analysis.scope, **{f"max_{_kinds(analysis)}": 1}), answer, evidence)


def _kinds(analysis: Analysis) -> str:
    return "families" if families_of(analysis.sample).max(initial=0) > 1 else "types"


def _mixing_cost(analysis: Analysis) -> float | None:
    """What mixing costs beside the cheapest single family, ms: mean latencies at equal numbers of blocks."""
    sample = analysis.sample
    groups = mixed(sample)
    known = np.isfinite(sample.latency_ms) & (sample.counts > 1)
    differences, sizes = [], []
    for size in np.unique(sample.counts[known]):
        here = known & (sample.counts == size)
        both, one = sample.latency_ms[here & groups], sample.latency_ms[here & ~groups]
        if len(both) and len(one):
            differences.append(both.mean() - one.mean())
            sizes.append(len(both))
    return float(np.average(differences, weights=sizes)) if sizes else None
