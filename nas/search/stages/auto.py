"""`shrink: auto`: sweeps and shrinks by itself until no rule passes or the budget is spent, and says which.

What a round holds and when to stop is decided in `nas.shrinking.auto`; here the rounds are carried out: each is a
stratified sweep, a derivation and a confirmation on fresh draws, all kept in the stage's result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from nas.search.context import StudyContext, StudyParts
from nas.search.definition import BAND, AutoShrinkStage, SweepStage
from nas.search.stage_results import AutoShrinkResult, RoundResult
from nas.search.stages.base import Preview, Wish, all_terminal, ask, beside, epochs_of, replicated, stage_rows, started
from nas.search.stages.shrink import FRESH, ShrinkStep
from nas.search.stages.sweep import draw, sweep_size
from nas.search.starts import CONTROL
from nas.shrinking.auto import AutoSettings, AutoStep, RoundOutcome, next_step
from nas.spaces import DesignSpace

if TYPE_CHECKING:
    from nas.storage import StageInfo

BASELINE_SEEDS = 3
"""Trainings of a network without attention: every effect of a block is held against it."""
DESIGN = "stratified"


class AutoShrink:
    """Handler of `auto_shrink` stages: rounds of sweep, derivation, confirmation."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: AutoShrinkStage) -> bool:
        """Moves the current round on by what can be done now; remembers rounds in the stage's result."""
        state = AutoShrinkResult.of(stage.result) or AutoShrinkResult()
        if state.done:
            return True
        rows = stage_rows(context, stage)
        if not all_terminal(rows):
            return False
        round_ = Round.current(context, stage, settings, state)
        if not round_.opened:
            step = round_.next_step(rows)
            if step.kind == "stop":
                return round_.close(step.reason)
            round_.open(step)
        if not round_.swept(rows):
            return False if round_.sweep() else round_.close("nothing new is left in the space")
        if not round_.derived:
            return round_.propose()
        return round_.decide(rows) if round_.fresh_done(rows) else False

    def preview(self, context: StudyParts, space: DesignSpace, settings: AutoShrinkStage) -> Preview:
        """At most the budget in trainings."""
        first = next_step(space, [], auto_settings(settings))
        a_round = settings.seeds * (first.candidates + 2 * first.draws) + first.replicated
        trainings = settings.trainings or a_round * settings.rounds
        budget = f"{settings.trainings} trainings" if settings.trainings else f"{settings.hours:g} hours"
        note = f"rounds, the first of {a_round} trainings, at most {settings.rounds}; budget {budget}"
        return Preview(trainings, epochs_of(context, settings, settings.fidelity), note=note)


def auto_settings(settings: AutoShrinkStage) -> AutoSettings:
    """The budget as `nas.shrinking.auto` reads it."""
    return AutoSettings(
        trainings=settings.trainings,
        hours=settings.hours,
        rounds=settings.rounds,
        candidates=settings.candidates,
        draws=settings.confirm,
        seeds=settings.seeds,
        alpha=settings.alpha,
    )


