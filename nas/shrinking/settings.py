"""The numbers a shrink step may be asked to change, in one place; each says what it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from nas.errors import StudyError, unknown_name
from nas.results.costs import SLOWER

RuleFamily = Literal[
    "cost",
    "sites",
    "stage_ends",
    "block_preference",
    "distance",
    "distinct_stages",
    "mix",
    "count",
    "count_per_type",
    "hyperparameters",
]

FAMILIES: tuple[RuleFamily, ...] = get_args(RuleFamily)
"""Families of rules that can be derived, in the order they are reported."""
DEFAULT_FAMILIES: tuple[RuleFamily, ...] = tuple(family for family in FAMILIES if family != "count_per_type")
"""Those tested when nothing is said: `count_per_type` is asked of sweeps that were made for it."""


@dataclass(frozen=True)
class ShrinkSettings:
    """How rules are derived from a results table.

    Attributes:
        families: families of rules to test.
        alpha: false discovery rate over all hypotheses of a stage (Benjamini-Hochberg).
        confidence: of every interval.
        margin: mAP within which two choices count as equal; a smaller effect makes no rule. Half of the smallest effect
            of Eisenbach et al. (2023), 0.001.
        worth: mAP a further block must bring to be worth having; also the effect that a sample must be able to
            see before "no effect" is said instead of "not enough data". Their smallest effect.
        slower: share of another network's time up to which two count as equally fast.
        max_slowdown: share of the baseline's latency that a preference may cost.
        effective_size: effective number of winners behind a good range: with the 8 of the published method a fifth of
            the range of a parameter that does nothing is lost (`tests/shrinking/test_winners.py`).
        permutations: draws of every permutation null: a p value of 0.05 then has a standard error of 0.005.
        min_trainings: trainings a level needs before anything is said of it, so that no single one decides.
        unit: of what trainings are judged by, as it stands behind an effect: its unit, or its name.
        nearest: largest distance between two blocks that is looked at: the longest stage of ResNet-50 has 6 sites.
    """

    families: tuple[RuleFamily, ...] = DEFAULT_FAMILIES
    alpha: float = 0.05
    confidence: float = 0.95
    margin: float = 0.0005
    worth: float = 0.001
    slower: float = SLOWER
    max_slowdown: float = 0.05
    effective_size: float = 20.0
    permutations: int = 2000
    min_trainings: int = 4
    nearest: int = 6
    unit: str = "mAP"

    def __post_init__(self) -> None:
        for family in self.families:
            if family not in FAMILIES:
                raise StudyError(unknown_name("family of rules", family, FAMILIES))
        for name in ("alpha", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise StudyError(f"{name} must lie between 0 and 1, not {getattr(self, name)!r}")
        for name in ("margin", "worth", "slower", "max_slowdown"):
            if not getattr(self, name) >= 0:
                raise StudyError(f"{name} must be 0 or more, not {getattr(self, name)!r}")
