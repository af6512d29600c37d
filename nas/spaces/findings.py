"""Findings: a rule with the evidence for it and what was decided, as kept, shown and exported.

All verdicts are kept - adopted, rejected and undecided rules alike - because a rule that did not hold is a result
too. How evidence is made is left to `nas.shrinking`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from nas.errors import SpaceError
from nas.files.model_errors import sentence_for
from nas.spaces.rules import AnyRule
from nas.spaces.sites import Topology

Verdict: TypeAlias = Literal["adopted", "rejected", "not enough data"]
Number = Annotated[FiniteFloat | None, BeforeValidator(lambda value: None if value != value else value)]
"""A measured number; None, never 0, for what was not measured. NaN is read as None."""


class Evidence(BaseModel):
    """What a rule rests on.

    Attributes:
        effect: difference in mAP (0 to 1) that the rule makes.
        low, high: 95 % interval of the effect.
        p: probability of such an effect by chance.
        p_adjusted: the same after correction for all hypotheses of the stage (Benjamini-Hochberg).
        trainings: number of trainings looked at.
        training_ids: their ids.
        latency_ms: difference in milliseconds a batch that following the rule makes; above 0 is slower.
        stage: the study's stage.
        confirmation: what fresh draws from parent and child space said.
        method: how the effect was estimated.
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
    confirmation: dict[str, Any] | None = None
    method: str = ""

    def sentence(self) -> str:
        """The numbers as a person reads them.

        >>> Evidence(effect=0.0011, low=0.0004, high=0.0018, trainings=96).sentence()
        '+0.0011 [+0.0004, +0.0018] mAP, 96 trainings'
        """
        parts = [] if self.effect is None else [f"{self.effect:+.4f}{self._interval()} mAP"]
        parts += [] if self.latency_ms is None else [f"{self.latency_ms:+.2f} ms a batch"]
        parts += [] if self.p_adjusted is None else [f"adjusted p {_p_words(self.p_adjusted)}"]
        parts += [f"{self.trainings} training{'s' * (self.trainings != 1)}"] if self.trainings else []
        return ", ".join(parts)

    def _interval(self) -> str:
        return "" if self.low is None or self.high is None else f" [{self.low:+.4f}, {self.high:+.4f}]"


class Finding(BaseModel):
    """A rule, its evidence, and the decision about it.

    Attributes:
        rule: the rule.
        evidence: what it rests on.
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

    def sentence(self, topology: Topology | None = None) -> str:
        """The rule, its numbers and the decision, as a person says it.

        >>> from nas.spaces.rules import MinDistance
        >>> Finding(rule=MinDistance(distance=4), evidence=Evidence(effect=0.0021, trainings=80)).sentence()
        'blocks at least 4 sites apart: +0.0021 mAP, 80 trainings (adopted)'
        """
        numbers = self.evidence.sentence()
        decision = f"{self.verdict}: {self.reason}" if self.reason else self.verdict
        return f"{self.rule.sentence(topology)}{f': {numbers}' if numbers else ''} ({decision})"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for files and databases; `from_dict` reads it back."""
        return {
            "rule": self.rule.to_dict(),
            "verdict": self.verdict,
            "reason": self.reason,
            "evidence": self.evidence.model_dump(mode="json"),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """The inverse of `to_dict`.

        Raises:
            SpaceError: when a key is unknown or a value illegal.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as problem:
            raise SpaceError(f"finding: {sentence_for(problem, cls)[0]}") from problem


def _p_words(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"
