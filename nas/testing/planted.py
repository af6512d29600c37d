"""What is true on a planted landscape, and so what counts as a discovery, a false one, or a missed one.

A rule is split into the single claims it makes, and each claim is held against the landscape's own numbers. For each
family: what is claimed; when that is true (everything else is a false discovery); what should be found (recall).

- sites, up to half of them kept: each site kept is better than the typical one. True when its gain is more than
  `NEGLIGIBLE` above the median site's, or within `MARGIN` of the best site's. To be found: each site whose gain is at
  least `LEAST` above the median's, for each block; a claim for all blocks together is about their mean, and finds the
  site for each of them.
- sites, more than half kept: each site left out is worse than the typical one. True when its gain is more than
  `NEGLIGIBLE` below the median's. (What should be found is counted by the sites kept.)
- stage ends: the last sites of stages are better. True when the mean premium over stages is positive, and stays so
  with any one stage left out. To be found when it is `LEAST`, and half of that with any one left out.
- min distance d: pairs 1 to d - 1 sites apart lose, one claim. True when every one of these distances has a penalty.
  Found when it takes in all distances that cost `LEAST` and none that costs less than `MARGIN`: of a step, exactly.
- distinct stages: pairs in one stage lose, beyond their distance. To be found when the penalty is `LEAST`.
- mix: several families gain (a preference) or lose (a constraint). True when the premium has that sign.
- max blocks k: block k + 1 brings less than those before, and less than `LEAST`. True when that holds on the mean over
  placements. Found when k is exactly the number after which no block brings more than `NEGLIGIBLE`.
- block preference: one block over another. True when its mean gain over the sites is larger; to be found from `LEAST`.
- hyperparameter values: each value left out is worse than the best value kept. To be found, one a hyperparameter, when
  the best and the worst value differ by `LEAST`.
- recipe range: values inside are better on the mean than those outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from nas.spaces.rules import (
    BlockPreference,
    DistinctStages,
    MaxBlocks,
    MinDistance,
    Mix,
    ParamsRule,
    RecipeRange,
    Rule,
    SitesRule,
    StageEnds,
)
from nas.spaces.rules.ranges import within
from nas.spaces.space import DesignSpace
from nas.spaces.values import ParamValue
from nas.testing.landscapes import Ints, Landscape

LEAST = 0.001
"""The smallest planted effect that a method is asked to find, mAP."""
MARGIN = 0.0005
"""Difference in mAP within which two sites count as equal."""
NEGLIGIBLE = 0.00025
"""A site this near to the typical one is neither better nor worse: claiming either is false."""


What = tuple[object, ...]


@dataclass(frozen=True)
class Claim:
    """One thing a rule says.

    Attributes:
        family: rule family.
        what: what it says of whom, e.g. ("cnl", 8).
    """

    family: str
    what: tuple[Any, ...]


@dataclass(frozen=True)
class Score:
    """How a set of rules does on a landscape.

    Attributes:
        claims: claims made, by family.
        false: false ones among them, by family.
        wanted: claims that should be found, by family.
        found: how many of those were, by family.
    """

    claims: Mapping[str, int]
    false: Mapping[str, int]
    wanted: Mapping[str, int]
    found: Mapping[str, int]

    @property
    def false_share(self) -> float:
        """Share of false claims; 0 when none was made."""
        made = sum(self.claims.values())
        return sum(self.false.values()) / made if made else 0.0


@dataclass(frozen=True)
class Truth:
    """A landscape seen from a design space.

    Attributes:
        landscape: the landscape.
        space: the space rules are derived in; its sites and largest number of blocks matter.
    """

    landscape: Landscape
    space: DesignSpace

    def score(self, rules: Iterable[Rule]) -> Score:
        """Claims made (each counted once), false, wanted and found."""
        claims = list(dict.fromkeys(claim for rule in rules for claim in self.claims(rule)))
        false = [claim for claim in claims if not self.is_true(claim)]
        wanted = self.wanted()
        found = [claim for claim in wanted if any(_covers(made, claim) for made in claims)]
        return Score(_count(claims), _count(false), _count(wanted), _count(found))

    def claims(self, rule: Rule) -> list[Claim]:
        """What a rule says."""
        split = _SPLIT.get(type(rule))
        return [] if split is None else split(self, rule)

    def is_true(self, claim: Claim) -> bool:
        """Whether the landscape agrees."""
        return bool(_TRUE[claim.family](self, *claim.what))

    def wanted(self) -> list[Claim]:
        """Claims that should be found."""
        return [Claim(family, what) for family, list_ in _WANTED.items() for what in list_(self)]

    def site_gain(self, block: str | None) -> dict[int, float]:
        """True gain by site, of one block or of the mean block, beside the median site."""
        gains = self.landscape.gains
        rows = gains if block is None else gains[[self.landscape.blocks.index(block)]]
        numbers = self.space.site_numbers(self.landscape.backbone)
        mean = {number: float(rows[:, number - 1].mean()) for number in numbers}
        middle = float(np.median(list(mean.values())))
        return {number: gain - middle for number, gain in mean.items()}

    def block_gain(self, block: str) -> float:
        """Mean true gain of a block over the sites of the space."""
        numbers = [number - 1 for number in self.space.site_numbers(self.landscape.backbone)]
        return float(self.landscape.gains[self.landscape.blocks.index(block)][numbers].mean())

    @cached_property
    def increments(self) -> tuple[float, ...]:
        """What the 1st, 2nd, ... block brings on the mean over placements, distances and mixing left out."""
        most = max(self.space.size_by_blocks())
        if self.landscape.count_limit is None:
            return (float(self.landscape.gains.mean()),) * most
        plain = replace(self.landscape, near_penalty=np.zeros(0), stage_penalty=0.0, mix_premium=0.0, base=0.0)
        rng = np.random.default_rng(0)
        means = [0.0] + [float(plain.placed_map(_random_placements(plain, k, rng)).mean()) for k in range(1, most + 1)]
        return tuple(np.diff(means).tolist())

    @property
    def limit(self) -> int | None:
        """The number of blocks beyond which nothing is gained, where there is one below the space's own."""
        brings = self.increments
        useful = max((k for k, gain in enumerate(brings, 1) if gain > NEGLIGIBLE), default=0)
        return useful if 0 < useful < len(brings) and brings[useful - 1] >= LEAST else None

    def end_premiums(self) -> list[float]:
        """True gain of the last site of each stage beside its other sites."""
        gain = self.site_gain(None)
        stages = [[s.number for s in self.landscape.topology.of_stage(k)] for k in self.landscape.topology.stages]
        return [
            gain[numbers[-1]] - float(np.mean([gain[n] for n in numbers[:-1] if n in gain]))
            for numbers in stages
            if numbers[-1] in gain and any(n in gain for n in numbers[:-1])
        ]

    def value_gain(self, factor: tuple[str, ...]) -> dict[ParamValue, float]:
        """True gain by value of a hyperparameter: ("param", block, name) or ("recipe", key)."""
        if factor[0] == "param":
            return dict(self.landscape.param_gain.get((factor[1], factor[2]), {}))
        return dict(self.landscape.recipe_gain.get(factor[1], ()))


