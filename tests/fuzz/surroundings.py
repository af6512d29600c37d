"""Hostile surroundings: `nas run` of a replayed study where something around it is not as it should be.

Good is: the results that it has anywhere else; or exit code 2 with a sentence and, once the surroundings are as they
should be, those results after all.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fault_builders import AS_ANOTHER, WAIT_S, FaultStudy, Row, fill_up, give_away, small_disk, undisturbed
from fuzz.meaning import Judged

STAGES = [{"sweep": {"design": "stratified", "candidates": 4, "baselines": False}}]


@dataclass
class Around:
    """What is unusual about one run.

    Attributes:
        env: variables that are set, or taken away (None).
        before: words before the command.
        change: done in the child before it starts.
        shell: words after the command, for a shell.
        heal: puts things right again.
    """

    env: Mapping[str, str | None] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    change: Callable[[], object] | None = None
    shell: str = ""
    heal: Callable[[], object] = lambda: None


def _no_home(folder: Path) -> Around:
    return Around({"HOME": None, "USER": None, "LOGNAME": None})


def _home_nowhere(folder: Path) -> Around:
    return Around({"HOME": "/nowhere/at/all", "TMPDIR": "/nowhere"})


def _c_locale(folder: Path) -> Around:
    return Around({"LC_ALL": "C", "LANG": None, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})


def _ascii(folder: Path) -> Around:
    return Around({"PYTHONIOENCODING": "ascii", "TERM": "dumb", "COLUMNS": "0"})


def _clock(step: str) -> Callable[[Path], Around | None]:
    def around(folder: Path) -> Around | None:
        return Around(before=("faketime", "-f", step)) if shutil.which("faketime") else None

    return around


def _modules_beside(folder: Path) -> Around:
    for name in ("statistics", "queue", "random", "nas"):
        (folder / f"{name}.py").write_text("raise SystemExit('a file of the current folder was imported')\n")
    return Around()


def _read_only(folder: Path) -> Around | None:
    if not _can_be_another():
        return None
    folder.chmod(0o555)
    return Around(before=AS_ANOTHER, heal=lambda: folder.chmod(0o755))


def _other_user(folder: Path) -> Around | None:
    if not _can_be_another():
        return None
    give_away(folder)
    return Around(before=AS_ANOTHER, heal=lambda: give_away(folder, os.geteuid()))


def _can_be_another() -> bool:
    return os.geteuid() == 0 and shutil.which(AS_ANOTHER[0]) is not None


def _file_for_folder(folder: Path) -> Around:
    file = folder / "file"
    file.write_text("")
    return Around({"NAS_HOME": str(file), "NAS_CACHE": str(file), "NAS_LOCKS": str(file)})


def _small_files(folder: Path) -> Around:
    return Around(change=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)))


def _few_files(folder: Path) -> Around:
    return Around(change=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24)))


def _no_permissions(folder: Path) -> Around:
    return Around(change=lambda: os.umask(0o077))


def _closed(folder: Path) -> Around:
    return Around(shell="<&- >&- 2>&-")


SURROUNDINGS: dict[str, Callable[[Path], Around | None]] = {
    "no HOME": _no_home,
    "HOME and TMPDIR that are not there": _home_nowhere,
    "C locale": _c_locale,
    "a terminal of ASCII": _ascii,
    "a clock two hours back": _clock("-2h"),
    "a clock a day ahead": _clock("+1d"),
    "a clock that runs a hundred times as fast": _clock("+0 x100"),
    "files named as modules": _modules_beside,
    "a read-only folder": _read_only,
    "another user": _other_user,
    "files in place of folders": _file_for_folder,
    "files of 60 kB at most": _small_files,
    "24 open files at most": _few_files,
    "umask 077": _no_permissions,
    "closed streams": _closed,
}
FULL_DISK = "a full disk"
NAMES = (*SURROUNDINGS, FULL_DISK)


def expected(folder: Path) -> list[Row]:
    """The rows of the study where nothing is unusual."""
    return undisturbed(folder, STAGES)


def try_surroundings(name: str, right: list[Row]) -> Judged | None:
    """One run in these surroundings; None where they cannot be made here."""
    with tempfile.TemporaryDirectory(prefix="nas-around-", ignore_cleanup_errors=True) as root:
        folder = Path(root)
        if name == FULL_DISK:
            return _on_full_disk(folder, right)
        study = FaultStudy.replayed(folder, stages=STAGES, seconds=0.0, title="K\u00e4se \x07")
        around = SURROUNDINGS[name](folder)
        if around is None:
            return None
        done = _run(study, around)
        around.heal()
        return _judge(study, done, right)


def _run(study: FaultStudy, around: Around) -> subprocess.CompletedProcess[str]:
    words = [*around.before, sys.executable, "-P", "-m", "nas", "run", str(study.file), "--no-report", "--lease", "3"]
    command = ["sh", "-c", f'exec "$@" {around.shell}', "sh", *words]
    env = {**os.environ, "NAS_LOCKS": str(study.folder / "locks"), "OMP_NUM_THREADS": "1", **around.env}
    env.pop("NAS_DEBUG", None)
    return subprocess.run(
        command, cwd=study.folder, capture_output=True, text=True, errors="replace", timeout=WAIT_S,
        env={key: value for key, value in env.items() if value is not None}, preexec_fn=around.change,
    )  # fmt: skip


def _judge(study: FaultStudy, done: subprocess.CompletedProcess[str], right: list[Row]) -> Judged:
    said = done.stderr + done.stdout
    if done.returncode not in (0, 2) or "Traceback" in said or "internal error" in said:
        return Judged(False, f"exit code {done.returncode}: {said[-300:]}")
    if done.returncode == 0:
        different = study.plan() != right
        return Judged(True, "other results" if different else None, silent=different)
    if "Error: " not in said:
        return Judged(False, f"no sentence: {said[-300:]}")
    again = _run(study, Around())
    if again.returncode or study.plan() != right:
        return Judged(False, f"afterwards, exit code {again.returncode}: {again.stderr[-300:]}")
    return Judged(False)


def _on_full_disk(folder: Path, right: list[Row]) -> Judged | None:
    with small_disk(folder, 24) as disk:
        if disk is None:
            return None
        study = FaultStudy.replayed(folder, stages=STAGES, seconds=0.0)
        ballast = fill_up(disk)
        done = _run(study, Around())
        ballast.unlink()
        return _judge(study, done, right)
