"""What the questions of a stage can see: how many each family asks, and how small an effect they tell.

Which questions are asked follows from the design alone (what the candidates differ in, and how many there are), never
from the scores; how small an effect they see, from their errors and from how many are asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from nas.results.columns import MAP
from nas.results.power import POWER
from nas.shrinking.analysis import FamilyTests
from nas.shrinking.equivalence import visible
from nas.shrinking.settings import RuleFamily

_NOTHING_SLOWER = "no placement is known to be slower than the reference"


@dataclass(frozen=True)
class Sight:
    """The questions of one family.

    Attributes:
        family: of rules.
        questions: those that the design can answer.
        untold: those that it cannot.
        visible: smallest effect that each of them finds with 80 % power at the level in force; None where the
            questions are not about an effect, or none can be answered.
        unit: of the effect.
    """

    family: RuleFamily
    questions: int
    untold: int
    visible: float | None
    unit: str = MAP.suffix

    def sentence(self) -> str:
        """The numbers in words.

        >>> Sight("sites", 17, 0, 0.0011).sentence()
        'sites: 17 questions, each sees an effect of 0.0011 mAP with 80 % power'
        """
        if not self.questions:
            same = _NOTHING_SLOWER if self.family == "cost" else "all candidates are alike in it"
            return f"{self.family}: not asked, {'these candidates cannot tell' if self.untold else same}"
        asked = f"{self.family}: {self.questions} question{'s' * (self.questions != 1)}"
        if self.visible is None:
            return asked
        each = "each " if self.questions > 1 else ""
        return f"{asked}, {each}sees an effect of {self.visible:.4f} {self.unit} with {100 * POWER:.0f} % power"

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return {**asdict(self), "sentence": self.sentence()}


def tested(tests: Iterable[FamilyTests]) -> int:
    """Questions that can be tested."""
    return sum(int(np.isfinite(p)) for test in tests for p in test.p_values.values())


def sights(tests: Sequence[tuple[RuleFamily, FamilyTests]], alpha: float, unit: str = MAP.suffix) -> list[Sight]:
    """What each family can see; all backbones together.

    Args:
        tests: the questions of a stage, before any conclusion.
        unit: of an effect.
        alpha: false discovery rate of the stage. The level in force is what a lone effect must pass: alpha / questions.
    """
    level = alpha / max(1, tested(test for _, test in tests))
    found = []
    for family in dict.fromkeys(family for family, _ in tests):
        own = [test for name, test in tests if name == family]
        asked = tested(own)
        seen = [visible(estimate, level) for test in own for estimate in test.estimates.values()]
        worst = max((value for value in seen if np.isfinite(value)), default=None)
        found.append(Sight(family, asked, sum(len(t.p_values) for t in own) - asked, worst if asked else None, unit))
    return found
