"""What every command needs: machine output on stdout, everything else on stderr, one look.

Progress bars, tables and error sentences are made here so that all commands behave alike.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from nas.errors import NasError
from nas.files.plain import clean
from nas.files.shown import printable, shown
from nas.progress import duration as duration

if TYPE_CHECKING:
    from nas.progress import Progress

Force = Annotated[bool, typer.Option("--force", help="Replace files that exist already.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
EXIT_DONE, EXIT_OUR_FAULT, EXIT_USER, EXIT_INTERRUPTED = 0, 1, 2, 130


def add_group(app: typer.Typer, name: str, about: str, commands: Mapping[str, Callable[..., object]]) -> None:
    """Adds a group of commands, by their names; `about` ends with an example."""
    group = typer.Typer(help=about, no_args_is_help=True)
    for word, function in commands.items():
        group.command(word)(function)
    app.add_typer(group, name=name)


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from `256x128`.

    >>> parse_size("64x32")
    (64, 32)
    """
    height, times, width = text.lower().partition("x")
    if not (times and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise NasError(f"the size must be height x width in pixels like 256x128, not {text!r}")
    return int(height), int(width)


def console(*, stderr: bool = True) -> Console:
    """A rich console on stderr (messages) or stdout (results)."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """Prints one message for the person at the terminal (stderr)."""
    console().print(shown(message), markup=False)


def line(text: str) -> None:
    """Prints one line of a result for people (stdout)."""
    console(stderr=False).print(shown(text), markup=False)


def print_error(error: NasError) -> None:
    """Prints the sentence and the hint of an error to stderr."""
    out = console()
    out.print("[bold red]Error:[/] ", end="")
    out.print(printable(error.message), markup=False)
    if error.hint:
        out.print("[bold]Hint:[/] ", end="")
        out.print(printable(error.hint), markup=False)


def emit_json(value: Any) -> None:
    """Writes one JSON document to stdout."""
    document = json.dumps(clean(value), indent=2, ensure_ascii=False)
    # What a terminal would obey is written as JSON's own escape, which means the same.
    sys.stdout.write("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in document) + "\n")


def emit(text: str) -> None:
    """Writes plain text to stdout."""
    sys.stdout.write(shown(text).rstrip("\n") + "\n")


def plain(text: str) -> Text:
    """Text for a table: never markup, nothing that a terminal would obey."""
    return Text(shown(text))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Prints a table to stdout; numbers are right-aligned."""
    table = Table(
        title=None if title is None else plain(title),
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for i, heading in enumerate(headings):
        numeric = bool(rows) and all(isinstance(row[i], (int, float)) or row[i] in (None, "") for row in rows)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[plain("" if cell is None else str(cell)) for cell in row])
    console(stderr=False).print(table)


@contextmanager
def progress_bar(title: str, *, enabled: bool = True) -> Iterator[Progress]:
    """A bar with ETA on stderr; yields a `Progress` to call. Off a terminal it prints sparse lines."""
    if not enabled:
        yield lambda done, total, what="": None
        return
    out = console()
    if not out.is_terminal:
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


def _sparse_lines(title: str, every_s: float = 10.0) -> Callable[..., None]:
    """A `Progress` for logs: one line at most every ten seconds, and the last one."""
    begun = time.monotonic()
    last = begun

    def report(done: int, total: int, what: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < every_s:
            return
        last = now
        left = (now - begun) / done * (total - done) if done else math.nan
        eta = f", about {duration(left)} left" if math.isfinite(left) else ""
        note(f"{title}: {done}/{total}{eta} {what}".rstrip())

    return report