@dataclass
class Round:
    """One round: number, the space it works in, and what is known of it so far."""

    context: StudyContext
    stage: StageInfo
    settings: AutoShrinkStage
    state: AutoShrinkResult
    number: int

    @classmethod
    def current(
        cls, context: StudyContext, stage: StageInfo, settings: AutoShrinkStage, state: AutoShrinkResult
    ) -> Round:
        """The round that is open: the last one without a decision, or a new one."""
        rounds = state.rounds
        number = len(rounds) - 1 if rounds and rounds[-1].space_id is None else len(rounds)
        return cls(context, stage, settings, state, number)

    @property
    def opened(self) -> bool:
        """Whether the round has begun."""
        return self.number < len(self.state.rounds)

    @property
    def derived(self) -> bool:
        """Whether rules were derived."""
        return self.state.rounds[self.number].alpha is not None

    @property
    def plan(self) -> AutoStep:
        """What the round was opened with."""
        return self.state.rounds[self.number].plan

    @property
    def space_id(self) -> str:
        """The space left by the round before."""
        before = self.state.rounds[: self.number]
        return str(before[-1].space_id if before else self.context.space_of(self.stage).id)

    @property
    def space(self) -> DesignSpace:
        """That space."""
        return self.context.space_of(replace(self.stage, space_id=self.space_id))

    @property
    def step(self) -> ShrinkStep:
        """The derive - confirm - decide machinery, in this round's space."""
        here = replace(self.stage, space_id=self.space_id)
        draws = self.plan.draws if self.opened else 0
        settings = self.settings.model_copy(update={"confirm": draws})
        return ShrinkStep(self.context, here, settings, self.settings.fidelity)

    def next_step(self, rows: pd.DataFrame) -> AutoStep:
        """This round, or why there is none."""
        used = int(rows["training_id"].nunique()) or len(self._anchors())
        hours = float(rows["seconds"].sum()) / 3600
        outcomes = [self._outcome(number, rows) for number in range(self.number)]
        return next_step(self.space, outcomes, auto_settings(self.settings), spent_trainings=used, spent_hours=hours)

    def _outcome(self, number: int, rows: pd.DataFrame) -> RoundOutcome:
        done = self.state.rounds[number]
        trainings = int(rows.loc[rows["batch"] == number, "training_id"].nunique())
        findings = tuple(self.step.findings(number))
        return RoundOutcome(trainings, findings, done.plan.alpha)

    def open(self, step: AutoStep) -> None:
        """Begins the round."""
        self._save(RoundResult(plan=step))

    def swept(self, rows: pd.DataFrame) -> bool:
        """Whether this round's sweep was asked for."""
        return bool(((rows["batch"] == self.number) & (rows["role"] != FRESH)).any())

    def sweep(self) -> bool:
        """Asks for this round's candidates, stratified by number of blocks; False when there is nothing new."""
        here = replace(self.stage, space_id=self.space_id, position=self.stage.position + 100 * (self.number + 1))
        band = self.settings.model_dump(include=BAND)
        wanted = SweepStage(design=DESIGN, candidates=self.plan.candidates, **band)
        if sweep_size(self.space, wanted) == 0:
            return False
        drawn = [Wish(candidate=c, sampler=DESIGN) for c in draw(self.context, here, self.space, wanted)]
        again = [replace(wish, replicate=1) for wish in drawn[: self.plan.replicated]]
        wishes = [*self._anchors(), *replicated(drawn, self.settings.seeds), *again]
        wishes = [replace(wish, batch=self.number, fidelity=self.settings.fidelity) for wish in wishes]
        ask(self.context, self.stage, started(self.context, self.settings, wishes))
        return self.swept(stage_rows(self.context, self.stage))

    def _anchors(self) -> list[Wish]:
        """The networks without attention, in the first round."""
        if self.number:
            return []
        beside_them = beside(self.context, self.space, self.settings, self.plan.candidates if self.opened else 0)
        warm = any(wish.role == CONTROL for wish in beside_them)
        return replicated(beside_them, self.settings.seeds if warm else max(BASELINE_SEEDS, self.settings.seeds))

    def fresh_done(self, rows: pd.DataFrame) -> bool:
        """Whether the fresh draws were asked for; asks when not."""
        if ((rows["batch"] == self.number) & (rows["role"] == FRESH)).any():
            return True
        return not self.step.ask_fresh(self.state.rounds[self.number], self.number)

    def propose(self) -> bool:
        """Derives rules from all sweeps so far, at this round's share of the false discovery rate."""
        opened = self.state.rounds[self.number]
        self._save(self.step.derive(self.plan.families, opened, self.number, self.plan.alpha))
        return False

    def decide(self, rows: pd.DataFrame) -> bool:
        """Confirms or rejects this round's child."""
        own = rows[(rows["batch"] == self.number) & (rows["role"] == FRESH)]
        self._save(self.step.decided(self.state.rounds[self.number], own, self.number))
        return False

    def close(self, why: str) -> bool:
        """Ends the stage and says why."""
        closed = replace(self.state, done=True, why=why, space_id=self.space_id)
        self.context.repository.set_stage(self.stage.id, result=closed.to_dict())
        return True

    def _save(self, now: RoundResult) -> None:
        """Stores what is known of this round."""
        self.state = replace(self.state, rounds=(*self.state.rounds[: self.number], now))
        self.context.repository.set_stage(self.stage.id, result=self.state.to_dict())