def _random_placements(landscape: Landscape, blocks: int, rng: np.random.Generator, n: int = 6000) -> Ints:
    sites = len(landscape.topology.sites)
    chosen = np.argsort(rng.random((n, sites)), axis=1)[:, :blocks]
    placed = np.zeros((n, sites), dtype=np.int64)
    np.put_along_axis(placed, chosen, rng.integers(1, len(landscape.blocks) + 1, chosen.shape), axis=1)
    return placed


def _true_count(truth: Truth, count: int) -> bool:
    brings = truth.increments
    return 0 < count < len(brings) and brings[count] < min(LEAST, float(np.mean(brings[:count])) - NEGLIGIBLE)


def _count(claims: Iterable[Claim]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for claim in claims:
        counts[claim.family] = counts.get(claim.family, 0) + 1
    return counts


def _covers(made: Claim, wanted: Claim) -> bool:
    """Whether a claim finds what was wanted; a claim for all blocks finds it for each."""
    if made.family == wanted.family == "sites":
        return made.what[2] == "better" and made.what[0] in (None, wanted.what[0]) and made.what[1] == wanted.what[1]
    if made.family == wanted.family == "distance":
        return bool(wanted.what[0] <= made.what[0] <= wanted.what[1])
    if made.family == wanted.family == "hyperparameters":
        return bool(made.what[0] == wanted.what[0])
    return made == wanted


def _split_sites(truth: Truth, rule: SitesRule) -> list[Claim]:
    numbers = truth.space.site_numbers(truth.landscape.backbone)
    kept = rule.sites.resolve(truth.landscape.topology) & set(numbers)
    if 2 * len(kept) > len(numbers):
        return [Claim("sites", (rule.block, n, "worse")) for n in numbers if n not in kept]
    return [Claim("sites", (rule.block, n, "better")) for n in sorted(kept)]


def _true_site(truth: Truth, block: str | None, site: int, direction: str) -> bool:
    gain = truth.site_gain(block)
    if direction == "worse":
        return gain[site] < -NEGLIGIBLE
    best = max(gain.values())
    return gain[site] > NEGLIGIBLE or (best > NEGLIGIBLE and gain[site] >= best - MARGIN)


def _wanted_sites(truth: Truth) -> list[What]:
    return [
        (block, site, "better")
        for block in truth.landscape.blocks
        for site, gain in truth.site_gain(block).items()
        if gain >= LEAST - 1e-12
    ]


def _without_each(premiums: list[float]) -> list[float]:
    return [float(np.mean(premiums[:i] + premiums[i + 1 :])) for i in range(len(premiums))]


def _true_ends(truth: Truth) -> bool:
    premiums = truth.end_premiums()
    return float(np.mean(premiums)) > 0 and min(_without_each(premiums)) > 0


def _wanted_ends(truth: Truth) -> list[What]:
    premiums = truth.end_premiums()
    enough = float(np.mean(premiums)) >= LEAST and min(_without_each(premiums)) >= LEAST / 2
    return [()] if enough else []


def _true_distance(truth: Truth, distance: int) -> bool:
    penalty = truth.landscape.near_penalty
    return distance > 1 and len(penalty) >= distance - 1 and bool((penalty[: distance - 1] > 0).all())


def _wanted_distance(truth: Truth) -> list[What]:
    penalty = truth.landscape.near_penalty
    costly, worth = (np.flatnonzero(penalty >= least - 1e-12) for least in (LEAST, MARGIN))
    return [(int(costly[-1]) + 2, int(worth[-1]) + 2)] if len(costly) else []


def _wanted_mix(truth: Truth) -> list[What]:
    premium = truth.landscape.mix_premium
    return [("gain" if premium > 0 else "loss",)] if abs(premium) >= LEAST - 1e-12 else []


def _wanted_preferences(truth: Truth) -> list[What]:
    gain = {block: truth.block_gain(block) for block in truth.landscape.blocks}
    pairs = [(a, b) if gain[a] > gain[b] else (b, a) for a, b in combinations(truth.landscape.blocks, 2)]
    return [pair for pair in pairs if gain[pair[0]] - gain[pair[1]] >= LEAST - 1e-12]


def _split_values(truth: Truth, rule: ParamsRule | RecipeRange) -> list[Claim]:
    factor = ("param", rule.block, rule.param) if isinstance(rule, ParamsRule) else ("recipe", rule.key)
    if rule.values is None and isinstance(rule, RecipeRange):
        return [Claim("hyperparameters", (factor, "range", rule.low, rule.high))]
    known: list[ParamValue | None] = [*(truth.value_gain(factor) or _domain(truth, factor))]
    kept = [v for v in known if v is not None and within(v, rule.values, rule.low, rule.high)]
    return [Claim("hyperparameters", (factor, "value", v, tuple(kept))) for v in known if v not in kept]


def _domain(truth: Truth, factor: tuple[str, ...]) -> Iterable[ParamValue | None]:
    if factor[0] == "recipe":
        return truth.space.recipe[factor[1]].values
    return {dict(params).get(factor[2]) for params in truth.space.definition.forms(factor[1])}


def _true_value(truth: Truth, factor: tuple[str, ...], form: str, *rest: Any) -> bool:
    gain = truth.value_gain(factor)
    if not gain:
        return False
    if form == "value":
        left_out, kept = rest
        return gain[left_out] < max(gain[value] for value in kept)
    low, high = rest
    if any(isinstance(value, str) for value in gain):
        return False
    known, gains = zip(*sorted((np.log10(float(value)), brought) for value, brought in gain.items()), strict=True)
    grid = np.linspace(known[0], known[-1], 400)
    values = np.interp(grid, known, gains)
    inside = (grid >= np.log10(low) - 1e-9) & (grid <= np.log10(high) + 1e-9)
    return bool(inside.any() and (~inside).any() and values[inside].mean() > values[~inside].mean())


def _wanted_values(truth: Truth) -> list[What]:
    factors: list[tuple[str, ...]] = [("param", *key) for key in truth.landscape.param_gain]
    factors += [("recipe", key) for key in truth.landscape.recipe_gain]
    gains = {factor: truth.value_gain(factor).values() for factor in factors}
    return [(factor,) for factor, values in gains.items() if max(values) - min(values) >= LEAST - 1e-12]


_SPLIT: Mapping[type[Rule], Callable[[Truth, Any], list[Claim]]] = {
    SitesRule: _split_sites,
    StageEnds: lambda truth, rule: [Claim("stage_ends", ())],
    MinDistance: lambda truth, rule: [Claim("distance", (rule.distance,))],
    DistinctStages: lambda truth, rule: [Claim("distinct_stages", ())],
    Mix: lambda truth, rule: [Claim("mix", ("gain" if rule.least > 1 else "loss",))],
    MaxBlocks: lambda truth, rule: [Claim("count", (rule.count,))],
    BlockPreference: lambda truth, rule: [Claim("block_preference", (rule.better, rule.worse))],
    ParamsRule: _split_values,
    RecipeRange: _split_values,
}
_TRUE: Mapping[str, Callable[..., bool]] = {
    "sites": _true_site,
    "stage_ends": _true_ends,
    "distance": _true_distance,
    "distinct_stages": lambda truth: truth.landscape.stage_penalty > 0,
    "mix": lambda truth, sign: truth.landscape.mix_premium * (1 if sign == "gain" else -1) > 0,
    "count": _true_count,
    "block_preference": lambda truth, better, worse: truth.block_gain(better) > truth.block_gain(worse) + 1e-9,
    "hyperparameters": _true_value,
}
_WANTED: Mapping[str, Callable[[Truth], list[What]]] = {
    "sites": _wanted_sites,
    "stage_ends": _wanted_ends,
    "distance": _wanted_distance,
    "distinct_stages": lambda truth: [()] if truth.landscape.stage_penalty >= LEAST - 1e-12 else [],
    "mix": _wanted_mix,
    "count": lambda truth: [] if truth.limit is None else [(truth.limit,)],
    "block_preference": _wanted_preferences,
    "hyperparameters": _wanted_values,
}
