"""Space too tight: a child whose winners crowd at an edge that shrinking set gets that edge moved outwards again.

Only edges a rule of the child set are looked at, never those of the parent: what a person excluded stays excluded. A
re-opened space is a proposal like any other and needs fresh draws to be kept. Source of the idea: Radosavovic et al.
(2020), where good models near a bound ask for a wider range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nas.shrinking.draws import without_blocks
from nas.shrinking.null import permutation_p, shuffled
from nas.shrinking.sample import Flags, Ints, Sample, draw_samples
from nas.shrinking.settings import ShrinkSettings
from nas.shrinking.winners import resample_size, score_weights
from nas.spaces.blocks import get_block_spec
from nas.spaces.rules import MaxBlocks, MinDistance, ParamsRule, RecipeRange, Rule
from nas.spaces.rules.ranges import within
from nas.spaces.space import DesignSpace

EDGE = 0.15
"""Share of a range of numbers that counts as its edge: of 20 effective winners three are expected there by chance."""


@dataclass(frozen=True)
class Reopening:
    """An edge that is too tight.

    Attributes:
        rule: the rule that set it.
        relaxed: the rule with the edge moved outwards; None: dropped, as nothing of it is left.
        share: share of the winners at the edge.
        expected: share of all candidates at the edge.
        p: permutation p value of so many winners there.
        reason: one sentence.
    """

    rule: Rule
    relaxed: Rule | None
    share: float
    expected: float
    p: float
    reason: str


@dataclass(frozen=True)
class _Edge:
    """A possible edge: who stands at it, among whom, and the rule without it."""

    at: Flags
    among: Flags
    relaxed: Rule | None


def reopen(
    table: pd.DataFrame,
    parent: DesignSpace,
    child: DesignSpace,
    *,
    settings: ShrinkSettings | None = None,
    seed: int = 0,
) -> list[Reopening]:
    """Edges of the child at which its winners crowd more than chance.

    Args:
        table: results of draws; those inside the child are looked at.
        parent: the space the child was cut from.
        child: the space that may be too tight.
        settings: levels and numbers of permutations.
        seed: of the permutations.
    """
    settings = settings or ShrinkSettings()
    sample = _inside(table, child)
    if sample is None:
        return []
    rules = [rule for rule in child.rules if rule not in parent.rules and rule.is_hard]
    edges = [(rule, edge) for rule in rules for edge in _edges(rule, sample, parent)]
    rng = np.random.default_rng(seed)
    judged = [_judge(rule, edge, sample, settings, rng) for rule, edge in edges]
    return [r for r in judged if r is not None and r.p <= settings.alpha / len(edges)]


def reopened_space(parent: DesignSpace, child: DesignSpace, reopenings: Sequence[Reopening]) -> DesignSpace:
    """The child with its tight edges moved outwards."""
    changed = {reopening.rule: reopening.relaxed for reopening in reopenings}
    added = [changed.get(rule, rule) for rule in child.rules if rule not in parent.rules]
    return parent.restrict([rule for rule in added if rule is not None], name=f"{child.name}/reopened")


def _inside(table: pd.DataFrame, child: DesignSpace) -> Sample | None:
    samples = draw_samples(without_blocks(table)[0])
    sample = samples.get(next(iter(child.backbones)))
    if sample is None:
        return None
    inside = sample.take(np.array([child.contains(c) and bool(c.placements) for c in sample.candidates], dtype=bool))
    return inside if len(inside) else None


def _judge(
    rule: Rule, edge: _Edge, sample: Sample, settings: ShrinkSettings, rng: np.random.Generator
) -> Reopening | None:
    among = np.flatnonzero(edge.among)
    at = edge.at[among]
    if len(among) < 2 * settings.effective_size or not 0 < at.sum() < len(at):
        return None
    weights = score_weights(sample.score[among], resample_size(len(among), settings.effective_size))
    dealt = shuffled(weights, sample.block_pattern[among], settings.permutations, rng)
    share, expected = float(weights[at].sum()), float(at.mean())
    p = permutation_p(share, dealt[:, at].sum(axis=1))
    reason = f"{share:.0%} of the winners stand at the edge of {rule.sentence()!r}, where {expected:.0%} of all do"
    return Reopening(rule, edge.relaxed, share, expected, p, reason)


def _edges(rule: Rule, sample: Sample, parent: DesignSpace) -> Iterator[_Edge]:
    match rule:
        case MinDistance():
            yield _distance_edge(rule, sample)
        case MaxBlocks():
            yield from _count_edges(rule, sample, parent)
        case RecipeRange():
            yield from _range_edges(rule, sample, parent)
        case ParamsRule():
            yield from _param_edges(rule, sample, parent)


def _nearest_pair(sample: Sample) -> Ints:
    """(candidates,) least distance of two blocks; 0 with fewer than two."""
    sites = [np.flatnonzero(row) for row in sample.placed > 0]
    return np.array([int(np.diff(where).min()) if len(where) > 1 else 0 for where in sites])


def _distance_edge(rule: MinDistance, sample: Sample) -> _Edge:
    nearest = _nearest_pair(sample)
    relaxed = MinDistance(distance=rule.distance - 1, backbone=rule.backbone) if rule.distance > 2 else None
    return _Edge(nearest == rule.distance, nearest > 0, relaxed)


def _count_edges(rule: MaxBlocks, sample: Sample, parent: DesignSpace) -> Iterator[_Edge]:
    """The last block admitted must do better than the one before it by more than that one did: no sign of an end."""
    if rule.block is not None or rule.count + 1 not in parent.size_by_blocks() or rule.count < 2:
        return
    brings = [_mean_score(sample, k) for k in range(rule.count - 2, rule.count + 1) if k > 0]
    if len(brings) == 3 and brings[2] - brings[1] > brings[1] - brings[0]:
        yield _Edge(sample.counts == rule.count, sample.counts > 0, MaxBlocks(count=rule.count + 1))


def _mean_score(sample: Sample, count: int) -> float:
    scores = sample.score[(sample.counts == count) & np.isfinite(sample.score)]
    return float(scores.mean()) if len(scores) else float("nan")


def _range_edges(rule: RecipeRange, sample: Sample, parent: DesignSpace) -> Iterator[_Edge]:
    domain = parent.recipe.get(rule.key)
    if domain is None or rule.values is not None or not domain.low < domain.high:
        return
    values = np.array([float(dict(c.recipe).get(rule.key, np.nan)) for c in sample.candidates])
    known = np.isfinite(values)
    log = domain.scale == "log"
    given = (rule.low, domain.low), (rule.high, domain.high)
    low, high = (_scaled(bound if own is None else own, log) for own, bound in given)
    width = max(high - low, 1e-12)
    place = np.array([(_scaled(v, log) - low) / width if np.isfinite(v) else 0.5 for v in values])
    for at, side, bound in ((place < EDGE, "low", low - width / 2), (place > 1 - EDGE, "high", high + width / 2)):
        moved = float(f"{np.clip(10.0**bound if log else bound, domain.low, domain.high):.2g}")
        if getattr(rule, side) is not None and moved != getattr(rule, side):
            yield _Edge(at & known, known, rule.model_copy(update={side: moved}))


def _scaled(value: float, log: bool) -> float:
    return float(np.log10(value)) if log else float(value)


def _param_edges(rule: ParamsRule, sample: Sample, parent: DesignSpace) -> Iterator[_Edge]:
    """A run of values of a block's hyperparameter: its first and last."""
    if rule.block not in parent.blocks or rule.values is not None:
        return
    offered = {dict(params).get(rule.param) for params in parent.definition.forms(rule.block)}
    choices = [v for v in get_block_spec(rule.block).param(rule.param).choices if v in offered]
    kept = [v for v in choices if within(v, None, rule.low, rule.high)]
    values = [[p.value(rule.param) for p in c.placements if p.block == rule.block] for c in sample.candidates]
    among = np.array([bool(row) for row in values])
    for side, value in (("low", kept[0]), ("high", kept[-1])) if kept else ():
        beyond = choices.index(value) + (-1 if side == "low" else 1)
        if 0 <= beyond < len(choices):
            at = np.array([value in row for row in values])
            yield _Edge(at, among, rule.model_copy(update={side: float(choices[beyond])}))
