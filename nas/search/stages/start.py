"""`start`: the plain networks that the stage after it goes on from, each trained once at the full recipe.

No file writes this stage: a study has it by itself before the first stage that needs it. Its trainings are like any
other, with seeds that all studies share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.errors import StudyError
from nas.results.columns import finished
from nas.results.intervals import mean_of
from nas.results.levels import levels
from nas.search.context import StudyContext, StudyParts, reference_candidate
from nas.search.definition import StageDefinition, StartStage
from nas.search.stages.base import Preview, Wish, all_terminal, ask_missing, stage_rows
from nas.search.starts import PLAIN_SEEDS, START_ROLE
from nas.spaces import Candidate, DesignSpace
from nas.spaces.labels import short_label

if TYPE_CHECKING:
    from nas.storage import StageInfo


class TrainStarts:
    """Handler of `start` stages."""

    def advance(self, context: StudyContext, stage: StageInfo, settings: StartStage) -> bool:
        """Asks for every plain network; the study cannot go on where one of them failed."""
        ask_missing(context, stage, _wishes(context, settings))
        rows = stage_rows(context, stage)
        if not all_terminal(rows):
            return False
        failed = rows[rows["status"] == "failed"]
        if len(failed):
            raise StudyError(
                f"the plain network {failed['notation'].iloc[0]}, which trainings start from, could not be trained",
                "see `nas status`; `nas studies retry` tries it again",
            )
        return True

    def preview(self, context: StudyParts, space: DesignSpace, settings: StartStage) -> Preview:
        """Backbones times the number of starts, at the full recipe."""
        count = len(_wishes(context, settings))
        note = f"{count} plain network{'s' * (count > 1)} at the full recipe, to start from"
        return Preview(count, context.recipe.at(settings.fidelity).epochs, note=note)


def plain_scores(context: StudyContext) -> list[str]:
    """What the trained plain networks reach that a study starts from: a sentence each, with Student's 95 % interval.

    The interval is over the seeds that they were trained in; one training, or equal ones, have none, which is said.
    """
    rows, metric = context.results(), context.metric
    rows = finished(rows[rows["role"] == START_ROLE], metric).drop_duplicates("training_id")
    said = []
    for level in levels(rows, metric):
        for notation, values in level.rows(rows).groupby("notation", sort=False)[metric.column]:
            mean = mean_of(values)
            low, high = mean.interval()
            seeds = f"{len(values)} seeds" if len(values) > 1 else "one seed"
            sure = f"[{low:.4f}, {high:.4f}], 95 % from {seeds}" if mean.known else f"{seeds}, no interval"
            said.append(f"plain {short_label(str(notation))}: {mean.value:.4f} {metric.suffix} ({sure}; {level.words})")
    return said


def _wishes(context: StudyParts, settings: StartStage) -> list[Wish]:
    (stage,) = [stage for stage in context.definition.named_stages() if stage.name == settings.before]
    return [
        Wish(
            candidate=baseline,
            replicate=PLAIN_SEEDS + number,
            role=START_ROLE,
            sampler="fixed",
            fidelity=settings.fidelity,
            view=settings.view,
        )
        for number in range(settings.plain)
        for baseline in plain_networks(context, stage)
    ]


def plain_networks(context: StudyParts, stage: StageDefinition) -> list[Candidate]:
    """The plain networks that a stage's candidates are made from."""
    found, settings = list(context.baselines), stage.settings
    if stage.kind == "test_rules":
        found = [b for space in context.rule_test_spaces(settings.spaces) for b in space.baselines()]
    elif stage.kind == "confirm":
        found += [reference_candidate(text, found[0]) for text in settings.baselines or ()]
        found += [Candidate.parse(text).baseline for text in settings.candidates]
    found += [Candidate.parse(text).baseline for text in getattr(settings, "named", ())]
    return list(dict.fromkeys(found))
