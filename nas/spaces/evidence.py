"""Evidence: the numbers that a rule rests on. How it is made is left to `nas.shrinking`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat

Number = Annotated[FiniteFloat | None, BeforeValidator(lambda value: None if value != value else value)]
"""A measured number; None, never 0, for what was not measured. NaN is read as None."""


class Evidence(BaseModel):
    """What a rule rests on.

    Attributes:
        effect: difference that following the rule makes, in every family: above 0 it pays.
        low, high: 95 % interval of the effect.
        p: probability of such an effect by chance.
        p_adjusted: the same after correction for all hypotheses of the stage (Benjamini-Hochberg).
        trainings: number of trainings looked at.
        training_ids: their ids.
        latency_ms: difference in milliseconds per batch that following the rule makes; above 0 is slower.
        stage: the study's stage.
        confirmation: what fresh draws from parent and child space said.
        method: how the effect was estimated.
        unit: what stands behind the effect: mAP (0 to 1), or the unit or name of what else trainings are judged by.
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
        return "" if self.latency_ms is None else f"{sign * self.latency_ms:+.2f} ms per batch"

    def support(self) -> str:
        """What the effect rests on.

        >>> Evidence(p_adjusted=0.0042, trainings=96).support()
        'adjusted p 0.0042, 96 trainings'
        """
        parts = [] if self.p_adjusted is None else [f"adjusted p {_p_words(self.p_adjusted)}"]
        parts += [f"{self.trainings} training{'s' * (self.trainings != 1)}"] if self.trainings else []
        return ", ".join(parts)


def _p_words(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"
