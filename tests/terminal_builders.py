"""Commands at a real terminal: what stands on its screen while they run and at their end, as text and as a page."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS, ROWS = 110, 40
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\r|\n")


@dataclass(frozen=True)
class Said:
    """What a command left on the screen.

    Attributes:
        code: its exit code.
        lines: all lines at its end, with their colours.
        meanwhile: the screen at the moment that was waited for; empty when it did not come.
    """

    code: int
    lines: tuple[str, ...]
    meanwhile: tuple[str, ...]

    @property
    def text(self) -> str:
        """The end as plain text."""
        return plain(self.lines)


def plain(lines: Sequence[str]) -> str:
    """Lines without colours."""
    return _STYLE.sub("", "\n".join(lines))


def screen(written: str) -> tuple[str, ...]:
    """The lines that a terminal shows of what was written to it, as far as rich goes back: whole lines.

    >>> screen("one\\r\\ntwo\\x1b[1A\\r\\x1b[2KONE\\r\\n")
    ('ONE', 'two')
    """
    lines, row, at, again = [""], 0, 0, False
    for found in [*_CONTROL.finditer(written), None]:
        text = written[at : found.start() if found else None]
        if found is not None and found[2] == "m":
            text += found[0]
        if text:
            lines[row], again = (text if again else lines[row] + text), False
        if found is None:
            break
        at = found.end()
        number = int(found[1]) if found[1] and found[1].isdigit() else 1
        if found[0] == "\n":
            row, again = row + 1, False
            lines += [""] * (row + 1 - len(lines))
        elif found[0] == "\r":
            again = True
        elif found[2] == "A":
            row = max(0, row - number)
        elif found[2] == "K":
            lines[row] = ""
    while lines and not _STYLE.sub("", lines[-1]).strip():
        lines.pop()
    return tuple(lines)


def at_terminal(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    moment: str | None = None,
    columns: int = COLUMNS,
    limit_s: float = 600.0,
) -> Said:
    """Runs a command in a folder with a terminal of its own.

    Args:
        command: with its program.
        folder: where.
        environment: of the program, beside the terminal's size.
        moment: words on the screen at which it is kept, too.
        columns: of the terminal.
        limit_s: after so many seconds it is ended.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    given = {**environment, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(ROWS)}
    begun, written, meanwhile = time.monotonic(), b"", ()
    process = subprocess.Popen(command, cwd=folder, env=given, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    try:
        while time.monotonic() - begun < limit_s:
            if not select.select([master], [], [], 1.0)[0]:
                continue
            try:
                read = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            written += read
            if moment is not None and not meanwhile and moment in plain(shown := screen(_decoded(written))):
                meanwhile = shown
        else:
            process.terminate()
        code = process.wait(60)
    finally:
        process.kill()
        os.close(master)
    return Said(code, screen(_decoded(written)), meanwhile)


def _decoded(written: bytes) -> str:
    return written.decode("utf-8", errors="replace")


def as_page(command: str, lines: Sequence[str], columns: int = COLUMNS) -> str:
    """A page that looks like a terminal, for a browser to take a picture of."""
    console = Console(file=io.StringIO(), record=True, force_terminal=True, width=columns, color_system="truecolor")
    console.print(Text("$ ", "bold green").append(command, "bold white"), soft_wrap=False, overflow="fold")
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=False, overflow="fold", highlight=False)
    form = (
        "<html><body style='margin:0;background:{background};color:{foreground}'><pre style='display:inline-block;"
        "margin:16px;font:14px/1.35 DejaVu Sans Mono,monospace'>{code}</pre></body></html>"
    )
    return console.export_html(theme=MONOKAI, inline_styles=True, code_format=form)
