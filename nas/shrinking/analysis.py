"""What every rule family works on: one backbone's sample, its fitted effects, latencies and settings.

A family asks questions (p values) first and concludes afterwards, when the false discovery rate over all questions of
the stage is known; the verdict on a difference is the same for all families and is made here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np

from nas.progress import duration
from nas.results.costs import Quote
from nas.results.intervals import NOT_KNOWN, Estimate, Floats
from nas.results.placement_costs import PlacementCosts
from nas.results.power import POWER
from nas.shrinking.design import DesignChoice, build_design
from nas.shrinking.effects import MIN_DF, Fit, affordable, differ, fit_effects, least_candidates, repeated
from nas.shrinking.equivalence import visible
from nas.shrinking.sample import Flags, Sample
from nas.shrinking.settings import ShrinkSettings
from nas.spaces.findings import Evidence, Finding
from nas.spaces.rules import Rule
from nas.spaces.sites import Topology
from nas.spaces.space import DesignSpace

Key: TypeAlias = Hashable

REGRESSION = "regression over candidates, errors that allow unequal spread (HC3)"
REPEATED = {
    "seeds": "all candidates of the space in the same seeds, errors of their trainings",
    "starts": "all candidates of the space from the same starts, errors of what starts change",
}
"""What an estimate rests on, by `Fit.repeated`."""


class FamilyTests(NamedTuple):
    """A family's questions, and what it makes of the answers.

    Attributes:
        p_values: p value by hypothesis; NaN for one that cannot be tested.
        conclude: findings, given the adjusted p values of the same hypotheses.
        estimates: the effect that each question is about, where it is one; its error says what the question can see.
    """

    p_values: Mapping[Key, float]
    conclude: Callable[[Mapping[Key, float]], list[Finding]]
    estimates: Mapping[Key, Estimate] = MappingProxyType({})

    @classmethod
    def one(cls, key: Key, p: float, conclude: Callable[[float], Finding], estimate: Estimate) -> FamilyTests:
        """A family with one question, which concludes from its adjusted p value."""
        return cls({key: p}, lambda adjusted: [conclude(adjusted[key])], {key: estimate})


@dataclass
class QuestionCount:
    """How many questions a stage asks in all; known when every family has asked, and before any concludes.

    Attributes:
        number: questions that can be tested.
    """

    number: int = 1


class Judgement(NamedTuple):
    """A verdict and why."""

    verdict: str
    reason: str


@dataclass(frozen=True)
class Analysis:
    """One backbone of a stage.

    Attributes:
        sample: candidates and scores.
        space: the space the rules are for.
        costs: measured latencies.
        reference: the reference network's sample and latency, when there is one.
        settings: levels and margins.
        seed: of permutations.
        stage: name of the stage.
        asked: how many questions the stage asks, of all backbones and families.
        seconds: that a training takes; NaN where it is not known.
    """

    sample: Sample
    space: DesignSpace
    costs: PlacementCosts
    settings: ShrinkSettings
    reference: Reference | None = None
    seed: int = 0
    stage: str | None = None
    asked: QuestionCount = field(default_factory=QuestionCount)
    seconds: float = math.nan

    @property
    def level(self) -> float:
        """The level in force: what a lone effect among all questions must pass (Benjamini-Hochberg's first step)."""
        return self.settings.alpha / max(1, self.asked.number)

    @property
    def topology(self) -> Topology:
        """The sites of the backbone."""
        return self.sample.topology

    @property
    def scope(self) -> str | None:
        """The backbone that rules name: none where the space has but one."""
        return self.sample.backbone if len(self.space.backbones) > 1 else None

    @cached_property
    def fit(self) -> Fit:
        """The effects: one a block and site where blocks are shown to differ in their sites, else one a site."""
        return self.cells if self.cells is not None and differ(self.pooled, self.cells) else self.pooled

    @cached_property
    def pooled(self) -> Fit:
        """Effects with one effect a site (or coarser, when the sample is small and not the whole space, repeated)."""
        fit = fit_effects(self.sample)
        return fit if ("site",) in fit.design.factors else self._repeated("all") or fit

    @cached_property
    def cells(self) -> Fit | None:
        """Effects with one effect a block and site; None where the sample is too small for so many."""
        choice = affordable(self.sample.take(np.isfinite(self.sample.score)))
        if len(self.sample.blocks) < 2 or choice.sites != "all":
            return None
        fit = fit_effects(self.sample, replace(choice, sites="cells"))
        return fit if fit.df >= len(fit.residuals) // 3 else self._repeated("cells")

    def _repeated(self, sites: str) -> Fit | None:
        """Effects with an effect a site (or a block and site) although that leaves no candidates over.

        They are known from trainings alone where all of the space were trained alike.
        """
        kept = self.sample.take(np.isfinite(self.sample.score))
        whole = self.space.size() - self.space.size_by_blocks().get(0, 0)
        if len(self.space.backbones) > 1 or self.space.continuous or int((kept.counts > 0).sum()) != whole:
            return None
        fit = fit_effects(self.sample, replace(affordable(kept), sites=sites))
        return repeated(fit, kept)

    @property
    def regression(self) -> str:
        """What the effects rest on, in words."""
        return REPEATED[self.fit.repeated] if self.fit.repeated else REGRESSION

    @cached_property
    def site_levels(self) -> dict[int, Floats]:
        """The contrast that reads each site's effect, the mean over blocks; empty where sites have no effects."""
        design = self.fit.design
        groups = [t for t in design.factors if t[0] in ("site", "cell")]
        per_group = [dict(zip(design.factors[t].levels, design.levels(t), strict=True)) for t in groups]
        if len(per_group) < (1 if ("site",) in groups else len(self.sample.blocks)):
            return {}
        shared = set.intersection(*(set(levels) for levels in per_group)) if per_group else set()
        sites = sorted(int(site) for site in shared)
        return {site: np.asarray(np.mean([levels[site] for levels in per_group], axis=0)) for site in sites}

    def rng(self, purpose: str) -> np.random.Generator:
        """A source of random numbers of its own for each purpose: adding a family changes no other's numbers."""
        return np.random.default_rng([self.seed, *purpose.encode()])

    def evidence(
        self,
        rows: Flags,
        difference: Estimate = NOT_KNOWN,
        *,
        p: float | None = None,
        p_adjusted: float | None = None,
        latency_ms: float | None = None,
        method: str | None = None,
    ) -> Evidence:
        """Evidence from a difference and the candidates it rests on."""
        low, high = difference.interval(self.settings.confidence)
        return Evidence(
            effect=difference.value,
            low=low,
            high=high,
            p=p,
            p_adjusted=p_adjusted,
            trainings=self.sample.support(rows),
            training_ids=self.sample.ids(rows),
            latency_ms=latency_ms,
            stage=self.stage,
            method=self._method(method or self.regression),
            unit=self.settings.unit,
        )

    def _method(self, method: str) -> str:
        seed_sd = self.sample.seed_sd
        return method if np.isnan(seed_sd) else f"{method}; seed sd {seed_sd:.4f}"

    def finding(self, rule: Rule, answer: Judgement, evidence: Evidence) -> Finding:
        """A finding with its verdict."""
        return Finding(rule=rule, evidence=evidence, verdict=answer.verdict, reason=answer.reason)

    def judge(self, difference: Estimate, p_adjusted: float, trainings: int, of: str) -> Judgement:
        """The verdict on a difference that should be positive: adopted, rejected, or not enough data.

        Args:
            difference: what following the rule brings.
            p_adjusted: of the question; NaN where it cannot be tested.
            trainings: that it rests on.
            of: kind of the design's columns that would tell it.
        """
        settings = self.settings
        if not difference.known or np.isnan(p_adjusted):
            return self.untold(of)
        if trainings < settings.min_trainings:
            needed = self._in_proportion(settings.min_trainings / max(trainings, 1))
            return self.not_enough(f"{trainings} trainings tell of it", needed, f" to have {settings.min_trainings}")
        if p_adjusted <= settings.alpha and difference.value >= settings.margin:
            return Judgement("adopted", f"adjusted p = {p_adjusted:.2g} over all hypotheses of the stage")
        if p_adjusted <= settings.alpha and difference.value > 0:
            return Judgement("rejected", f"smaller than the margin of {settings.margin:g} {settings.unit}")
        if p_adjusted <= settings.alpha:
            return Judgement("rejected", "the effect goes the other way")
        return self.unseen([difference], f"no effect seen (adjusted p = {p_adjusted:.2g})")

    def unseen(self, differences: Sequence[Estimate], none: str) -> Judgement:
        """The verdict where nothing was found: rejected if what is worth having would have been seen.

        Args:
            differences: all of which would have to be told.
            none: said when it is rejected.
        """
        seen = max(visible(difference, self.level) for difference in differences)
        worth = self.settings.worth
        if seen <= worth:
            return Judgement("rejected", none)
        why = f"an effect below {seen:.4f} {self.settings.unit} is not seen with {100 * POWER:.0f} % power"
        times = (seen / worth) ** 2
        return self.not_enough(why, self._in_proportion(times), f" to see {worth:g}", times)

    def untold(self, of: str) -> Judgement:
        """The verdict where the sample cannot tell an effect at all.

        Args:
            of: kind of the design's columns that would tell it, such as `near` (see `nas.shrinking.design`).
        """
        candidates, columns = len(self.fit.residuals), len(self.fit.design.terms)
        if not self.fit.enough:
            return self.not_enough(f"{candidates} finished candidates for {columns} unknown effects", columns + MIN_DF)
        rich = build_design(self.sample, DesignChoice())
        needed = least_candidates(rich)
        if all(term[0] != of for term in rich.terms) or needed <= candidates:
            return self.not_enough("the candidates of the sample do not differ in this", None)
        return self.not_enough(f"{candidates} finished candidates for {len(rich.terms)} unknown effects", needed)

    def not_enough(self, why: str, needed: int | None, aim: str = "", times: float | None = None) -> Judgement:
        """Not enough data, and what it would take.

        Args:
            why: what is missing.
            needed: finished candidates in all; None: no number of such candidates would do.
            aim: what they are for.
            times: by how much the variance of an effect is too large, where that is what is missing.
        """
        if needed is None:
            return Judgement("not enough data", f"{why}; other candidates are needed, not more of the same")
        said, held, sampled = _rounded_up(needed), self.space.size(), len(self.fit.residuals)
        each = float(self.sample.finished.sum()) / max(1, len(self.sample))
        if said > held and not self.space.continuous:  # then only more trainings of each can help
            if not aim:
                return Judgement("not enough data", f"{why}; the {_number(held)} of the space are too few to tell it")
            if self.fit.repeated == "starts":
                return Judgement("not enough data", f"{why}; more starts, with more seeds, are needed{aim}")
            enough = needed * each / held if times is None else self._seeds_for(times, each)
            if enough is None:
                alike = (
                    f"the {_number(held)} of the space differ by themselves (sd {self.fit.own_sd:.4f} beyond the seeds)"
                )
                return Judgement("not enough data", f"{why}; {alike}, and more seeds of them do not change that")
            seeds = _rounded_up(math.ceil(enough))
            more = self._price(seeds * held - sampled * each)
            every = f"the space has {_number(held)}: each in about {seeds} seeds (`seeds: {seeds}`{more})"
            return Judgement("not enough data", f"{why}; {every} is needed{aim}")
        more = self._price(each * (said - sampled))
        return Judgement(
            "not enough data", f"{why}; about {said} candidates (`candidates: {said}`{more}) are needed{aim}"
        )

    def _seeds_for(self, times: float, each: float) -> float | None:
        """Seeds of each candidate that make the variance of a mean so many times smaller; None: no number does.

        It is own^2 + seed^2 / seeds, and what candidates are by themselves stays.
        """
        own, seed = self.fit.own_sd**2, self.fit.seed_sd**2
        if not math.isfinite(own + seed):
            return times * each
        left = (own + seed / each) / times - own
        return seed / left if left > 0 else None

    def _price(self, trainings: float) -> str:
        """What so many more trainings take."""
        seconds = self.seconds * trainings
        return f", about {duration(seconds)} more of training" if seconds > 0 else ""

    def _in_proportion(self, times: float) -> int:
        """So many times the finished candidates of the sample."""
        return max(len(self.fit.residuals) + 1, math.ceil(times * max(1, len(self.fit.residuals))))


@dataclass(frozen=True)
class Reference:
    """The network a good placement must beat.

    Attributes:
        notation: which network.
        score: mean mAP; None when not trained.
        trainings: finished trainings.
        time: its time, ms; None when not known.
    """

    notation: str
    score: float | None
    trainings: int
    time: Quote | None


def _rounded_up(number: int) -> int:
    """Two digits are what such a forecast can say.

    >>> _rounded_up(17), _rounded_up(936), _rounded_up(1703)
    (17, 940, 1800)
    """
    step: int = 10 ** max(0, len(str(number)) - 2)
    return -(-number // step) * step


def _number(candidates: int) -> str:
    return f"{candidates:,} candidate{'s' * (candidates != 1)}"
