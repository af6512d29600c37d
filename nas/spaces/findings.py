"""Findings: a rule with the evidence for it and what was decided, as kept, shown and exported.

All verdicts are kept - adopted, rejected and undecided rules alike - because a rule that did not hold is a result
too. Evidence holds the effect of *following* a rule; a sentence may speak of those that do not, with the sign turned.
How evidence is made is left to `nas.shrinking`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from nas.errors import SpaceError
from nas.files.model_errors import sentence_for
from nas.spaces.rules import AnyRule, Cost, DistinctStages, MaxBlocks, MinDistance, Rule, SitesRule
from nas.spaces.sites import Topology

Verdict: TypeAlias = Literal["adopted", "rejected", "not enough data"]
Number = Annotated[FiniteFloat | None, BeforeValidator(lambda value: None if value != value else value)]
"""A measured number; None, never 0, for what was not measured. NaN is read as None."""


class Evidence(BaseModel):
    """What a rule rests on.

    Attributes:
        effect: difference that following the rule makes, in every family: above 0 it pays.
        low, high: 95 % interval of the effect.
        p: probability of such an effect by chance.
        p_adjusted: the same after correction for all hypotheses of the stage (Benjamini-Hochberg).
        latency_ms: difference in milliseconds per batch that following the rule makes; above 0 is slower.
        confirmation: what fresh draws from parent and child space said.
        unit: what stands behind the effect: mAP (0 to 1), or the unit or name of what else trainings are judged by.
        within: the band of costs that all networks kept to, most by cost; of networks beyond it nothing is said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    effect: Number = None
    low: Number = None
    high: Number = None
    p: Number = None
    p_adjusted: Number = None
    trainings: int = Field(0, ge=0)
    training_ids: tuple[int, ...] = ()
    latency_ms: Number = None
    stage: str | None = None
    confirmation: dict[str, object] | None = None
    method: str = ""
    unit: str = "mAP"
    within: dict[str, FiniteFloat] = Field(default_factory=dict)

    def band_words(self) -> str:
        """The networks that it is about; empty for all of the space.

        >>> Evidence(within={"slowdown_percent": 5.0, "params": 26e6}).band_words()
        'networks at most 5 % slower than the plain one, of at most 26,000,000 params'
        """
        said = {cost: _LIMITS.get(cost, f"of at most {{}} {cost}") for cost in self.within}
        limits = [said[cost].format(f"{most:,.10g}") for cost, most in self.within.items()]
        return f"networks {', '.join(limits)}" if limits else ""

    def effect_words(self, sign: float = 1.0) -> str:
        """The effect with its interval; empty when not known.

        >>> Evidence(effect=0.0011, low=0.0004, high=0.0018).effect_words(-1.0)
        '-0.0011 [-0.0018, -0.0004] mAP'

        Args:
            sign: -1 for what those gain that do not follow the rule.
        """
        if self.effect is None:
            return ""
        value = f"{sign * self.effect:+.4f}"
        if self.low is None or self.high is None:
            return f"{value} {self.unit}"
        low, high = sorted((sign * self.low, sign * self.high))
        return f"{value} [{low:+.4f}, {high:+.4f}] {self.unit}"

    def time_words(self, sign: float = 1.0) -> str:
        """The difference in time; empty when not known."""
        return "" if self.latency_ms is None else f"{sign * self.latency_ms:+z.2f} ms per batch"

    def support(self) -> str:
        """What the effect rests on.

        >>> Evidence(p_adjusted=0.0042, trainings=96).support()
        'adjusted p 0.0042, 96 trainings'
        """
        parts = [] if self.p_adjusted is None else [f"adjusted p {_p_words(self.p_adjusted)}"]
        parts += [f"{self.trainings} training{'s' * (self.trainings != 1)}"] if self.trainings else []
        return ", ".join(parts)


_LIMITS: Mapping[str, str] = MappingProxyType(
    {"slowdown_percent": "at most {} % slower than the plain one", "latency_ms": "of at most {} ms per batch"}
)
"""How limits are said; those on other costs by the cost's name."""


