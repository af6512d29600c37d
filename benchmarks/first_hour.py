"""A newcomer's first hour, step by step in an empty folder: seconds to the first words, first result, first rule.

    python benchmarks/first_hour.py --runs 1 --out benchmarks/results/first_hour

The steps are README's: help, a project, the doctor, the dry run, the study, then status, report and rules. Of each the
seconds until anything was said and until it ended; of the study also until the first training had finished and until
the first rule was looked at and adopted, as the database tells. Runs in the result file are kept, new ones added; with
two or more the table shows median and range. `--profile smoke`
walks the same steps in two minutes, with worthless results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import nas
from nas import storage

ROOT = Path(__file__).parent.parent
POLL_S = 0.5
STUDY = "studies/quickstart.yaml"


def steps(profile: str | None) -> list[tuple[str, list[str]]]:
    """What is typed, in order."""
    options = ["--profile", profile] if profile else []
    name = f"quickstart-{profile}" if profile else "quickstart"
    return [
        ("help", ["--help"]),
        ("init", ["init", "."]),
        ("doctor", ["doctor"]),
        ("dry run", ["run", STUDY, "--dry-run", *options]),
        ("run", ["run", STUDY, *options]),
        ("status", ["status", name]),
        ("report", ["report", name]),
        ("rules", ["rules", "show", name]),
    ]


def timed(words: list[str], folder: Path, watch: Callable[[float], None] | None = None) -> dict[str, Any]:
    """Runs one command; seconds since it was typed to its first byte of output and to its end, and its exit code."""
    begun = time.monotonic()
    command = [sys.executable, "-P", "-m", "nas", *words]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    stream = process.stdout
    said: list[float] = []

    def read() -> None:
        while stream.read1(4096):
            said.append(time.monotonic() - begun)

    reader = threading.Thread(target=read)
    reader.start()
    while process.poll() is None:
        if watch is not None:
            watch(time.monotonic() - begun)
        time.sleep(POLL_S if watch is not None else 0.02)
    whole = time.monotonic() - begun
    reader.join()
    if watch is not None:
        watch(whole)
    first = round(said[0], 2) if said else None
    return {"first_words_s": first, "whole_s": round(whole, 2), "exit_code": process.returncode}


class Milestones:
    """When the study's database first held a finished training, a rule that was looked at, and an adopted one."""

    def __init__(self, folder: Path) -> None:
        self.seen: dict[str, float] = {}
        self._folder = folder

    def __call__(self, now: float) -> None:
        for file in self._folder.glob("*.db"):
            try:
                with storage.open_database(f"sqlite:///{file}", create=False, read_only=True) as database:
                    self._look(storage.Repository(database), round(now, 1))
            except nas.NasError:
                continue  # it is being made

    def _look(self, repository: storage.Repository, now: float) -> None:
        for study in repository.studies():
            if repository.status(study.name)["trainings"]["finished"]:
                self.seen.setdefault("first_result_s", now)
            findings = repository.findings(study.id)
            if findings:
                self.seen.setdefault("first_rule_looked_at_s", now)
            if any(finding["verdict"] == "adopted" for finding in findings):
                self.seen.setdefault("first_rule_s", now)


def hour(profile: str | None) -> dict[str, Any]:
    """All steps once, in a folder of their own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found: dict[str, Any] = {}
        for name, words in steps(profile):
            milestones = Milestones(folder) if name == "run" else None
            found[name] = timed(words, folder, milestones) | (milestones.seen if milestones else {})
            print(name, found[name], flush=True)
        busy = round(os.getloadavg()[2], 1)
    return {"profile": profile or "", "steps": found, "load_15min": busy, "date": date.today().isoformat()}


def page(runs: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    """The result as Markdown."""
    spread = "median (smallest to largest)" if len(runs) > 1 else "one run, so the spread is not known"
    profiles = sorted({run["profile"] for run in runs})
    what = "the whole quickstart" if profiles == [""] else f"profile {', '.join(profiles)} of the quickstart"
    lines = [
        "# A newcomer's first hour",
        "",
        f"`benchmarks/first_hour.py`, {what}, {len(runs)} run{'s' if len(runs) > 1 else ''}; seconds, {spread}. "
        f"{machine['cores']} cores, {machine['processor']}, Python {machine['python']}, nas {machine['nas']}, "
        f"torch {machine['torch']}; load of the machine over the last 15 minutes: "
        f"{', '.join(str(run['load_15min']) for run in runs)}; {', '.join(run['date'] for run in runs)}.",
        "",
        "| step | first words | whole | exit code |",
        "|---|--:|--:|--:|",
    ]
    for name in runs[0]["steps"]:
        rows = [run["steps"][name] for run in runs]
        codes = ", ".join(str(code) for code in sorted({row["exit_code"] for row in rows}))
        lines.append(f"| {name} | {_told(rows, 'first_words_s')} | {_told(rows, 'whole_s')} | {codes} |")
    rows = [run["steps"]["run"] for run in runs]
    marks = {"first_result_s": "first result", "first_rule_looked_at_s": "first rule looked at"}
    marks["first_rule_s"] = "first rule adopted"
    lines += ["", "Of the study, seconds since it was started:", ""]
    lines += [f"- {words}: {_told(rows, key)}" for key, words in marks.items()]
    return "\n".join([*lines, ""])


def _told(rows: list[dict[str, Any]], key: str) -> str:
    known = [row[key] for row in rows if row.get(key) is not None]
    if not known:
        return "never"
    never = f", never in {len(rows) - len(known)}" if len(known) < len(rows) else ""
    ends = f" ({min(known):g} to {max(known):g})" if len(known) > 1 else ""
    return f"{median(known):g}{ends}{never}"


def main() -> None:
    """Adds runs to the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--profile")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "first_hour")
    given = parser.parse_args()
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    machine |= {"python": platform.python_version(), "nas": nas.__version__, "torch": version("torch")}
    file = given.out.with_suffix(".json")
    runs = json.loads(file.read_text())["runs"] if file.exists() else []
    for _ in range(given.runs):
        runs.append(hour(given.profile))
        file.write_text(json.dumps({"machine": machine, "runs": runs}, indent=1) + "\n")
        given.out.with_suffix(".md").write_text(page(runs, machine))


if __name__ == "__main__":
    main()
