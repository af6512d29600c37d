"""`pretrain`: source networks for two-step fine-tuning (the paper's Table II).

A source network is trained on the source data and read, as it is, on the test split of the study's own data: that is
the row "without fine-tuning". It is chosen by nobody, so reading the test split here selects nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.errors import StudyError
from nas.search.context import SOURCE, StudyContext, StudyParts
from nas.search.definition import PretrainStage
from nas.search.stages.base import Preview, Wish, all_terminal, ask, replicated, stage_rows
from nas.search.starts import SOURCE_ROLE
from nas.spaces import Candidate, DesignSpace

if TYPE_CHECKING:
    from nas.storage import StageInfo


class Pretrain:
    """Handler of `pretrain` stages."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: PretrainStage) -> bool:
        """Asks for every source training; the stage fails where one of them did."""
        if stage_rows(context, stage).empty:
            ask(context, stage, replicated(_wishes(settings), settings.seeds))
        rows = stage_rows(context, stage)
        if not all_terminal(rows):
            return False
        failed = rows[rows["status"] == "failed"]
        if len(failed):
            first = failed.iloc[0]
            raise StudyError(
                f"stage {stage.name!r}: the source training of {first['notation']} failed", "see `nas status`"
            )
        return True

    def preview(self, context: StudyParts, space: DesignSpace, settings: PretrainStage) -> Preview:
        """Networks times seeds, at the source recipe."""
        count = len(_wishes(settings))
        note = f"{count} source networks x {settings.seeds} seeds"
        return Preview(count * settings.seeds, context.source_recipe.epochs, note=note)


def _wishes(settings: PretrainStage) -> list[Wish]:
    named = dict.fromkeys(Candidate.parse(text).architecture for text in settings.candidates)
    return [Wish(candidate=c, role=SOURCE_ROLE, sampler="fixed", view=SOURCE) for c in named]
