"""What a person sees while something runs, in a terminal, a log or a notebook: messages, bars with the time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.style import Style
from rich.text import Text

from nas.files.shown import shown
from nas.progress import duration

if TYPE_CHECKING:
    from nas.progress import Progress

SLOW_S = 3.0
"""After this time a silent step of a check is told: a person waits for the first word no longer than a few seconds."""


def console(*, stderr: bool = True) -> Console:
    """A rich console on stderr (messages) or stdout (results)."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """Prints one message for the person at the terminal (stderr)."""
    console().print(shown(message), markup=False)


def note_path(path: Path) -> None:
    """Prints where a file was written; at a terminal that knows links, a click opens it."""
    console().print(Text("  ").append(shown(str(path)), style=Style(link=path.resolve().as_uri())))


def plain(text: str) -> Text:
    """Text for a table: never markup, nothing that a terminal would obey."""
    return Text(shown(text))


@contextmanager
def progress_bar(title: str, *, enabled: bool = True) -> Iterator[Progress]:
    """A bar with ETA on stderr; yields a `Progress` to call. Off a terminal it prints sparse lines."""
    if not enabled:
        yield lambda done, total, what="": None
        return
    out = console()
    if not (out.is_terminal or out.is_jupyter):
        yield _sparse_lines(title)
        return
    columns = (
        TextColumn("[bold]{task.fields[title]}[/]"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Bar(*columns, console=out, transient=False) as bar:
        task = bar.add_task("", total=None, title=title, visible=False)

        def report(done: int, total: int, what: str = "") -> None:
            bar.update(task, completed=done, total=total, description=what, visible=True)

        yield report


@contextmanager
def slow_steps(tell: Callable[[str], object], after_s: float = SLOW_S) -> Iterator[Callable[[str], None]]:
    """Yields what is called with the words of each step as it begins; those that take long are told, each once."""
    timer = threading.Timer(0, lambda: None)

    def begin(words: str) -> None:
        nonlocal timer
        timer.cancel()
        timer = threading.Timer(after_s, tell, [f"  still {words}"])
        timer.daemon = True
        timer.start()

    try:
        yield begin
    finally:
        timer.cancel()


def _sparse_lines(title: str, every_s: float = 10.0) -> Callable[..., None]:
    """A `Progress` for logs: a line at most every ten seconds, with the time left from a quarter of the way on."""
    begun = time.monotonic()
    last = begun

    def report(done: int, total: int, what: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < every_s:
            return
        last = now
        # The first steps load what all need, so that they tell nothing of the others.
        eta = f", about {duration((now - begun) / done * (total - done))} left" if done and 4 * done >= total else ""
        note(f"{title}: {done}/{total}{eta} {what}".rstrip())

    return report
