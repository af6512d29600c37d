"""What every rule family works on: one backbone's sample, its fitted effects, latencies and settings.

A family asks questions (p values) first and concludes afterwards, when the false discovery rate over all questions of
the stage is known; the verdict on a difference is the same for all families and is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from nas.results.intervals import Estimate
from nas.shrinking.costs import Costs
from nas.shrinking.effects import MIN_DF, Fit, affordable, differ, fit_effects
from nas.shrinking.equivalence import could_see
from nas.shrinking.sample import Sample
from nas.shrinking.settings import ShrinkSettings
from nas.spaces.blocks import get_block_spec
from nas.spaces.evidence import Evidence
from nas.spaces.findings import Finding
from nas.spaces.rules import Rule
from nas.spaces.sites import Topology
from nas.spaces.space import DesignSpace

Key: TypeAlias = Hashable
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

REGRESSION = "regression over candidates, HC3 errors"


class FamilyTests(NamedTuple):
    """A family's questions, and what it makes of the answers.

    Attributes:
        p_values: p value by hypothesis; NaN for one that cannot be tested.
        conclude: findings, given the adjusted p values of the same hypotheses.
    """

    p_values: dict[Key, float]
    conclude: Callable[[Mapping[Key, float]], list[Finding]]


class Answer(NamedTuple):
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
        seed: of permutations and bootstraps.
        stage: name of the stage.
    """

    sample: Sample
    space: DesignSpace
    costs: Costs
    settings: ShrinkSettings
    reference: Reference | None = None
    seed: int = 0
    stage: str | None = None

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
        """Effects with one effect a site (or coarser, when the sample is small)."""
        return fit_effects(self.sample)

    @cached_property
    def cells(self) -> Fit | None:
        """Effects with one effect a block and site; None where the sample is too small for so many."""
        choice = affordable(self.sample.take(np.isfinite(self.sample.score)))
        if len(self.sample.blocks) < 2 or choice.sites != "all":
            return None
        fit = fit_effects(self.sample, replace(choice, sites="cells"))
        return fit if fit.df >= len(fit.residuals) // 3 else None

    @cached_property
    def site_levels(self) -> dict[int, Floats]:
        """The contrast that reads each site's effect, the mean over blocks; empty where sites have no effects."""
        design = self.fit.design
        groups = [t for t in design.factors if t[0] in ("site", "cell")]
        per_group = [dict(zip(design.factors[t].levels, design.levels(t), strict=True)) for t in groups]
        if len(per_group) < (1 if ("site",) in groups else len(self.sample.blocks)):
            return {}
        shared = set.intersection(*(set(levels) for levels in per_group)) if per_group else set()
        return {site: np.asarray(np.mean([levels[site] for levels in per_group], axis=0)) for site in sorted(shared)}

    def rng(self, purpose: str) -> np.random.Generator:
        """A source of random numbers of its own for each purpose: adding a family changes no other's numbers."""
        return np.random.default_rng([self.seed, *purpose.encode()])

    def evidence(
        self,
        rows: Flags,
        difference: Estimate | None = None,
        *,
        p: float | None = None,
        p_adjusted: float | None = None,
        latency_ms: float | None = None,
        method: str = REGRESSION,
    ) -> Evidence:
        """Evidence from a difference and the candidates it rests on."""
        low, high = (None, None) if difference is None else difference.interval(self.settings.confidence)
        return Evidence(
            effect=None if difference is None else difference.value,
            low=low,
            high=high,
            p=_known(p),
            p_adjusted=_known(p_adjusted),
            trainings=self.sample.support(rows),
            training_ids=self.sample.ids(rows),
            latency_ms=latency_ms,
            stage=self.stage,
            method=self._method(method),
        )

    def _method(self, method: str) -> str:
        seed_sd = self.sample.seed_sd
        return method if np.isnan(seed_sd) else f"{method}; seed sd {seed_sd:.4f}"

    def finding(self, rule: Rule, answer: Answer, evidence: Evidence) -> Finding:
        """A finding with its verdict."""
        return Finding(rule=rule, evidence=evidence, verdict=answer.verdict, reason=answer.reason)

    def judge(self, difference: Estimate | None, p_adjusted: float, trainings: int) -> Answer:
        """The verdict on a difference that should be positive: adopted, rejected, or not enough data."""
        settings = self.settings
        if trainings < settings.min_trainings:
            return Answer("not enough data", f"{trainings} trainings; {settings.min_trainings} needed")
        if difference is None or np.isnan(p_adjusted):
            return Answer("not enough data", self.why_not())
        if p_adjusted <= settings.alpha and difference.value >= settings.margin:
            return Answer("adopted", f"adjusted p = {p_adjusted:.2g} over all hypotheses of the stage")
        if p_adjusted <= settings.alpha and difference.value > 0:
            return Answer("rejected", f"smaller than the margin of {settings.margin:g} mAP")
        if p_adjusted <= settings.alpha:
            return Answer("rejected", "the effect goes the other way")
        if could_see(difference, settings.worth):
            return Answer("rejected", f"no effect seen (adjusted p = {p_adjusted:.2g})")
        return Answer(
            "not enough data", f"an effect of {settings.worth:g} mAP would not be seen: {_spread(difference)}"
        )

    def why_not(self) -> str:
        """Why the sample cannot tell something."""
        columns = len(self.fit.design.terms)
        if not self.fit.enough:
            return f"{len(self.fit.residuals)} finished candidates for {columns} terms; {columns + MIN_DF} needed"
        return "the candidates of the sample do not differ in this"


@dataclass(frozen=True)
class Reference:
    """The network a good placement must beat.

    Attributes:
        notation: which network.
        score: mean mAP; None when not trained.
        trainings: finished trainings.
        latency_ms: latency; None when not measured.
    """

    notation: str
    score: float | None
    trainings: int
    latency_ms: float | None


def title(block: str) -> str:
    """A block's name for people."""
    return get_block_spec(block).title


def _spread(difference: Estimate) -> str:
    low, high = difference.interval()
    return f"{difference.value:+.4f} [{low:+.4f}, {high:+.4f}]"


def _known(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
