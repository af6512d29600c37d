"""Networks that a stage's file names (`candidates: [...]`), trained beside whatever the stage does by itself.

They are seen by later stages and by the report like any candidate, but no rule is derived from them: nobody drew them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nas.search.context import StudyContext, StudyParts
from nas.search.definition import ShrinkStage, TrainingStage
from nas.search.stages.base import (
    GIVEN,
    Preview,
    StageHandler,
    Wish,
    all_terminal,
    ask_missing,
    asked_rows,
    replicated,
    started,
)
from nas.search.stages.shrink import fidelity_of
from nas.spaces import Candidate, DesignSpace

if TYPE_CHECKING:
    from nas.storage import StageInfo


@dataclass(frozen=True)
class WithGiven:
    """A handler whose stages also train the networks that their file names."""

    handler: StageHandler

    def advance(self, context: StudyContext, stage: StageInfo, settings: TrainingStage) -> bool:
        """Lets the stage go on, then asks for the named networks that are missing; done when both are."""
        done = self.handler.advance(context, stage, settings)
        ask_missing(context, stage, _wishes(context, settings))
        return done and all_terminal(asked_rows(context, stage))

    def preview(self, context: StudyParts, space: DesignSpace, settings: TrainingStage) -> Preview:
        """What the stage costs, and the named networks."""
        own, named = self.handler.preview(context, space, settings), len(_wishes(context, settings))
        if not named:
            return own
        return replace(own, trainings=own.trainings + named, note=f"{own.note}; {named} trainings of named networks")


def _wishes(context: StudyParts, settings: TrainingStage) -> list[Wish]:
    if not settings.named:
        return []
    own: Any = settings
    fidelity = fidelity_of(context, settings) if isinstance(settings, ShrinkStage) else own.fidelity
    named = dict.fromkeys(Candidate.parse(text) for text in settings.named)
    wishes = [Wish(candidate=c, role=GIVEN, sampler=GIVEN, fidelity=fidelity) for c in named]
    return started(context, settings, replicated(wishes, own.seeds))
