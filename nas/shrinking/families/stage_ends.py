"""Stage ends: "prefer the last site of a stage" - a preference, never a constraint.

The last site of each stage is compared with the stage's other sites, then averaged over stages. One good site does not
make a rule about stages: the premium must stay when any one stage is left out.
"""

from __future__ import annotations

import numpy as np

from nas.results.intervals import NOT_KNOWN, Floats
from nas.shrinking.analysis import Analysis, FamilyTests, Judgement
from nas.spaces.findings import Finding
from nas.spaces.rules import StageEnds


def stage_ends(analysis: Analysis) -> FamilyTests:
    """The question and conclusion of this family."""
    by_stage = _premiums(analysis)
    difference = analysis.fit.difference(np.mean(by_stage, axis=0)) if by_stage else NOT_KNOWN
    p = difference.p_two_sided()

    def conclude(p_adjusted: float) -> Finding:
        rows = np.asarray((analysis.sample.placed > 0).any(axis=1))
        answer = analysis.judge(difference, p_adjusted, analysis.sample.support(rows), "site")
        weakest = _weakest(analysis, by_stage)
        if answer.verdict == "adopted" and (weakest is None or weakest < analysis.settings.margin):
            answer = Judgement("rejected", "rests on one stage: without it the premium is gone")
        evidence = analysis.evidence(rows, difference, p=p, p_adjusted=p_adjusted, latency_ms=_cost(analysis))
        return analysis.finding(StageEnds(strength="preference", backbone=analysis.scope), answer, evidence)

    return FamilyTests.one(("stage_ends",), p, conclude, difference)


def _premiums(analysis: Analysis) -> list[Floats]:
    """One contrast a stage: its end minus the mean of its other sites; of a coarse design, the one column there is."""
    levels, design = analysis.site_levels, analysis.fit.design
    if not levels:
        return [design.unit(("stage end",))] if design.has(("stage end",)) else []
    contrasts = []
    for stage in analysis.topology.stages:
        numbers = [s.number for s in analysis.topology.of_stage(stage)]
        others = [levels[n] for n in numbers[:-1] if n in levels]
        if others and numbers[-1] in levels:
            contrasts.append(levels[numbers[-1]] - np.mean(others, axis=0))
    return contrasts


def _weakest(analysis: Analysis, contrasts: list[Floats]) -> float | None:
    """The smallest premium with one stage left out; None with fewer than two stages."""
    if len(contrasts) < 2:
        return None
    left_out = [np.mean([c for j, c in enumerate(contrasts) if j != i], axis=0) for i in range(len(contrasts))]
    return float(min(c @ analysis.fit.beta for c in left_out))


def _cost(analysis: Analysis) -> float | None:
    ends = set(analysis.topology.stage_ends)
    inside = {s.number for s in analysis.topology.sites if s.stage > 0} - ends
    at_ends, before = analysis.costs.site_ms(ends), analysis.costs.site_ms(inside)
    return None if at_ends is None or before is None else at_ends - before
