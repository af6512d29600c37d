"""`shrink: auto`: sweeps and shrinks by itself until no rule passes or the budget is spent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from nas.search.context import StudyContext
from nas.search.definition import AutoShrinkStage, SweepStage
from nas.search.stages.base import Preview, Wish, all_terminal, anchors, ask, replicated, stage_rows
from nas.search.stages.shrink import FRESH, ShrinkStep
from nas.search.stages.sweep import draw, sweep_size
from nas.shrinking.settings import RuleFamily
from nas.spaces import DesignSpace

if TYPE_CHECKING:
    from nas.storage import StageInfo

# Single placements first; then what needs several blocks to be seen.
FIRST_FAMILIES: tuple[RuleFamily, ...] = ("cost", "sites", "stage_ends", "block_preference")
ALL_FAMILIES: tuple[RuleFamily, ...] = (
    *FIRST_FAMILIES,
    "distance",
    "distinct_stages",
    "mix",
    "count",
    "hyperparameters",
)


class AutoShrink:
    """Handler of `auto_shrink` stages: rounds of sweep, derivation, confirmation."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: AutoShrinkStage) -> bool:
        """Moves the current round on by what can be done now; remembers rounds in the stage's result."""
        state = dict(stage.result or {"rounds": []})
        rows = stage_rows(context, stage)
        if not all_terminal(rows):
            return False
        if state.get("done"):
            return True
        round_ = Round.current(context, stage, settings, state)
        if not round_.swept(rows):
            why = round_.over_budget(rows)
            if why is None and round_.sweep():
                return False
            return round_.close(why or "nothing new is left in the space")
        if round_.proposal is None:
            return round_.propose()
        if not round_.fresh_done(rows):
            return False
        return round_.decide(rows)

    def preview(self, context: StudyContext, space: DesignSpace, settings: AutoShrinkStage) -> Preview:
        """At most the budget in trainings."""
        per_round = (settings.candidates + 2 * settings.confirm) * settings.seeds + len(anchors(context, space))
        trainings = min(settings.trainings or per_round * settings.rounds, per_round * settings.rounds)
        budget = f"{settings.trainings} trainings" if settings.trainings else f"{settings.hours:g} hours"
        note = f"rounds of {settings.candidates} candidates, at most {settings.rounds}; budget {budget}"
        return Preview(trainings, context.recipe.at(settings.fidelity).epochs, note=note)


@dataclass
class Round:
    """One round: number, the space it works in, and what is proposed so far."""

    context: StudyContext
    stage: StageInfo
    settings: AutoShrinkStage
    state: dict[str, Any]
    number: int

    @classmethod
    def current(
        cls, context: StudyContext, stage: StageInfo, settings: AutoShrinkStage, state: dict[str, Any]
    ) -> Round:
        """The round that is open: the last one without a decision, or a new one."""
        rounds = state["rounds"]
        number = len(rounds) - 1 if rounds and "space_id" not in rounds[-1] else len(rounds)
        return cls(context, stage, settings, state, number)

    @property
    def proposal(self) -> dict[str, Any] | None:
        """The round's proposal, once derived."""
        rounds: list[dict[str, Any]] = self.state["rounds"]
        return rounds[self.number] if self.number < len(rounds) else None

    @property
    def space_id(self) -> str:
        """The space left by the round before."""
        before = self.state["rounds"][: self.number]
        return str(before[-1]["space_id"] if before else self.context.space_of(self.stage).id)

    @property
    def step(self) -> ShrinkStep:
        """The derive - confirm - decide machinery, in this round's space."""
        here = replace(self.stage, space_id=self.space_id)
        return ShrinkStep(self.context, here, self.settings, self.settings.fidelity)

    def swept(self, rows: pd.DataFrame) -> bool:
        """Whether this round's sweep was asked for."""
        return bool(((rows["batch"] == self.number) & (rows["role"] != FRESH)).any())

    def fresh_done(self, rows: pd.DataFrame) -> bool:
        """Whether the fresh draws were asked for; asks when not."""
        if ((rows["batch"] == self.number) & (rows["role"] == FRESH)).any():
            return True
        assert self.proposal is not None
        return not self.step.ask_fresh(self.proposal, self.number)

    def over_budget(self, rows: pd.DataFrame) -> str | None:
        """Why no further round is started, or None."""
        used = rows["training_id"].nunique()
        hours = float(rows["seconds"].sum()) / 3600
        if self.number >= self.settings.rounds:
            return f"{self.settings.rounds} rounds were made"
        if self.settings.trainings is not None and used >= self.settings.trainings:
            return f"the budget of {self.settings.trainings} trainings is spent"
        if self.settings.hours is not None and hours >= self.settings.hours:
            return f"the budget of {self.settings.hours:g} hours is spent"
        return None

    def sweep(self) -> bool:
        """Asks for this round's candidates: single blocks in the first round, all counts evenly later."""
        here = replace(self.stage, space_id=self.space_id, position=self.stage.position + 100 * (self.number + 1))
        space = self.context.space_of(here)
        settings = self._sweep_settings(space)
        if sweep_size(space, settings) == 0:
            return False
        common: dict[str, Any] = {"batch": self.number, "fidelity": self.settings.fidelity}
        wishes = anchors(self.context, space, **common) if self.number == 0 else []
        wishes += [
            Wish(candidate=c, sampler=settings.design, **common) for c in draw(self.context, here, space, settings)
        ]
        ask(self.context, self.stage, replicated(wishes, self.settings.seeds))
        return self.swept(stage_rows(self.context, self.stage))

    def _sweep_settings(self, space: DesignSpace) -> SweepStage:
        singles = self.number == 0 and space.size_by_blocks().get(1, 0) > 0
        left = self._trainings_left()
        count = max(1, min(self.settings.candidates, left // self.settings.seeds))
        return SweepStage(
            blocks=1 if singles else None,
            design="stratified",
            candidates=count,
            seeds=self.settings.seeds,
            fidelity=self.settings.fidelity,
        )

    def _trainings_left(self) -> int:
        if self.settings.trainings is None:
            return self.settings.candidates * self.settings.seeds
        used = stage_rows(self.context, self.stage)["training_id"].nunique()
        return max(0, self.settings.trainings - int(used))

    def propose(self) -> bool:
        """Derives rules from all sweeps so far; ends the stage when none passes."""
        families = list(FIRST_FAMILIES if self.number == 0 else ALL_FAMILIES)
        proposal = self.step.derive(families, self.number)
        self.state["rounds"].append(proposal)
        if "space_id" in proposal and self.number > 0:
            return self.close("no further rule passed")
        self._save()
        return False

    def decide(self, rows: pd.DataFrame) -> bool:
        """Confirms or rejects this round's child, and goes on to the next round."""
        proposal = self.proposal
        assert proposal is not None
        if "space_id" not in proposal:
            self.state["rounds"][self.number] = self.step.decided(
                proposal, rows[rows["batch"] == self.number], self.number
            )
        self._save()
        return False

    def close(self, why: str) -> bool:
        """Ends the stage and says why."""
        self.state |= {"done": True, "why": why, "space_id": self.space_id if self.number else self._left()}
        self._save()
        return True

    def _left(self) -> str:
        rounds = self.state["rounds"]
        return str(rounds[-1]["space_id"]) if rounds and "space_id" in rounds[-1] else self.space_id

    def _save(self) -> None:
        self.context.repository.set_stage(self.stage.id, result=self.state)
