"""Hyperparameters: "reduction 1 or 2", "base_lr 2e-4 to 5e-4".

Categories (a block's hyperparameters, the loss) are compared in the regression: one question a hyperparameter, then
the values shown to be worse than the best are left out. Ranges of numbers (the learning rate) get the good range of
the winners, beside a permutation null: the winners' values must differ from everybody's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nas.results.intervals import NOT_KNOWN, Estimate, Floats
from nas.shrinking.analysis import Analysis, FamilyTests, Judgement, Key
from nas.shrinking.design import Term, block_params, is_range, range_position, recipe_values
from nas.shrinking.equivalence import mean_difference
from nas.shrinking.null import range_null
from nas.shrinking.sample import Flags
from nas.shrinking.winners import good_range, resample_size, score_weights
from nas.spaces.findings import Finding
from nas.spaces.rules import ParamsRule, RecipeRange, Rule
from nas.spaces.values import ParamValue


def hyperparameters(analysis: Analysis) -> FamilyTests:
    """The questions and conclusions of this family."""
    factors = [t for t in analysis.fit.design.factors if t[0] in ("param", "recipe")]
    ranges = {name: values for name, values in recipe_values(analysis.sample) if is_range(list(values))}
    p_values: dict[Key, float] = {("hyperparameters", *t): _factor_p(analysis, t) for t in factors}
    p_values |= {("hyperparameters", name): _range_p(analysis, name, values) for name, values in ranges.items()}
    left_out = _left_out(analysis)
    p_values |= {("hyperparameters", *t): math.nan for t, _ in left_out}

    def conclude(adjusted: Mapping[Key, float]) -> list[Finding]:
        levels = [_factor(analysis, t, p_values, adjusted) for t in factors]
        levels += [_undecided(analysis, t, values) for t, values in left_out]
        return levels + [_range(analysis, name, ranges[name], p_values, adjusted) for name in ranges]

    return FamilyTests(p_values, conclude)


def _left_out(analysis: Analysis) -> list[tuple[Term, tuple[ParamValue, ...]]]:
    """Hyperparameters that vary, but had to be left out of the design: the sample is too small."""
    varied: dict[Term, tuple[ParamValue, ...]] = {
        ("param", block, name): values for block, name, values, _ in block_params(analysis.sample)
    }
    for name, column in recipe_values(analysis.sample):
        if not is_range(list(column)):
            varied["recipe", name] = tuple(dict.fromkeys(v for v in column if v is not None))
    return [(term, values) for term, values in varied.items() if term not in analysis.fit.design.factors]


def _undecided(analysis: Analysis, factor: Term, values: tuple[object, ...]) -> Finding:
    answer = analysis.untold(str(factor[0]))
    evidence = analysis.evidence(_rows(analysis, factor))
    return analysis.finding(_level_rule(analysis, factor, list(values), list(values)), answer, evidence)


def _factor_p(analysis: Analysis, factor: Term) -> float:
    levels = analysis.fit.design.levels(factor)
    return analysis.fit.wald_p(levels[:-1])


def _factor(analysis: Analysis, factor: Term, p_values: Mapping[Key, float], adjusted: Mapping[Key, float]) -> Finding:
    key: Key = ("hyperparameters", *factor)
    names = analysis.fit.design.factors[factor].levels
    contrasts = analysis.fit.design.levels(factor)
    effects = contrasts @ analysis.fit.beta
    best = int(np.argmax(effects))
    behind = {i: analysis.fit.difference(contrasts[best] - contrasts[i]) for i in range(len(names)) if i != best}
    dropped = [i for i, d in behind.items() if _worse(analysis, d, len(behind))]
    kept = [i for i in range(len(names)) if i not in dropped]
    others = dropped or [int(np.argmin(effects))]
    gain = analysis.fit.difference(contrasts[[k for k in kept if k not in others]].mean(0) - contrasts[others].mean(0))
    rows = _rows(analysis, factor)
    evidence = analysis.evidence(rows, gain, p=p_values[key], p_adjusted=adjusted[key])
    answer = analysis.judge(gain, adjusted[key], evidence.trainings, str(factor[0]))
    if answer.verdict == "adopted" and not dropped:
        answer = Judgement(
            "rejected", "values differ, but none is shown to be worse than the best by more than the margin"
        )
    chosen = [names[i] for i in (kept if dropped else [best])]
    return analysis.finding(_level_rule(analysis, factor, chosen, list(names)), answer, evidence)


def _worse(analysis: Analysis, behind: Estimate, others: int) -> bool:
    return behind.value >= analysis.settings.margin and behind.p_above() <= 0.05 / others


def _rows(analysis: Analysis, factor: Term) -> Flags:
    if factor[0] == "param":
        found = [counts for block, name, _, counts in block_params(analysis.sample) if (block, name) == factor[1:]]
        return np.asarray(found[0].sum(axis=1) > 0)
    values = dict(recipe_values(analysis.sample))[str(factor[1])]
    return np.array([value is not None for value in values])


def _level_rule(analysis: Analysis, factor: Term, kept: Sequence[object], levels: Sequence[object]) -> Rule:
    fields: dict[str, object] = {"values": tuple(kept)}
    first = levels.index(kept[0])
    run = levels[first : first + len(kept)] == kept
    if len(kept) > 1 and run and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in levels):
        fields = {"low": kept[0], "high": kept[-1]}
    if factor[0] == "param":
        return ParamsRule(block=factor[1], param=factor[2], backbone=analysis.scope, **fields)
    return RecipeRange(key=factor[1], backbone=analysis.scope, **fields)


def _range_p(analysis: Analysis, name: str, values: npt.NDArray[np.object_]) -> float:
    known, _, weights = _winners(analysis, name, values)
    if known.sum() < 2 * analysis.settings.effective_size:
        return float("nan")
    position = range_position(values)[known]
    strata = analysis.sample.block_pattern[known]
    return range_null(position, weights, analysis.settings.permutations, analysis.rng(f"range/{name}"), strata)


def _winners(analysis: Analysis, name: str, values: npt.NDArray[np.object_]) -> tuple[Flags, Floats, Floats]:
    """Which candidates have the hyperparameter, their scores beside all else, and how often each wins."""
    known = np.array([value is not None for value in values])
    scores = adjusted_scores(analysis, name)[known]
    m = resample_size(max(len(scores), 1), analysis.settings.effective_size)
    return known, scores, score_weights(scores, m) if len(scores) else np.zeros(0)


def adjusted_scores(analysis: Analysis, name: str) -> Floats:
    """(candidates,) mAP with everything but one recipe value taken out; NaN for candidates that failed."""
    fit, design = analysis.fit, analysis.fit.design
    own = np.array([term[:2] == ("recipe", name) for term in design.terms])
    scores = np.full(len(analysis.sample), np.nan)
    scores[fit.rows] = fit.residuals + design.matrix[:, own] @ fit.beta[own]
    return scores


def _range(
    analysis: Analysis,
    name: str,
    values: npt.NDArray[np.object_],
    p_values: Mapping[Key, float],
    adjusted: Mapping[Key, float],
) -> Finding:
    key: Key = ("hyperparameters", name)
    known, scores, weights = _winners(analysis, name, values)
    numbers = np.array([float(v) for v in values[known]])
    low, high = good_range(numbers, weights)
    inside = (numbers >= low) & (numbers <= high)
    gain = _mean_difference(scores, inside)
    evidence = analysis.evidence(
        known,
        gain,
        p=p_values[key],
        p_adjusted=adjusted[key],
        method=f"95 % of the winners, closed form; permutation null; {analysis.settings.unit} inside minus outside",
    )
    answer = analysis.judge(gain, adjusted[key], evidence.trainings, "recipe")
    rule = RecipeRange(key=name, low=_rounded(low), high=_rounded(high), backbone=analysis.scope)
    return analysis.finding(rule, answer, evidence)


def _mean_difference(scores: Floats, inside: Flags) -> Estimate:
    """Mean of the finished inside minus outside, unequal variances."""
    a, b = (scores[side & np.isfinite(scores)] for side in (inside, ~inside))
    return mean_difference(a, b) if min(len(a), len(b)) > 2 else NOT_KNOWN


def _rounded(value: float) -> float:
    """Two digits are what a range of winners can say."""
    return float(f"{value:.2g}")
