"""The time left, against studies whose course is known: simulated looks at a quickstart, second by second."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

import pytest

from nas.search.context import StudyContext
from nas.search.definition import load_study
from nas.search.remaining import Remaining
from nas.storage import Repository, open_database

LOOK_S = 5
CLOSE = 0.3
QUICKSTART = Path(__file__).parents[2] / "studies" / "quickstart.yaml"


class Course:
    """What a database would say of a run in which every stage trains so many networks, each in so many seconds.

    Args:
        stages: kind, trainings, epochs and seconds of one, in order.
        workers: at the same time.
        between: seconds of a worker from the end of one training to the start of the next.
    """

    def __init__(self, stages: list[tuple[str, int, int, float]], workers: int, between: float) -> None:
        self.stages, self.rows, now = stages, [], 0.0
        for place, (kind, number, epochs, seconds) in enumerate(stages):
            if kind == "profile":
                now += seconds
                continue
            free = [now] * min(workers, number)
            for _ in range(number):
                begun = heapq.heappop(free) + between
                heapq.heappush(free, begun + seconds)
                self.rows.append((place, begun, begun + seconds, epochs))
            now = max(free)
        self.ends = now

    def at(self, now: float) -> dict[str, Any]:
        """The status at a moment."""
        told = []
        for place, (kind, number, _, seconds) in enumerate(self.stages):
            mine = [row for row in self.rows if row[0] == place]
            done = [row for row in mine if row[2] <= now]
            running = [row for row in mine if row[1] <= now < row[2]]
            begun = min((row[1] for row in mine), default=0.0) <= now
            over = len(done) == number if mine else now >= seconds
            counts = {"finished": len(done), "failed": 0, "running": len(running)}
            counts["waiting"] = number - len(done) - len(running) if begun else 0
            state = "finished" if over else "running" if begun else "waiting"
            whole = sum(row[2] - row[1] for row in done) or None
            mean = whole / len(done) if whole else None
            times = {"started_at": 0.0, "mean_seconds": mean, "seconds": whole}
            told.append({"stage": kind, "status": state, "trainings": counts, **times})
        rows = [
            {"epoch": int(epochs * (now - begun) / (end - begun)), "epochs": epochs, "started_at": begun}
            for _, begun, end, epochs in self.rows
            if begun <= now < end
        ]
        return {"stages": told, "running": rows, "doing": {}, "now": now}


@pytest.mark.parametrize("between", [0.5, 6.0])
@pytest.mark.parametrize("start_s", [80.0, 325.0])
def test_from_a_quarter_on_it_is_within_30_percent(start_s: float, between: float) -> None:
    """A quickstart, whose plain network trains alone before two workers share the rest."""
    context = StudyContext(load_study(QUICKSTART), Repository(open_database("sqlite://")), 0)
    stages = [("profile", 0, 0, 60.0), ("start", 1, 24, start_s)]
    stages += [("sweep", 46, 4, 18.0), ("shrink", 12, 4, 18.0), ("confirm", 4, 4, 18.0)]
    course, left = Course(stages, 2, between), Remaining(context, 2)
    late, good = 0, 0
    for now in range(0, int(course.ends), LOOK_S):
        said = left.seconds_left(course.at(now))
        if now >= course.ends / 4 and said is not None:
            late, good = late + 1, good + (abs(said - (course.ends - now)) <= CLOSE * (course.ends - now))
    assert good >= 0.9 * late > 20
