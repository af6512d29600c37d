"""Studies whose course is known second by second: what their database would say at any moment, without running them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Stretch(NamedTuple):
    """One stage of a course: so many trainings of so many epochs, each in so many seconds; without any, it times."""

    kind: str
    number: int
    epochs: int
    seconds: float


class Course:
    """What a database would say of a run in which every stage trains so many networks, each in so many seconds.

    Args:
        stages: in order.
        workers: at the same time.
        between: seconds of a worker from the end of one training to the start of the next.
        spread: of the trainings' seconds, as a standard deviation of their logarithm.
        slower: times as long as before take trainings that begin in the second half of them all.
    """

    def __init__(
        self, stages: Sequence[Stretch], workers: int, between: float, *, spread: float = 0.0, slower: float = 1.0
    ) -> None:
        self.stages, self.rows, now = stages, [], 0.0
        draws, whole = np.random.default_rng(1), sum(stage.number for stage in stages)
        for place, stage in enumerate(stages):
            if not stage.number:
                now += stage.seconds
                continue
            free = [now] * min(workers, stage.number)
            for _ in range(stage.number):
                begun = heapq.heappop(free) + between
                late = slower if 2 * len(self.rows) >= whole else 1.0
                ends = begun + stage.seconds * late * float(np.exp(spread * draws.standard_normal()))
                heapq.heappush(free, ends)
                self.rows.append((place, begun, ends, stage.epochs))
            now = max(free)
        self.ends = now

    def at(self, now: float) -> dict[str, Any]:
        """The status at a moment."""
        told = []
        for place, stage in enumerate(self.stages):
            mine = [row for row in self.rows if row[0] == place]
            done = [row for row in mine if row[2] <= now]
            running = [row for row in mine if row[1] <= now < row[2]]
            begun = min((row[1] for row in mine), default=0.0) <= now
            over = len(done) == stage.number if mine else now >= stage.seconds
            counts = {"finished": len(done), "failed": 0, "running": len(running)}
            counts["waiting"] = stage.number - len(done) - len(running) if begun else 0
            state = "finished" if over else "running" if begun else "waiting"
            whole = sum(row[2] - row[1] for row in done) or None
            mean = whole / len(done) if whole else None
            times = {"started_at": 0.0, "mean_seconds": mean, "seconds": whole}
            told.append({"stage": stage.kind, "status": state, "trainings": counts, **times})
        rows = [
            {"epoch": int(epochs * (now - begun) / (end - begun)), "epochs": epochs, "started_at": begun}
            for _, begun, end, epochs in self.rows
            if begun <= now < end
        ]
        return {"stages": told, "running": rows, "doing": {}, "now": now}
