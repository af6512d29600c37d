"""What every command needs: machine output on stdout, everything else on stderr, one look.

Tables and error sentences are made here so that all commands behave alike; bars and messages come from
`nas.commands.terminal`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from nas import spaces
from nas.commands.terminal import console as console
from nas.commands.terminal import note as note
from nas.commands.terminal import note_path as note_path
from nas.commands.terminal import plain as plain
from nas.commands.terminal import progress_bar as progress_bar
from nas.errors import NasError
from nas.files.plain import clean
from nas.files.shown import json_text, printable, shown
from nas.progress import duration as duration


def database_option(about: str) -> object:
    """`--db URL`, or by the environment; `about` says so."""
    return typer.Option("--db", metavar="URL", envvar="NAS_DATABASE", show_envvar=False, show_default=False, help=about)


Url = Annotated[str | None, database_option("Database; default: $NAS_DATABASE, or the study's.")]
Study = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study, or its file.")]
OneStudy = Annotated[
    str | None,
    typer.Argument(metavar="STUDY", help="Name of a study, its file, or a database; default: the only one here."),
]
Profile = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="The study of this profile of the file.")
]
Size = Annotated[str, typer.Option("--input", metavar="HxW", help="Height x width of the images in pixels.")]


def _candidate(text: str) -> str:
    """The text, which names a network: what is wrong with it is said before anything else is asked for."""
    spaces.Candidate.parse(text)
    return text


Notation = Annotated[
    str,
    typer.Argument(metavar="CANDIDATE", help="A network, such as resnet50+cnl@6,8,14.", callback=_candidate),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist already.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
EXIT_DONE, EXIT_OUR_FAULT, EXIT_USER, EXIT_INTERRUPTED = 0, 1, 2, 130


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from `256x128`.

    >>> parse_size("64x32")
    (64, 32)
    """
    height, times, width = text.lower().partition("x")
    if not (times and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise NasError(f"the size must be height x width in pixels like 256x128, not {text!r}")
    return int(height), int(width)


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


def emit_json(value: object) -> None:
    """Writes one JSON document to stdout."""
    sys.stdout.write(json_text(json.dumps(clean(value), indent=2, ensure_ascii=False)) + "\n")


def emit(text: str) -> None:
    """Writes plain text to stdout."""
    sys.stdout.write(shown(text).rstrip("\n") + "\n")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Prints a table to stdout, numbers right-aligned; where a heading's words would break, a line a cell instead."""
    out = console(stderr=False)
    if _breaks(headings, rows, out.width):
        for text in _lines(headings, rows, title):
            out.print(plain(text), soft_wrap=False)
        return
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
    out.print(table)


def _breaks(headings: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> bool:
    """Whether a word of a heading is longer than its column can be: the widest ones give way until all fit."""
    pads = [2 - (place == 0) - (place == len(headings) - 1) for place in range(len(headings))]
    columns = zip(pads, headings, *rows, strict=True)
    widest = [pad + max(len(str(cell)) for cell in cells) for pad, *cells in columns]
    level = max(most for most in range(width + 1) if sum(min(most, wide) for wide in widest) <= width)
    return any(pad + len(word) > level for pad, text in zip(pads, headings, strict=True) for word in text.split())


def _lines(headings: Sequence[str], rows: Sequence[Sequence[object]], title: str | None) -> list[str]:
    """The cells of a table below each other, empty ones left out."""
    lines = [] if title is None else [title]
    for row in rows:
        said = [(f"{heading}: " if heading else "") + str(cell) for heading, cell in zip(headings, row, strict=True)]
        kept = [text for text, cell in zip(said, row, strict=True) if cell not in (None, "")]
        lines += [f"{'  ' if place else ''}{text}" for place, text in enumerate(kept)]
    return lines
