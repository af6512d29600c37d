"""Count: "no more than 3: the 4th adds +0.0001 [-0.0006, 0.0008]".

A limit of k says two things of block k + 1, and both must be shown: that it brings less than the blocks before it did
on average, and that it brings less than a block must to be worth having. Where blocks never bring anything, or all
bring the same, the first cannot be shown and there is no limit. The smallest k that passes becomes the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nas.results.intervals import NOT_KNOWN, Estimate
from nas.shrinking.analysis import Analysis, FamilyTests, Judgement, Key
from nas.shrinking.sample import Flags
from nas.spaces.findings import Finding
from nas.spaces.rules import MaxBlocks


def count(analysis: Analysis) -> FamilyTests:
    """The questions and conclusions of this family."""
    return _limits(analysis, None)


def count_per_type(analysis: Analysis) -> FamilyTests:
    """The same of candidates with blocks of one type, for each type."""
    sample = analysis.sample
    parts = {
        block: _limits(replace(analysis, sample=sample.take(_only(analysis, number))), block)
        for number, block in enumerate(sample.blocks, 1)
    }
    p_values = {key: p for part in parts.values() for key, p in part.p_values.items()}
    estimates = {key: estimate for part in parts.values() for key, estimate in part.estimates.items()}

    def conclude(adjusted: Mapping[Key, float]) -> list[Finding]:
        return [finding for part in parts.values() for finding in part.conclude(adjusted)]

    return FamilyTests(p_values, conclude, estimates)


def _only(analysis: Analysis, number: int) -> Flags:
    """Which candidates have blocks of one type only, or none."""
    placed = analysis.sample.placed
    return np.asarray(((placed == 0) | (placed == number)).all(axis=1))


def _limits(analysis: Analysis, block: str | None) -> FamilyTests:
    limits = range(1, int(analysis.sample.counts.max(initial=0)))
    next_one = {k: analysis.fit.term(("count", k + 1)) for k in limits}
    p_values = {_key(k, block): _p_limit(analysis, k, next_one[k]) for k in limits}

    def conclude(adjusted: Mapping[Key, float]) -> list[Finding]:
        return [_conclude(analysis, next_one, p_values, adjusted, block)] if limits else []

    return FamilyTests(p_values, conclude, {_key(k, block): added for k, added in next_one.items()})


def increments(analysis: Analysis) -> dict[int, Estimate]:
    """What the k-th block adds at typical sites, all else being equal, by k; those the sample can tell."""
    known = {k: analysis.fit.term(("count", k)) for k in range(1, int(analysis.sample.counts.max(initial=0)) + 1)}
    return {k: difference for k, difference in known.items() if difference.known}


def _key(limit: int, block: str | None) -> Key:
    return ("count", limit) if block is None else ("count", limit, block)


def _p_limit(analysis: Analysis, limit: int, added: Estimate) -> float:
    """p value against "block limit + 1 brings as much as those before, or enough to be worth having"."""
    return float(np.maximum(_drop(analysis, limit).p_below(0.0), added.p_below(analysis.settings.worth)))


def _drop(analysis: Analysis, limit: int) -> Estimate:
    """What block limit + 1 brings minus the mean of what the blocks before brought."""
    design = analysis.fit.design
    before = [term for k in range(1, limit + 1) if analysis.fit.term(term := ("count", k)).known]
    if not before or not design.has(("count", limit + 1)):
        return NOT_KNOWN
    return analysis.fit.difference(
        design.unit(("count", limit + 1)) - np.mean([design.unit(t) for t in before], axis=0)
    )


def _conclude(
    analysis: Analysis,
    next_one: Mapping[int, Estimate],
    p_values: Mapping[Key, float],
    adjusted: Mapping[Key, float],
    block: str | None,
) -> Finding:
    most = int(analysis.sample.counts.max(initial=0))
    passing = [k for k in next_one if _passes(analysis, next_one, k, adjusted[_key(k, block)])]
    limit = min(passing, default=max(1, most - 1))
    added = next_one.get(limit, NOT_KNOWN)
    rows = np.asarray(analysis.sample.counts >= limit)
    evidence = analysis.evidence(
        rows,
        -added,
        p=p_values.get(_key(limit, block)),
        p_adjusted=adjusted.get(_key(limit, block)),
        latency_ms=_saved(analysis),
        method=f"what the next block adds at typical sites; {analysis.regression}",
    )
    answer = _answer(analysis, limit, added, bool(passing), evidence.trainings)
    return analysis.finding(MaxBlocks(count=limit, block=block, backbone=analysis.scope), answer, evidence)


def _passes(analysis: Analysis, next_one: Mapping[int, Estimate], limit: int, p_adjusted: float) -> bool:
    later = [d for k, d in next_one.items() if k > limit]
    still_gains = any(d.value > analysis.settings.margin and d.interval()[0] > 0 for d in later)
    low_enough = next_one[limit].value <= analysis.settings.margin
    return p_adjusted <= analysis.settings.alpha and low_enough and not still_gains


def _answer(analysis: Analysis, limit: int, added: Estimate, passed: bool, trainings: int) -> Judgement:
    settings = analysis.settings
    if passed:
        return Judgement(
            "adopted",
            f"block {limit + 1} brings less than those before, and less than {settings.worth:g} {settings.unit}",
        )
    if not added.known or trainings < settings.min_trainings:
        return analysis.untold("count")
    if added.interval()[0] > 0:
        return Judgement("rejected", f"block {limit + 1} still adds {added.value:+.4f} {settings.unit}")
    return analysis.unseen([added], f"block {limit + 1} brings no less than those before it")


def _saved(analysis: Analysis) -> float | None:
    """What leaving out one block changes in time, on average over sites, ms."""
    cost = analysis.costs.site_ms([s.number for s in analysis.topology.sites])
    return None if cost is None else -cost
