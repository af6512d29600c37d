"""The time a running study still needs, from what its trainings took so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.search.context import StudyContext
from nas.search.estimate import MEASURE_OVERHEAD_S, space_at
from nas.search.stages import HANDLERS, Preview

if TYPE_CHECKING:
    from nas.storage.standing import StudyStatus

FINISHED_TO_BELIEVE = 3
"""Trainings of this run after which its own overhead is believed: one alone may have paid for the start."""


@dataclass(frozen=True)
class StageProgress:
    """Where one stage stands: trainings ended, and expected at most."""

    ended: int
    total: int


class Remaining:
    """Follows a study's status and tells what is left.

    Args:
        context: the study, for the sizes of stages that have not begun.
        workers: trainings at a time.
    """

    def __init__(self, context: StudyContext, workers: int) -> None:
        stages = context.definition.named_stages()
        self._previews: list[Preview] = [
            HANDLERS[s.kind].preview(context, space_at(context, s), s.settings) for s in stages
        ]
        self._measure_s = 0.0 if context.replay is not None else context.protocol.time_budget_s + MEASURE_OVERHEAD_S
        self._workers = workers
        self._before: tuple[int, float] | None = None  # trainings finished before this run, and their seconds
        self._begun = self._seen = 0.0
        self._places_s = 0.0  # seconds of this run in which a training could run, over all places for one

    def stages(self, status: StudyStatus) -> list[StageProgress]:
        """Ended and expected trainings a stage; what is planned counts more than what was expected."""
        found = []
        for stage, preview in zip(status["stages"], self._previews, strict=True):
            counts = stage["trainings"]
            planned = sum(counts.values())
            total = planned if stage["status"] == "finished" else max(planned, preview.trainings)
            found.append(StageProgress(counts["finished"] + counts["failed"], total))
        return found

    def seconds_left(self, status: StudyStatus) -> float | None:
        """Seconds to the end, were every stage to take all it may; None while nothing is known.

        A stage that has trained takes its own mean, another its epochs at the seconds an epoch of the stage that is
        most like it; both times what a run takes beside its trainings (planning, timing, start), once that was seen.
        """
        self._watch(status)
        left = 0.0
        for stage, preview, here in zip(status["stages"], self._previews, self.stages(status), strict=True):
            if stage["status"] in ("finished", "failed"):
                continue
            if not preview.trainings and preview.measurements:
                gone = 0.0 if stage["started_at"] is None else status["now"] - stage["started_at"]
                left += max(0.0, preview.measurements * self._measure_s - gone)
            open_trainings = here.total - here.ended - self._halves(status, here)
            if open_trainings <= 0:
                continue
            each = stage["mean_seconds"] or self._of_another(status, preview.epochs)
            if each is None:
                return None
            left += open_trainings * each * self._overhead(status) / min(self._workers, math.ceil(open_trainings))
        return left

    def _halves(self, status: StudyStatus, here: StageProgress) -> float:
        """What running trainings have behind them, in trainings; they belong to the first stage that is open."""
        if not 0 < here.ended < here.total:
            return 0.0
        return float(sum(row["epoch"] / row["epochs"] for row in status["running"] if row["epochs"]))

    def _of_another(self, status: StudyStatus, epochs: int) -> float | None:
        """Seconds of a training of so many epochs, by the stage that trained nearest to as many; the later of two.

        What a training takes beside its epochs (building, evaluation) weighs most in the shortest ones.
        """
        trained = [
            (abs(math.log(preview.epochs / epochs)), -place, stage["mean_seconds"] * epochs / preview.epochs)
            for place, (stage, preview) in enumerate(zip(status["stages"], self._previews, strict=True))
            if stage["mean_seconds"] and preview.epochs and epochs
        ]
        return min(trained)[2] if trained else None

    def _watch(self, status: StudyStatus) -> None:
        now = float(status["now"])
        if self._before is None:
            self._before, self._begun = _finished(status), now
        else:
            self._places_s += (now - self._seen) * self._places(status)
        self._seen = now

    def _places(self, status: StudyStatus) -> int:
        """Trainings that could run now: one alone keeps one worker busy, however many there are."""
        stages = zip(status["stages"], self.stages(status), strict=True)
        return min(
            self._workers, sum(here.total - here.ended for stage, here in stages if stage["status"] == "running")
        )

    def _overhead(self, status: StudyStatus) -> float:
        """Time of this run's places over that of its trainings, those that still run included; at least 1."""
        assert self._before is not None
        count, seconds = (now - then for now, then in zip(_finished(status), self._before, strict=True))
        if count < FINISHED_TO_BELIEVE or seconds <= 0:
            return 1.0
        running = sum(self._seen - max(self._begun, float(row["started_at"])) for row in status["running"])
        return max(1.0, self._places_s / (seconds + running))


def _finished(status: StudyStatus) -> tuple[int, float]:
    stages = status["stages"]
    return sum(s["trainings"]["finished"] for s in stages), sum(s["seconds"] or 0.0 for s in stages)
