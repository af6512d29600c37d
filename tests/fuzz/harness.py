"""Runs the command line inside this process as a terminal would, and says what was wrong with how it took bad input.

Good is: exit code 0, or exit code 2 with a sentence; never a traceback, a Python warning or a changed file.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import re
import shutil
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer.main
from fuzz.meaning import Judged

from nas import storage
from nas.cli import main as commands

SHOWN = 12
FEW = 15
LONGEST_MESSAGE = 2_000
_NOISE = re.compile(r"Traceback|\wWarning:|internal error")  # our own warnings begin with the word alone


def parts(cases: int, chunks: int = 1, few: int = FEW) -> pytest.MarkDecorator:
    """Parametrises a test by (chunk, cases): a few cases always, a quarter of all in chunks among the slow tests.

    `NAS_FUZZ=1 make test-slow` tries all, `NAS_FUZZ=10` ten times as many.
    """
    # Hundreds of commands in one test: longer than the time a single test may take on a busy machine.
    marks = (pytest.mark.slow, pytest.mark.timeout(900))
    each = round(cases * float(os.environ.get("NAS_FUZZ", "0.25")) / chunks)
    whole = [pytest.param(n, each, id=str(n), marks=marks) for n in range(chunks)]
    return pytest.mark.parametrize(("chunk", "cases"), [pytest.param(chunks, few, id="few"), *whole])


def build_once(patch: pytest.MonkeyPatch) -> None:
    """The tree of commands, made once for thousands of command lines."""
    command = typer.main.get_command(commands.build_app())
    patch.setattr(commands, "build_app", lambda: command)


def own_folder(root: Path, patch: pytest.MonkeyPatch) -> Path:
    """A new current folder below `root`, with nothing in the environment that leads out of it."""
    here = root / "here"
    here.mkdir()
    patch.chdir(here)
    patch.setenv("NAS_CACHE", str(root / "cache"))
    patch.setenv("NAS_DEBUG", "1")
    patch.setenv("COLUMNS", "80")
    for name in ("NAS_DATABASE", "NAS_HOME"):
        patch.delenv(name, raising=False)
    return here


def stop_before_work(patch: pytest.MonkeyPatch) -> None:
    """`nas run` ends well where it would make its database: what it was given was good enough to begin."""
    open_database = storage.open_database

    def stop(url: str, **settings: bool) -> Any:
        if settings or url == "sqlite://":  # a dry run looks for results
            return open_database(url, **settings)
        raise typer.Exit(0)

    patch.setattr(storage, "open_database", stop)


def emptied(folder: Path) -> None:
    """Takes everything out of a folder."""
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


@dataclass(frozen=True)
class Said:
    """What one command answered."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str


def nas(*arguments: str) -> Said:
    """One command; an error that is our fault is raised as it is (`NAS_DEBUG=1`)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("always")
        code = commands.main(list(arguments))
    return Said(arguments, code, out.getvalue(), err.getvalue())


def complaint(said: Said, allowed: Iterable[int] = (0, 2)) -> str | None:
    """Why an answer is not a good one; None for a good one."""
    if said.code not in allowed:
        return f"exit code {said.code}: {said.err.strip()[-300:]}"
    if found := _NOISE.search(said.err):
        return f"{found.group()!r} on stderr: {said.err[max(found.start() - 100, 0) :][:300]}"
    if said.code == 2 and not (said.err.strip() or said.out.strip()):
        return "exit code 2 without a word"
    if said.code == 2 and len(said.err) > LONGEST_MESSAGE:
        return f"{len(said.err)} characters instead of a sentence: {said.err[:300]}"
    return None


def state(folder: Path) -> dict[str, str]:
    """Everything below a folder: kind, permissions and content of each file, without following links."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            if not _is_sqlite_scratch(path):
                found[path] = _state_of(path)
    return found


def _is_sqlite_scratch(path: str) -> bool:
    """What SQLite lays beside a database to read it: an index of the log, and a log without anything in it."""
    return path.endswith("-shm") or (path.endswith("-wal") and os.path.getsize(path) == 0)


def _state_of(path: str) -> str:
    info = os.lstat(path)
    if stat.S_ISLNK(info.st_mode):
        return f"link {os.readlink(path)}"
    content = b""
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            content = file.read()
    return f"{info.st_mode:o} {hashlib.sha1(content).hexdigest()}"


@dataclass
class Account:
    """Counts answers and keeps complaints until `settle`."""

    kind: str
    answers: Counter[int] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    cases: int = 0
    silent: int = 0

    def case(self, label: str, answers: Iterable[Said], watched: Path, may_change: bool = False) -> None:
        """One piece of bad input; `answers` runs the commands that are tried on it, `watched` must stay as it is.

        may_change: a command that succeeds may leave something behind.
        """
        self.cases += 1
        before = state(watched)
        for said in self._answers(label, answers):
            self.answers[said.code] += 1
            why = complaint(said)
            after = state(watched)
            if why is None and (said.code != 0 or not may_change):
                why = _difference(before, after)
            before = after
            if why is not None:
                self.complaints.append(f"{label}: nas {' '.join(said.arguments)[:200]}: {why}")

    def judge(self, label: str, case: Callable[[random.Random], Judged]) -> None:
        """One case that is compared with what it means; `label` seeds it."""
        self.cases += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = case(random.Random(f"{self.kind} {label}"))
        except Exception as error:
            self.complaints.append(f"{label}: {type(error).__name__}: {error}{_origin(error)}")
            return
        self.answers[0 if found.accepted else 2] += 1
        self.silent += found.silent
        if found.wrong is not None:
            self.complaints.append(f"{label}: {found.wrong}")

    def _answers(self, label: str, answers: Iterable[Said]) -> Iterator[Said]:
        try:
            yield from answers
        except Exception as error:
            self.complaints.append(f"{label}: {type(error).__name__}: {error}{_origin(error)}")

    def settle(self) -> dict[str, int]:
        """The counts; fails with the first complaints when there were any."""
        assert not self.complaints, f"{len(self.complaints)} complaints:\n" + "\n".join(self.complaints[:SHOWN])
        return {"cases": self.cases, "accepted": self.answers[0], "refused": self.answers[2]}


def _difference(before: dict[str, str], after: dict[str, str]) -> str | None:
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return f"changed on disk: {', '.join(changed[:5])}" if changed else None


def _origin(error: BaseException) -> str:
    place = error.__traceback__
    lines = []
    while place is not None:
        file = place.tb_frame.f_code.co_filename
        if f"{os.sep}nas{os.sep}" in file:
            lines.append(f"{file.rsplit(os.sep + 'nas' + os.sep, 1)[-1]}:{place.tb_lineno}")
        place = place.tb_next
    return f" (at {' < '.join(reversed(lines[-4:]))})"
