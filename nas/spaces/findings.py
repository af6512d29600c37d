"""Findings: a rule with the evidence for it and what was decided, as kept, shown and exported.

All verdicts are kept - adopted, rejected and undecided rules alike - because a rule that did not hold is a result
too. How evidence is made is left to `nas.shrinking`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from nas.errors import SpaceError
from nas.files.model_errors import sentence_for
from nas.spaces.evidence import Evidence
from nas.spaces.rules import AnyRule
from nas.spaces.sentences import numbers_of
from nas.spaces.sites import Topology

Verdict: TypeAlias = Literal["adopted", "rejected", "not enough data"]


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

    def claim(self, topology: Topology | None = None) -> str:
        """The rule with its numbers: what is adopted, rejected or left open.

        >>> from nas.spaces.rules import MaxBlocks
        >>> evidence = Evidence(effect=-0.0001, low=-0.0008, high=0.0006, trainings=96)
        >>> Finding(rule=MaxBlocks(count=3), evidence=evidence).claim()
        'no more than 3 blocks: the 4th adds +0.0001 [-0.0006, +0.0008] mAP'

        Args:
            topology: the backbone spoken of, to say of how many sites.
        """
        numbers = numbers_of(self.rule, self.evidence)
        return f"{self.rule.sentence(topology)}{f': {numbers}' if numbers else ''}"

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
