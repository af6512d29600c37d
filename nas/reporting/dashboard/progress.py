"""How far a study is: bars, states, and the time that is left as far as it can be known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.reporting.document import Badge, Bar
from nas.reporting.numbers import count, plural
from nas.search import time_left
from nas.storage.standing import StudyStatus

_DOING = {"waiting": "waiting", "timing": "measuring"}
"""What workers say of themselves beside trainings, in a word; a wait outweighs the rest."""
_ORDER = (("finished", "good"), ("failed", "bad"), ("running", "warn"))


def study_state(status: Mapping[str, Any]) -> Badge:
    """In a word or two: not begun, running, measuring, waiting, paused, stopped, failed, finished (with failures)."""
    failed = status["trainings"]["failed"]
    if status["finished"]:
        return Badge("finished with failures", "warn") if failed else Badge("finished", "good")
    if any(stage["status"] == "failed" for stage in status["stages"]):
        return Badge("failed", "bad")
    if status["trainings"]["running"]:
        return Badge("running", "warn")
    if doing := list(status["doing"].values()):
        return Badge(
            next((word for key, word in _DOING.items() if any(key in said for said in doing)), "running"), "warn"
        )
    if status["launch"]:
        return Badge("paused", "quiet") if status["wish"] == "pause" else Badge("running", "warn")
    begun = any(stage["status"] != "waiting" for stage in status["stages"])
    return Badge("stopped" if begun else "not begun", "quiet")


def progress_bar(counts: Mapping[str, int], name: str) -> Bar | str:
    """Shares of finished, failed and running trainings among those planned so far."""
    total = sum(counts.values())
    if not total:
        return "nothing planned yet"
    words = f"{name}: {plural(counts['finished'], 'training')} finished of {count(total)} planned"
    return Bar([(tone, counts[key]) for key, tone in _ORDER if counts[key]], total, words)


def seconds_left(status: StudyStatus, workers: Sequence[Mapping[str, Any]]) -> float | None:
    """What the running process says, as in its terminal; else open trainings by their stage's mean, over the workers.

    None before a training has finished, or while nobody works.
    """
    if (said := time_left(status)) is not None:
        return said
    busy = max(sum(worker["state"] == "working" for worker in workers), status["trainings"]["running"])
    means = [stage["mean_seconds"] for stage in status["stages"] if stage["mean_seconds"]]
    if not busy or not means:
        return None
    usual = sum(means) / len(means)
    work = sum(
        (stage["trainings"]["waiting"] + 0.5 * stage["trainings"]["running"]) * (stage["mean_seconds"] or usual)
        for stage in status["stages"]
    )
    return float(work / busy)
