"""`profile`: latency of the baselines and of every distinct single placement; nothing is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.latency.placements import plan_profile
from nas.search.context import StudyContext, StudyParts
from nas.search.definition import ProfileStage
from nas.search.far_device import has_answered
from nas.search.measuring import measure_networks
from nas.search.stages.base import Preview
from nas.spaces import Candidate, DesignSpace

if TYPE_CHECKING:
    from nas.storage import StageInfo


class Profile:
    """Handler of `profile` stages."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: ProfileStage) -> bool:
        """Measures what is missing; a far device is waited for, unless the study says not to."""
        if not context.times:
            return True
        planned = networks_to_profile(context, context.space_of(stage), settings)
        if not context.measures_here:
            return has_answered(context, planned)

        def told(done: int, total: int, what: str = "") -> None:
            context.say(f"timing network {min(done + 1, total)} of {total}: {what}" if what else "")

        return measure_networks(context, planned, context.stopping, told)

    def preview(self, context: StudyParts, space: DesignSpace, settings: ProfileStage) -> Preview:
        """Networks timed: equal tensors once, and two of them again as a check."""
        if not context.times:
            return Preview(note="costs come from the table" if context.trainer is None else "costs are told")
        wanted = len(networks_to_profile(context, space, settings))
        return Preview(measurements=wanted, note=f"{wanted} networks timed, equal tensor shapes once and on a sample")


def networks_to_profile(context: StudyParts, space: DesignSpace, settings: ProfileStage) -> list[Candidate]:
    """The plan of `nas latency profile` with the study's seed: shuffled, shapes checked, baselines first."""
    return plan_profile(
        space,
        [context.reference, *settings.candidates],
        seed=context.definition.seed,
        several=settings.multi,
        blocks=settings.blocks,
    )
