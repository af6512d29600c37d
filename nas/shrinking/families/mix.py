"""Mix: "two families of block rather than one: +0.0009, at +3.1 ms: not worth it under 5 % slow-down".

A gain makes a preference, if its time can be afforded; a loss makes a constraint to one family. Where all blocks are of
one family, types take the place of families.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nas.results.intervals import Estimate
from nas.shrinking.analysis import Analysis, FamilyTests, Judgement, Key
from nas.shrinking.design import families_of, mixed
from nas.shrinking.equivalence import turned
from nas.spaces.findings import Finding
from nas.spaces.rules import Mix

KEY: Key = ("mix",)


def mix(analysis: Analysis) -> FamilyTests:
    """The question and conclusion of this family."""
    difference = analysis.fit.term(("mix",))
    p = float("nan") if difference is None else difference.p_two_sided()

    def conclude(adjusted: Mapping[Key, float]) -> list[Finding]:
        return [
            _gain(analysis, difference, adjusted[KEY], p)
            if _prefers(difference)
            else _loss(analysis, difference, adjusted[KEY], p)
        ]

    return FamilyTests({KEY: p}, conclude, {} if difference is None else {KEY: difference})


def _prefers(difference: Estimate | None) -> bool:
    return difference is None or difference.value >= 0


def _gain(analysis: Analysis, difference: Estimate | None, p_adjusted: float, p: float) -> Finding:
    cost = mixing_cost(analysis)
    rows = mixed(analysis.sample)
    evidence = analysis.evidence(rows, difference, p=p, p_adjusted=p_adjusted, latency_ms=cost)
    answer = analysis.judge(difference, p_adjusted, evidence.trainings, "mix")
    share = analysis.costs.slowdown(cost) if cost is not None else None
    if answer.verdict == "adopted" and share is not None and share > analysis.settings.max_slowdown:
        answer = Judgement(
            "rejected", f"not worth it under {analysis.settings.max_slowdown:.0%} slow-down: costs {share:.1%}"
        )
    return analysis.finding(_rule(analysis, preferred=True), answer, evidence)


def _loss(analysis: Analysis, difference: Estimate | None, p_adjusted: float, p: float) -> Finding:
    gain = turned(difference)
    evidence = analysis.evidence(mixed(analysis.sample), gain, p=p, p_adjusted=p_adjusted)
    return analysis.finding(
        _rule(analysis, preferred=False), analysis.judge(gain, p_adjusted, evidence.trainings, "mix"), evidence
    )


def _rule(analysis: Analysis, preferred: bool) -> Mix:
    kind = "families" if families_of(analysis.sample).max(initial=0) > 1 else "types"
    limit = {f"min_{kind}": 2} if preferred else {f"max_{kind}": 1}
    return Mix(strength="preference" if preferred else "hard", backbone=analysis.scope, **limit)


def mixing_cost(analysis: Analysis) -> float | None:
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