def _p_words(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


class Finding(BaseModel):
    """A rule, its evidence, and the decision about it.

    Attributes:
        verdict: `adopted`, `rejected` or `not enough data`.
        reason: why, in a sentence; may be empty for an adopted rule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: AnyRule
    evidence: Evidence = Evidence()
    verdict: Verdict = "adopted"
    reason: str = ""

    @property
    def adopted(self) -> bool:
        """Whether the rule holds from here on."""
        return self.verdict == "adopted"

    def rule_words(self, topology: Topology | None = None) -> str:
        """The rule alone, with the band of costs that it was found in, where there was one."""
        band = self.evidence.band_words()
        return f"{self.rule.sentence(topology)}{f' (among {band})' if band else ''}"

    def claim(self, topology: Topology | None = None) -> str:
        """The rule with its numbers: what is adopted, rejected or left open.

        >>> from nas.spaces.rules import MaxBlocks
        >>> evidence = Evidence(effect=-0.0001, low=-0.0008, high=0.0006, trainings=96)
        >>> Finding(rule=MaxBlocks(count=3), evidence=evidence).claim()
        'no more than 3 blocks: the 4th adds +0.0001 [-0.0006, +0.0008] mAP'

        Args:
            topology: the backbone spoken of, to say of how many sites.
        """
        numbers = _FAMILIES.get(type(self.rule), _gain)(self.rule, self.evidence)
        said = self.rule_words(topology)
        return f"{said}: {numbers}" if numbers else said

    def sentence(self, topology: Topology | None = None) -> str:
        """The claim, what it rests on and the decision, as a person says it.

        >>> from nas.spaces.rules import MinDistance
        >>> Finding(rule=MinDistance(distance=4), evidence=Evidence(effect=0.0021, trainings=80)).sentence()
        'blocks at least 4 sites apart: each nearer pair brings -0.0021 mAP, 80 trainings (adopted)'
        """
        support = self.evidence.support()
        decision = f"{self.verdict}: {self.reason}" if self.reason else self.verdict
        return f"{self.claim(topology)}{f', {support}' if support else ''} ({decision})"

    def to_dict(self) -> dict[str, object]:
        """Plain data for files and databases; `from_dict` reads it back."""
        return {
            "rule": self.rule.to_dict(),
            "verdict": self.verdict,
            "reason": self.reason,
            "evidence": self.evidence.model_dump(mode="json"),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Finding:
        """The inverse of `to_dict`.

        Raises:
            SpaceError: when a key is unknown or a value illegal.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as problem:
            raise SpaceError(f"finding: {sentence_for(problem, cls)[0]}") from problem


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ...

    >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    suffix = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _gain(rule: Rule, evidence: Evidence) -> str:
    return _joined(evidence.effect_words(), evidence.time_words())


def _over_others(rule: Rule, evidence: Evidence) -> str:
    gain = evidence.effect_words()
    return _joined(f"{gain} over the other positions" if gain else "", evidence.time_words())


def _next_block(rule: Rule, evidence: Evidence) -> str:
    assert isinstance(rule, MaxBlocks)
    added = _joined(evidence.effect_words(-1.0), evidence.time_words(-1.0))
    return f"the {ordinal(rule.count + 1)} adds {added}" if added else ""


def _pairs(rule: Rule, evidence: Evidence) -> str:
    lost, which = evidence.effect_words(-1.0), "nearer" if isinstance(rule, MinDistance) else "such"
    return f"each {which} pair brings {lost}" if lost else ""


def _left_out(rule: Rule, evidence: Evidence) -> str:
    time, best = evidence.time_words(-1.0), evidence.effect_words(-1.0)
    said = _joined(f"{time} on average" if time else "", f"the best of them {best}" if best else "")
    return f"those left out {said}" if said else ""


_FAMILIES: Mapping[type[Rule], Callable[[Rule, Evidence], str]] = MappingProxyType(
    {SitesRule: _over_others, MaxBlocks: _next_block, MinDistance: _pairs, DistinctStages: _pairs, Cost: _left_out}
)
"""How each family says its numbers; every other one says what following it brings."""
