"""`profile`: latency of the baselines and of every distinct single placement; nothing is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.search.context import StudyContext
from nas.search.definition import ProfileStage
from nas.search.measuring import DRIFT_EVERY, measure_networks
from nas.search.proposals.base import Request
from nas.search.stages.base import Preview
from nas.spaces import Candidate, DesignSpace

if TYPE_CHECKING:
    from nas.storage import StageInfo


class Profile:
    """Handler of `profile` stages."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: ProfileStage) -> bool:
        """Measures what is missing; a far device is waited for, unless the study says not to."""
        if context.replay is not None:
            return True
        wanted = networks_to_profile(context, context.space_of(stage), settings, stage.position)
        if not context.measures_here:
            return self._far(context, wanted)
        return measure_networks(context, wanted, context.stopping, context.progress, drift_every=DRIFT_EVERY)

    def preview(self, context: StudyContext, space: DesignSpace, settings: ProfileStage) -> Preview:
        """Networks timed: equal tensors once."""
        if context.replay is not None:
            return Preview(note="costs come from the table")
        wanted = networks_to_profile(context, space, settings, 0)
        return Preview(measurements=len(wanted), note=f"{len(wanted)} networks timed, equal tensor shapes once")

    def _far(self, context: StudyContext, wanted: list[Candidate]) -> bool:
        from nas.search.far_device import has_answered

        return has_answered(context, wanted)


def networks_to_profile(
    context: StudyContext, space: DesignSpace, settings: ProfileStage, position: int
) -> list[Candidate]:
    """Baselines, the reference, one network a block and tensor shape, and random larger ones."""
    from nas.latency.prediction import part_of

    wanted = [*space.baselines(), context.reference]
    parts = set()
    for single in space.singles():
        placement = single.placements[0]
        part = part_of(single, placement)
        if part not in parts and (settings.blocks is None or placement.block in settings.blocks):
            parts.add(part)
            wanted.append(single.architecture)
    if settings.multi:
        rng = Request(space, (), 0, context.definition.seed, position).rng("profile")
        drawn = space.sample(min(settings.multi, space.size()), rng, distinct=True)
        wanted += [c.architecture for c in drawn if len(c.placements) > 1]
    return list(dict.fromkeys(wanted))
