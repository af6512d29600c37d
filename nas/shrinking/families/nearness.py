"""Pairs of blocks: "at least 4 sites apart", and "no two blocks in one stage" beyond what their distance explains.

Every distance has its own effect (what a pair of blocks that far apart loses beside a distant pair). The rule starts
from the step that describes them best, and goes exactly as far as each last distance is itself shown to lose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas.results.intervals import NOT_KNOWN, Estimate, Floats
from nas.shrinking.analysis import Analysis, FamilyTests
from nas.shrinking.design import pairs_apart, pairs_in_one_stage
from nas.spaces.findings import Finding
from nas.spaces.rules import DistinctStages, MinDistance


def distinct_stages(analysis: Analysis) -> FamilyTests:
    """The question and conclusion of this family."""
    gain = -analysis.fit.term(("same stage",))
    p = gain.p_above()

    def conclude(p_adjusted: float) -> Finding:
        rows = np.asarray(pairs_in_one_stage(analysis.sample) > 0)
        evidence = analysis.evidence(rows, gain, p=p, p_adjusted=p_adjusted)
        answer = analysis.judge(gain, p_adjusted, evidence.trainings, "same stage")
        return analysis.finding(DistinctStages(backbone=analysis.scope), answer, evidence)

    return FamilyTests.one(("distinct_stages",), p, conclude, gain)


@dataclass(frozen=True)
class Step:
    """Pairs nearer than `distance` lose alike.

    Attributes:
        distance: the least distance that loses nothing.
        difference: mean effect of the nearer pairs, mAP (negative: they lose).
    """

    distance: int
    difference: Estimate


def distance(analysis: Analysis) -> FamilyTests:
    """The question and conclusion of this family."""
    steps = _steps(analysis)
    best = min(steps, key=lambda s: s.difference.value / max(s.difference.se, 1e-12), default=Step(2, NOT_KNOWN))
    # The best of several steps was looked for: Bonferroni over the steps.
    p = float(np.minimum(1.0, len(steps) * best.difference.p_below()))

    def conclude(p_adjusted: float) -> Finding:
        step = _supported(analysis, best) if steps else best
        gain = -step.difference  # the loss that the rule avoids
        rows = np.asarray(sum(pairs_apart(analysis.sample, d) for d in range(1, step.distance)) > 0)
        evidence = analysis.evidence(rows, gain, p=p, p_adjusted=p_adjusted)
        answer = analysis.judge(gain, p_adjusted, evidence.trainings, "near")
        return analysis.finding(MinDistance(distance=step.distance, backbone=analysis.scope), answer, evidence)

    return FamilyTests.one(("distance",), p, conclude, best.difference)


def _pair_effects(analysis: Analysis) -> dict[int, Estimate]:
    """What a pair of blocks d sites apart gains or loses beside a distant pair, mAP, by d; where it can be told."""
    found = {apart: analysis.fit.term(("near", apart)) for apart in range(1, analysis.settings.nearest + 1)}
    return {apart: difference for apart, difference in found.items() if difference.known}


def _steps(analysis: Analysis) -> list[Step]:
    """One step a distance, fitted to the effects of all distances with their covariance."""
    known = sorted(_pair_effects(analysis))
    design, fit = analysis.fit.design, analysis.fit
    if not known or known != list(range(1, len(known) + 1)):
        return []
    contrasts = np.stack([design.unit(("near", d)) for d in known])
    covariance, df = fit.errors(contrasts)
    precision = np.asarray(np.linalg.pinv(covariance, rcond=1e-8), dtype=np.float64)
    return [_step(distance, contrasts @ fit.beta, precision, float(df.min())) for distance in range(2, len(known) + 2)]


def _step(distance: int, effects: Floats, precision: Floats, df: float) -> Step:
    near = (np.arange(1, len(effects) + 1) < distance).astype(float)
    information = float(near @ precision @ near)
    return Step(distance, Estimate(float(near @ precision @ effects) / information, information**-0.5, df))


def _supported(analysis: Analysis, step: Step) -> Step:
    """The step, shortened until its last distance is itself shown to lose, else lengthened while the next one is."""
    effects, steps = _pair_effects(analysis), {s.distance: s for s in _steps(analysis)}
    apart = step.distance
    while apart > 2 and not _loses(analysis, effects[apart - 1], 0.05):
        apart -= 1
    if apart == step.distance:
        # Penalties that fade are no step: the best step stops too early. Looked for again, so at a stricter level.
        while apart in effects and _loses(analysis, effects[apart], 0.01):
            apart += 1
    return steps[apart]


def _loses(analysis: Analysis, difference: Estimate, level: float) -> bool:
    return difference.value <= -analysis.settings.margin and difference.p_below() <= level
