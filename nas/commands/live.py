"""The picture of a running study in the terminal: a bar a stage, what runs, what it waits for, the time left."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas import search
from nas.commands.terminal import console, note, plain
from nas.files.shown import shown
from nas.progress import duration
from nas.search.context import StudyContext
from nas.storage.standing import RunningTraining, StudyStatus

QUIET_EVERY_S = 60.0
"""Off a terminal: how often a line tells of trainings or timed networks; a stage's begin or end is told at once."""


class StudyView:
    """Shows status snapshots; live on a terminal, a line an event in a log.

    The study tells the sizes of stages that have not begun, the number of workers the time left.
    """

    def __init__(self, context: StudyContext, workers: int, out: Console | None = None) -> None:
        self._remaining = search.Remaining(context, workers)
        self._context = context
        self._console = out or console()
        self._live: Live | None = None
        self._left: float | None = None
        self._begun = self._last_line = time.monotonic()
        self._told: dict[str, str] = {}
        self._told_ended = 0
        self._starts: tuple[int, list[str]] = (0, [])  # `start` stages that have ended, and what came of them

    def __enter__(self) -> StudyView:
        if self._console.is_terminal or self._console.is_jupyter:
            self._live = Live(console=self._console, refresh_per_second=4, transient=False)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def update(self, status: StudyStatus) -> float | None:
        """Shows one snapshot of `Repository.status`; gives the seconds left, None while they are not known."""
        ending = status["wish"] in ("stop", "stop now")
        self._left = None if ending else self._remaining.seconds_left(status)
        if self._live is not None:
            self._live.update(self._table(status))
        else:
            for line in self._events(status):
                note(line)
        return self._left

    def stopping(self) -> None:
        """Says at once what an interrupted run still finishes."""
        note("Stopping: each worker writes a checkpoint and gives its training back. Run the same command to go on.")

    def _table(self, status: StudyStatus) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("stage", "", "done", "failed", "state"):
            table.add_column(heading, justify="right" if heading in ("done", "failed") else "left")
        for stage, here in zip(status["stages"], self._remaining.stages(status), strict=True):
            done = here.ended if here.total else float(stage["status"] == "finished")
            failed = stage["trainings"]["failed"]
            table.add_row(
                plain(stage["stage"]),
                ProgressBar(total=max(here.total, 1), completed=done, width=28),
                f"{here.ended}/{'≤' * here.more}{here.total}" if here.total else "",
                str(failed) if failed else "",
                search.stage_state(stage, status),
            )
        lines = [*(_training(row, status["now"]) for row in status["running"]), *status["doing"].values()]
        scores = [Text(shown(line)) for line in self._plain_scores(status)]
        dim = [Text(f"  {shown(line)}", style="dim") for line in lines]
        return Group(table, *scores, *dim, Text(self._summary(status)))

    def _plain_scores(self, status: StudyStatus) -> list[str]:
        """What the plain networks reach, as soon as a stage has trained them: the first number that a run gives."""
        ended = sum(stage["kind"] == search.START and stage["status"] == "finished" for stage in status["stages"])
        if ended > self._starts[0]:
            self._starts = (ended, search.plain_scores(self._context))
        return self._starts[1]

    def _summary(self, status: StudyStatus) -> str:
        eta = f", at most about {duration(self._left)} left" if self._left else ""
        return f"{search.trainings_words(status)}, {duration(time.monotonic() - self._begun)} elapsed{eta}"

    def _events(self, status: StudyStatus) -> list[str]:
        """What happened since the last look: stages that began or ended, new waits, now and then counts."""
        lines, current = [], "[between stages]"
        for stage, here in zip(status["stages"], self._remaining.stages(status), strict=True):
            if stage["status"] == "running":
                current = f"[{stage['stage']}]" + (f" {here.words}; in all" if here.total else "")
            state, name = search.stage_state(stage, status), f"[{stage['stage']}]"
            if state != self._told.get(name, "waiting"):
                failed = stage["trainings"]["failed"]
                count = f", {here.words}" if here.total or here.most else ""
                lines.append(f"{name} {state}{count}" + (f", {failed} failed" if failed else ""))
                self._told[name] = state
                if stage["kind"] == search.START:  # below the stage that trained them, on a run that goes on too
                    scores = [line for line in self._plain_scores(status) if line not in self._told]
                    self._told |= dict.fromkeys(scores, "told")
                    lines += scores
        for owner, words in status["doing"].items():
            if "waiting" in words and self._told.get(owner) != words:
                lines.append(words)
            self._told[owner] = words
        ended = sum(here.ended for here in self._remaining.stages(status))
        if time.monotonic() - self._last_line > QUIET_EVERY_S:
            lines += [f"{current} {self._summary(status)}"] if ended > self._told_ended else []
            lines += [words for words in status["doing"].values() if words.startswith("timing")]
        if lines:
            self._last_line, self._told_ended = time.monotonic(), ended
        return lines


def _training(row: RunningTraining, now: float) -> str:
    epochs = f"epoch {row['epoch']} of {row['epochs']}, " if row["epochs"] else ""
    return f"{row['notation']}, seed {row['seed']} ({epochs}{duration(now - row['started_at'])})"
