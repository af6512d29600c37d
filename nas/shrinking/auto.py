"""`shrink: auto`: what to do next, and when to stop and why. A pure function of what happened so far.

Rounds of sweep, derivation and confirmation. Sweeps are stratified by the number of blocks from the first round on:
a network with three blocks tells of three sites, so several blocks teach more than single ones, and the regression
takes them apart. Each round spends half of what is left, so early rules shrink the space for later rounds. Every round
tests all trainings so far; how strict it is follows from `nas.shrinking.spending`, so that a whole study without any
true rule adopts one in at most `alpha` of cases. Drawing and training are left to the study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nas.shrinking.settings import DEFAULT_FAMILIES, RuleFamily
from nas.shrinking.spending import Look, next_level
from nas.spaces.findings import Finding
from nas.spaces.space import DesignSpace

REPLICATED = 0.1
"""Share of a sweep's candidates trained twice: it tells the seed noise; more would cost candidates. Ten pairs know a
standard deviation to a quarter, which is enough for weights."""
CONFIRMED = 0.125
"""Share of a round spent on fresh draws from parent and child: 12 of each side in a round of 200. What more of
them would tell (`benchmarks/confirmation.py`), the next sweep needs more."""
LEAST_DRAWS, MOST_DRAWS = 6, 24
"""Fresh draws of each side: fewer confirm nothing, more are better spent on the next sweep."""
MORE_DATA = 0.3
"""Growth of the sample from which undecided questions are worth asking again: standard errors shrink by an eighth."""


@dataclass(frozen=True)
class AutoSettings:
    """The budget of an automatic shrink.

    Attributes:
        trainings: trainings in all; None: no limit.
        hours: hours of training in all; None: no limit.
        rounds: rounds at most.
        candidates: candidates of a round, its fresh draws too; None: as the budget allows.
        draws: fresh draws from parent and child each, a round; None: an eighth of the round.
        seeds: trainings a candidate; with 1, a tenth of the sweep is trained twice.
        alpha: false discovery rate of the whole stage.
        families: families of rules to test.
    """

    trainings: int | None = 200
    hours: float | None = None
    rounds: int = 6
    candidates: int | None = None
    draws: int | None = None
    seeds: int = 1
    alpha: float = 0.05
    families: tuple[RuleFamily, ...] = DEFAULT_FAMILIES


@dataclass(frozen=True)
class RoundOutcome:
    """A finished round.

    Attributes:
        trainings: trainings it took, fresh draws too.
        findings: its findings, after confirmation.
        alpha: false discovery rate it was allowed.
    """

    trainings: int
    findings: tuple[Finding, ...]
    alpha: float

    @property
    def passed(self) -> int:
        """Rules adopted."""
        return sum(finding.adopted for finding in self.findings)

    @property
    def undecided(self) -> int:
        """Rules without enough data."""
        return sum(finding.verdict == "not enough data" for finding in self.findings)


@dataclass(frozen=True)
class AutoStep:
    """What to do next.

    Attributes:
        kind: `round`: sweep, derive, confirm; `stop`: nothing more.
        reason: why, in a sentence.
        candidates: new candidates of the sweep, stratified by number of blocks.
        replicated: how many of them are trained a second time.
        draws: fresh draws from parent and from child each.
        families: families to test.
        alpha: false discovery rate of this round.
    """

    kind: Literal["round", "stop"]
    reason: str
    candidates: int = 0
    replicated: int = 0
    draws: int = 0
    families: tuple[RuleFamily, ...] = ()
    alpha: float = 0.0


def next_step(
    space: DesignSpace,
    rounds: Sequence[RoundOutcome],
    settings: AutoSettings,
    *,
    spent_trainings: int = 0,
    spent_hours: float = 0.0,
) -> AutoStep:
    """The next round, or why there is none.

    Args:
        space: the space that is left.
        rounds: what the rounds before gave.
        settings: the budget.
        spent_trainings: trainings used by the stage so far.
        spent_hours: hours of training used by the stage so far.
    """
    left = trainings_left(settings, spent_trainings, spent_hours)
    why = _finished(rounds, settings, spent_hours) or _out_of_budget(space, rounds, settings, left)
    if why is not None:
        return AutoStep("stop", why)
    sweep, draws = _sizes(space, rounds, settings, left)
    single = settings.seeds == 1
    candidates = max(1, int(sweep / (1 + REPLICATED)) if single else sweep // settings.seeds)
    return AutoStep(
        "round",
        _why_go_on(rounds),
        candidates=candidates,
        replicated=sweep - candidates if single else 0,
        draws=draws,
        families=settings.families,
        alpha=round_alpha(rounds, settings, sweep + 2 * draws * settings.seeds, left),
    )


def round_alpha(rounds: Sequence[RoundOutcome], settings: AutoSettings, planned: int, left: int | None) -> float:
    """The false discovery rate of the next round; all rounds together spend at most that of the settings.

    Args:
        rounds: the rounds before.
        settings: the budget.
        planned: trainings of the next round.
        left: trainings the budget still pays for; None: not known, then the rounds to come are thought equal.
    """
    looks, size = [], 0
    for done in rounds:
        size += done.trainings
        looks.append(Look(size, done.alpha))
    after = size + planned
    later = planned * (settings.rounds - len(rounds)) if left is None else max(planned, left)
    return next_level(settings.alpha, looks, after, max(after, size + later))


def trainings_left(settings: AutoSettings, spent_trainings: int, spent_hours: float) -> int | None:
    """Trainings the budget still pays for, hours counted at the mean so far; None without a limit."""
    left = [] if settings.trainings is None else [settings.trainings - spent_trainings]
    if settings.hours is not None and spent_trainings and spent_hours > 0:
        left.append(int((settings.hours - spent_hours) / (spent_hours / spent_trainings)))
    return max(0, min(left)) if left else None


def columns(space: DesignSpace) -> int:
    """Effects a sweep has to tell apart: sites, blocks, counts, distances."""
    sites = max(len(space.site_numbers(backbone)) for backbone in space.backbones)
    return sites + len(space.blocks) + max(space.size_by_blocks()) + 8


def _least_sweep(space: DesignSpace) -> int:
    """Half as many candidates again as effects: below that, nearly everything stays undecided."""
    return int(1.5 * columns(space))


def _sizes(
    space: DesignSpace, rounds: Sequence[RoundOutcome], settings: AutoSettings, left: int | None
) -> tuple[int, int]:
    """Trainings of the sweep, and fresh draws from each side."""
    least = _least_sweep(space) * settings.seeds
    share = 3 * least if left is None else max(least, left // 2)
    if settings.candidates is not None:
        share = settings.candidates * settings.seeds
    total = share if left is None else min(share, left)
    if left is not None and settings.candidates is None and left - total < least // 2:
        total = left
    draws = settings.draws or min(MOST_DRAWS, max(LEAST_DRAWS, int(total * CONFIRMED / 2 / settings.seeds)))
    return max(1, total - 2 * draws * settings.seeds), draws


def _finished(rounds: Sequence[RoundOutcome], settings: AutoSettings, spent_hours: float) -> str | None:
    if len(rounds) >= settings.rounds:
        return f"{settings.rounds} rounds were made"
    if settings.hours is not None and spent_hours >= settings.hours:
        return f"the budget of {settings.hours:g} hours is spent"
    if not rounds or rounds[-1].passed:
        return None
    if not rounds[-1].undecided:
        return "no further rule passed, and none is undecided"
    return None


def _out_of_budget(
    space: DesignSpace, rounds: Sequence[RoundOutcome], settings: AutoSettings, left: int | None
) -> str | None:
    if left is None:
        return None
    least = 1 if not rounds else _least_sweep(space) // 4
    needed = settings.seeds * (2 * (settings.draws or LEAST_DRAWS) + least)
    if left < needed:
        limit = f"{settings.trainings} trainings" if settings.trainings is not None else f"{settings.hours:g} hours"
        return f"the budget of {limit} is spent ({left} trainings left, {needed} needed for a round)"
    before = sum(done.trainings for done in rounds)
    if rounds and not rounds[-1].passed and left < MORE_DATA * before:
        return f"no further rule passed, and {left} trainings more would not decide what {before} could not"
    return None


def _why_go_on(rounds: Sequence[RoundOutcome]) -> str:
    if not rounds:
        return "nothing is known yet"
    last = rounds[-1]
    if last.passed:
        return f"{last.passed} rules passed in round {len(rounds)}"
    return f"no rule passed in round {len(rounds)}, but {last.undecided} are undecided"
