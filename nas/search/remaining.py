"""The time a running study still needs, from what its trainings took so far."""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.search.context import StudyParts
from nas.search.estimate import MEASURE_OVERHEAD_S, space_at
from nas.search.stages import HANDLERS, Preview

if TYPE_CHECKING:
    from nas.storage.standing import RunningTraining, StageStanding, StudyStatus

FINISHED_TO_BELIEVE = 3
"""Trainings of this run after which its own overhead is believed: one alone may have paid for the start."""
RECENT = 6
"""A stage's last trainings, whose mean is what the next take: of fewer it is mostly chance (benchmarks/eta.py)."""


@dataclass(frozen=True)
class StageProgress:
    """Where one stage stands: trainings ended, expected, and the most that were foreseen where it may still ask.

    >>> StageProgress(0, 60, more=True).words, StageProgress(36, 36, most=60).words
    ('0 of at most 60 trainings', '36 of 36 trainings (at most 60 were foreseen)')
    >>> StageProgress(0, 1, more=True).words
    '0 of 1 training'
    """

    ended: int
    total: int
    more: bool = False
    most: int = 0

    @property
    def words(self) -> str:
        """The numbers in words."""
        foreseen = f" (at most {self.most} were foreseen)" if self.most > self.total else ""
        noun = "training" if self.total == 1 else "trainings"
        return f"{self.ended} of {'at most ' * (self.more and self.total > 1)}{self.total} {noun}{foreseen}"


class Remaining:
    """Follows a study's status and tells what is left.

    Args:
        context: the study, for the sizes of stages that have not begun.
        workers: trainings at a time.
    """

    def __init__(self, context: StudyParts, workers: int) -> None:
        stages = context.definition.named_stages()
        self._previews: list[Preview] = [
            HANDLERS[s.kind].preview(context, space_at(context, s), s.settings) for s in stages
        ]
        self._measure_s = 0.0 if context.replay is not None else context.protocol.time_budget_s + MEASURE_OVERHEAD_S
        self._workers = workers
        self._before: tuple[int, float] | None = None  # trainings finished before this run, and their seconds
        self._begun = self._seen = 0.0
        self._ended: dict[int, deque[tuple[int, float]]] = {}  # by stage: trainings finished, and their seconds
        self._places_s = 0.0  # seconds of this run in which a training could run, over all places for one

    def stages(self, status: StudyStatus) -> list[StageProgress]:
        """Ended and expected trainings a stage; what is planned counts more than what was expected."""
        found = []
        for stage, preview in zip(status["stages"], self._previews, strict=True):
            counts = stage["trainings"]
            planned = sum(counts.values())
            ended = counts["finished"] + counts["failed"]
            if stage["status"] == "finished":
                found.append(StageProgress(ended, planned, most=preview.trainings))
            else:
                found.append(StageProgress(ended, max(planned, preview.trainings), planned < preview.trainings))
        return found

    def seconds_left(self, status: StudyStatus) -> float | None:
        """Seconds to the end, were every stage to take all it may; None while nothing is known.

        A stage that has trained takes the mean of its last trainings, another its epochs at the seconds an epoch of the
        stage that is most like it; both times what a run takes beside its trainings (planning, timing, start), once
        that was seen. Trainings that do not fill all places take a round nevertheless.
        """
        self._watch(status)
        means = [self._recent(place, stage) for place, stage in enumerate(status["stages"])]
        left, begun = 0.0, status["running"]
        for stage, preview, here, mean in zip(
            status["stages"], self._previews, self.stages(status), means, strict=True
        ):
            if stage["status"] in ("finished", "failed"):
                continue
            if not preview.trainings and preview.measurements:
                gone = 0.0 if stage["started_at"] is None else status["now"] - stage["started_at"]
                left += max(0.0, preview.measurements * self._measure_s - gone)
            if here.ended >= here.total:
                continue
            each = mean or self._of_another(means, preview.epochs)
            if each is None:
                return None
            each *= self._overhead(status)
            left += each * self._rounds(here.total - here.ended, [self._over(row, each, status) for row in begun])
            begun = []  # they belong to the first stage that is open
        return left

    def _rounds(self, number: int, begun: list[float]) -> float:
        """How many trainings one after another so many take, some of them begun by these shares: 9 on 8 places two."""
        begun = begun[:number]  # more than places where workers have joined from elsewhere
        places = sorted([1.0 - share for share in begun] + [0.0] * (self._workers - len(begun)))
        for _ in range(number - len(begun)):
            heapq.heapreplace(places, places[0] + 1.0)
        return max(places)

    def _over(self, row: RunningTraining, each: float, status: StudyStatus) -> float:
        """The share of a running training that has passed: by its epochs, or by its time where that says more."""
        by_epochs = row["epoch"] / row["epochs"] if row["epochs"] else 0.0
        return max(by_epochs, min(1.0, (status["now"] - row["started_at"]) / each))

    def _recent(self, place: int, stage: StageStanding) -> float | None:
        """Mean seconds of a stage's last trainings: a machine that others share from now on is slow from now on."""
        finished, seconds = stage["trainings"]["finished"], stage["seconds"] or 0.0
        seen = self._ended.setdefault(place, deque([(finished, seconds)]))
        if seen[-1][0] != finished:
            seen.append((finished, seconds))
        while len(seen) > 1 and finished - seen[1][0] >= RECENT:
            seen.popleft()
        count, took = finished - seen[0][0], seconds - seen[0][1]
        return took / count if count >= RECENT else stage["mean_seconds"]

    def _of_another(self, means: list[float | None], epochs: int) -> float | None:
        """Seconds of a training of so many epochs, by the stage that trained nearest to as many; the later of two.

        What a training takes beside its epochs (building, evaluation) weighs most in the shortest ones.
        """
        trained = [
            (abs(math.log(preview.epochs / epochs)), -place, mean * epochs / preview.epochs)
            for place, (mean, preview) in enumerate(zip(means, self._previews, strict=True))
            if mean and preview.epochs and epochs
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
