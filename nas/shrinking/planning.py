"""What a sweep will be able to answer, before anything is trained: its candidates are drawn, and their scores made up.

Which questions a sample can answer depends on its candidates alone (see `nas.shrinking.sight`), so made-up scores tell
it; how small an effect they see is told in units of the noise of one training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from nas.results.levels import SCRATCH
from nas.shrinking.analysis import FamilyTests
from nas.shrinking.derive import analyses_of, ask
from nas.shrinking.settings import RuleFamily, ShrinkSettings
from nas.shrinking.sight import Sight, sights, tested
from nas.spaces.candidate import Candidate
from nas.spaces.space import DesignSpace

BY_TIME: tuple[RuleFamily, ...] = ("cost",)
"""Families that measured times answer, whatever was trained."""
MOST = 500
"""Candidates beyond which nobody is told to train more: five times a stage of the paper's study."""


DRAWS = 5
"""Of made-up scores: the median of their standard errors is then within a tenth of the true one."""


@dataclass(frozen=True)
class PlannedSweep:
    """What a sweep will train.

    Attributes:
        design: how its candidates are drawn.
        candidates: how many; None: all (exhaustive).
        blocks: blocks of each; None: any number.
        seeds: trainings a candidate.
        baselines: whether the networks without blocks are trained, too.
        rules: that its candidates keep beside the space's.
        starts: trained networks that the seeds are dealt out to; 0: from scratch.
    """

    design: Literal["random", "stratified", "exhaustive"] = "random"
    candidates: int | None = None
    blocks: int | None = None
    seeds: int = 1
    baselines: bool = True
    rules: Sequence[Mapping[str, object]] = ()
    starts: int = 0

    def draw(self, space: DesignSpace, seed: int) -> list[Candidate]:
        """Candidates such as the sweep will draw from a space."""
        space = space.restrict(self.rules) if self.rules else space
        held = {n: size for n, size in space.size_by_blocks().items() if n > 0 and self.blocks in (None, n)}
        total = sum(held.values())
        wanted = min(MOST, self.candidates or total, total if not space.continuous else MOST)
        if not held:
            return []
        if self.design == "random":
            return space.sample(wanted, seed, blocks=self.blocks)
        return space.stratified(wanted, seed, sorted(held))


def planned_sights(
    space: DesignSpace,
    sweeps: Sequence[PlannedSweep],
    families: Sequence[RuleFamily],
    alpha: float = 0.05,
    noise: float | None = None,
    draws: int = DRAWS,
) -> list[Sight]:
    """What a shrink behind these sweeps will ask, and how small an effect its questions will see.

    Args:
        space: that is swept.
        sweeps: all before the shrink.
        families: the shrink's.
        alpha: its false discovery rate.
        noise: sd of one training beside others of its seed, mAP, from elsewhere; None: effects are not told.
        draws: how many made-up outcomes the effects are medians of.
    """
    made_up = [
        sights(_tests(space, sweeps, families, noise or 1e-3, seed), alpha) for seed in range(draws if noise else 1)
    ]
    return [
        replace(same[0], visible=float(np.median([s.visible for s in same])) if noise and same[0].visible else None)
        for same in zip(*made_up, strict=True)
    ]


def answerable(
    space: DesignSpace, sweeps: Sequence[PlannedSweep], families: Sequence[RuleFamily]
) -> Mapping[RuleFamily, int | None]:
    """By family, the smallest number of candidates of the last sweep with which one of its questions can be answered.

    What the planned number already answers is given as that number (0 where nothing need be trained); None: no number
    of such candidates does. Arguments as for `planned_sights`; no sweep: nothing is trained.
    """
    needed: dict[RuleFamily, int | None] = {family: 0 if family in BY_TIME else None for family in families}
    if not sweeps:
        return needed
    last = sweeps[-1]
    planned = len(last.draw(space, 0))
    most = len(replace(last, candidates=MOST).draw(space, 0)) if last.candidates else planned
    told = answered(space, sweeps, families)
    for family in families:
        if family in BY_TIME:
            continue
        if family in told:
            needed[family] = planned
        else:
            needed[family] = _smallest(space, sweeps, family, planned, most)
    return needed


def _smallest(
    space: DesignSpace, sweeps: Sequence[PlannedSweep], family: RuleFamily, low: int, most: int
) -> int | None:
    """Doubled until it answers, then by bisection; None where `most` does not."""

    def tells(candidates: int) -> bool:
        return family in answered(space, [*sweeps[:-1], replace(sweeps[-1], candidates=candidates)], [family])

    high = low
    while not tells(high):
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high


def answered(space: DesignSpace, sweeps: Sequence[PlannedSweep], families: Sequence[RuleFamily]) -> set[RuleFamily]:
    """The families of which these sweeps can answer a question; measured times need none."""
    tests = _tests(space, sweeps, families, 1e-3)
    return {family for family, test in tests if family in BY_TIME or tested([test])}


def _tests(
    space: DesignSpace, sweeps: Sequence[PlannedSweep], families: Sequence[RuleFamily], noise: float, seed: int = 0
) -> list[tuple[RuleFamily, FamilyTests]]:
    settings = ShrinkSettings(families=tuple(families))
    return ask(analyses_of(_made_up(space, sweeps, noise, seed), space, None, None, settings, None, 0))


def _made_up(space: DesignSpace, sweeps: Sequence[PlannedSweep], noise: float, seed: int) -> pd.DataFrame:
    """Trainings with scores that differ by noise alone."""
    rows: list[tuple[str, int, str]] = []
    for number, sweep in enumerate(sweeps):
        drawn = [*(space.baselines() if sweep.baselines else ()), *sweep.draw(space, number)]
        start = [f"plain:{n % sweep.starts}" if sweep.starts else SCRATCH for n in range(sweep.seeds)]
        rows += [(candidate.notation, n, start[n]) for candidate in drawn for n in range(sweep.seeds)]
    table = pd.DataFrame(list(dict.fromkeys(rows)), columns=["notation", "seed", "start"])
    scores = np.random.default_rng(seed).normal(0.5, noise, len(table))
    return table.assign(map=scores, status="finished", training_id=range(1, len(table) + 1))
