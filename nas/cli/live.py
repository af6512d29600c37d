"""The picture of a running study in the terminal: a bar a stage, an ETA, what runs, what failed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas import search
from nas.cli.common import console, duration, note, plain
from nas.files.shown import shown
from nas.search.context import StudyContext

QUIET_EVERY_S = 15.0


class StudyView:
    """Shows status snapshots; live on a terminal, sparse lines in a log.

    Args:
        context: the study, for the sizes of stages that have not begun.
        workers: number of workers, for the ETA.
    """

    def __init__(self, context: StudyContext, workers: int) -> None:
        self._expected = _expected_trainings(context)
        self._workers = workers
        self._console = console()
        self._live: Any = None
        self._last_line = 0.0
        self._begun = time.monotonic()
        self._finished_before: int | None = None
        self._failures = 0

    def __enter__(self) -> StudyView:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=False)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def update(self, status: dict[str, Any]) -> None:
        """Shows one snapshot of `Repository.status`."""
        if self._finished_before is None:
            self._finished_before = status["trainings"]["finished"]
        if self._live is not None:
            self._live.update(self._table(status))
        elif time.monotonic() - self._last_line > QUIET_EVERY_S:
            self._last_line = time.monotonic()
            note(self._line(status))

    def _table(self, status: dict[str, Any]) -> Any:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("stage", "", "done", "failed", "state"):
            table.add_column(heading, justify="right" if heading in ("done", "failed") else "left")
        for stage, (done, total) in zip(status["stages"], self._counts(status), strict=True):
            bar = ProgressBar(
                total=max(total, 1), completed=done if total else float(stage["status"] == "finished"), width=28
            )
            failed = stage["trainings"]["failed"]
            counts = f"{done}/{total}" if total else ""
            table.add_row(plain(stage["stage"]), bar, counts, str(failed) if failed else "", stage["status"])
        running = [
            Text(f"  {shown(r['notation'])}  ({duration(status['now'] - r['started_at'])})", style="dim")
            for r in status["running"]
        ]
        return Group(table, *running, Text(self._summary(status)))

    def _counts(self, status: dict[str, Any]) -> list[tuple[int, int]]:
        """Ended and expected trainings a stage; what is planned counts more than what was expected."""
        found = []
        for stage, expected in zip(status["stages"], self._expected, strict=True):
            counts = stage["trainings"]
            ended = counts["finished"] + counts["failed"]
            planned = sum(counts.values())
            total = planned if stage["status"] == "finished" else max(planned, expected)
            found.append((ended, total))
        return found

    def _summary(self, status: dict[str, Any]) -> str:
        elapsed = time.monotonic() - self._begun
        left = self._seconds_left(status)
        eta = "" if left is None else f", about {duration(left)} left"
        return f"{sum(d for d, _ in self._counts(status))} trainings, {duration(elapsed)} elapsed{eta}"

    def _seconds_left(self, status: dict[str, Any]) -> float | None:
        counts = self._counts(status)
        remaining: float = sum(total - done for done, total in counts)
        done_here: int = status["trainings"]["finished"] - (self._finished_before or 0)
        if done_here < 2:
            means: list[float] = [s["mean_seconds"] for s in status["stages"] if s["mean_seconds"]]
            return remaining * max(means) / self._workers if means else None
        return float(remaining) * (time.monotonic() - self._begun) / done_here

    def _line(self, status: dict[str, Any]) -> str:
        current = next((s["stage"] for s in status["stages"] if s["status"] == "running"), "starting")
        return f"[{current}] {self._summary(status)}"


def _expected_trainings(context: StudyContext) -> Sequence[int]:
    stages = context.definition.named_stages()
    return [search.HANDLERS[s.kind].preview(context, context.space, s.settings).trainings for s in stages]
