"""How is input taken that is malformed, or odd, or from elsewhere? Tried at random and counted.

    python benchmarks/fuzz.py --out benchmarks/results/fuzz [--minutes 25] [--scale 1] [--only KIND ...]

Good is exit code 0, or 2 with a sentence, and nothing changed on disk; a traceback, exit code 1, a warning of Python or
a change is a complaint. Labelled sets (labels as text, boxes, pictures of every mode and depth), result tables,
weights, addresses and arguments from Python are also evaluated against what they mean by an independent reading in
loops (`tests/fuzz/meaning.py`): pixels, splits, who is who, mAP, values by candidate and seed, every parameter;
surroundings (no HOME, another user, read-only, C locale, stepped clock, full disk) against the results of an
undisturbed run. What is taken for something else than it means is a silent change. Other kinds (files in YAML, command
lines, databases, archives, checkpoints, image folders) are judged by how they are answered, not by what was made of
them.

Cases run in this process, in batches that are seeded by their number: a run that was cut off goes on where it was.
The tests of `tests/fuzz` are the short version. Exit code 1 when there is a complaint.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

sys.path.remove(str(Path(__file__).resolve().parent))  # where `fuzz` is this script
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from fuzz import harness, meaning, surroundings, texts
from fuzz import test_arguments as lines
from fuzz import test_data_folders as folders
from fuzz import test_meaning as meanings
from fuzz import test_stored_files as stored
from fuzz import test_yaml_files as written

BATCH = 20
Trial = Callable[["Bench", harness.Account, Path, int, int], object]


@dataclass
class Bench:
    """Good files that are damaged, made once, and the patches of this process."""

    root: Path
    patch: pytest.MonkeyPatch = field(default_factory=pytest.MonkeyPatch)

    @cached_property
    def sets(self) -> Path:
        """A good image set of each kind."""
        return folders.write_sets(self._new("sets"))

    @cached_property
    def database(self) -> Path:
        """A good database."""
        return stored.write_database(self._new("database"))

    @cached_property
    def archive(self) -> Path:
        """A good archive."""
        return stored.write_archive(self._new("archive"), self.database)

    @cached_property
    def checkpoint(self) -> Path:
        """A good checkpoint."""
        return stored.write_checkpoint(self._new("checkpoint"))

    @cached_property
    def right(self) -> list[Any]:
        """What the study of the surroundings gives undisturbed."""
        return surroundings.expected(self._new("right"))

    def _new(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir()
        return folder


def in_meaning(kind: str) -> Trial:
    """Cases that are compared with what they mean."""

    def trial(bench: Bench, account: harness.Account, folder: Path, cases: int, seed: int) -> None:
        meanings.try_cases(account, folder, meaning.CASES[kind], cases, seed)

    return trial


def in_yaml(texts: Callable[[], list[str]], act: written.Act) -> Trial:
    """Damaged files in YAML."""

    def trial(bench: Bench, account: harness.Account, folder: Path, cases: int, seed: int) -> None:
        written.damage(account, folder, texts(), act, cases, seed)

    return trial


def in_studies(bench: Bench, account: harness.Account, folder: Path, cases: int, seed: int) -> None:
    """Damaged study files, up to where work would begin."""
    with pytest.MonkeyPatch.context() as patch:
        written.make_cheap(folder, patch)
        written.damage(account, folder, written.studies(), written.read_study, cases, seed)


def in_folders(bench: Bench, account: harness.Account, folder: Path, cases: int, seed: int) -> None:
    """Damaged image folders."""
    with pytest.MonkeyPatch.context() as patch:
        harness.stop_before_work(patch)
        folders.try_folders(account, folder, bench.sets, cases, seed)


def in_surroundings(bench: Bench, account: harness.Account, folder: Path, cases: int, seed: int) -> None:
    """Real processes; each batch is one of the surroundings."""
    name = surroundings.NAMES[seed % len(surroundings.NAMES)]
    impossible = meaning.Judged(False, f"{name}: not tried, for it cannot be made here")
    for _ in range(cases):
        account.judge(name, lambda rng: surroundings.try_surroundings(name, bench.right) or impossible)


@dataclass(frozen=True)
class Kind:
    """What is tried: so many cases, in batches of so many."""

    cases: int
    trial: Trial
    evaluated: bool = False
    batch: int = BATCH


KINDS: dict[str, Kind] = {
    "labelled sets": Kind(2_600, in_meaning("labelled sets"), evaluated=True),
    "result tables": Kind(2_000, in_meaning("result tables"), evaluated=True),
    "Python entry points": Kind(2_000, in_meaning("Python entry points"), evaluated=True),
    "database addresses": Kind(1_600, in_meaning("database addresses"), evaluated=True),
    "weights": Kind(300, in_meaning("weights"), evaluated=True),
    "surroundings": Kind(len(surroundings.NAMES), in_surroundings, evaluated=True, batch=1),
    "space files": Kind(600, in_yaml(written.spaces, written.read_space)),
    "rules files": Kind(300, in_yaml(lambda: [texts.RULES_FILE], written.read_rules)),
    "recipe files": Kind(200, in_yaml(lambda: list(texts.RECIPE_FILES), written.read_recipe)),
    "study files": Kind(100, in_studies),
    "command lines": Kind(260, lambda _, *given: lines.try_arguments(*given)),
    "image folders": Kind(140, in_folders),
    "databases": Kind(80, lambda b, a, folder, *n: stored.try_databases(a, folder, b.database, *n)),
    "archives": Kind(60, lambda b, a, folder, *n: stored.try_archives(a, folder, (b.archive, b.database), *n)),
    "checkpoints": Kind(80, lambda b, a, folder, *n: stored.try_checkpoints(a, folder, b.checkpoint, *n)),
}
SEED = 100_000
"""Seeds of the batches begin here: the tests' own lie below."""


def try_batch(bench: Bench, name: str, number: int) -> dict[str, Any]:
    """One batch: its counts and complaints."""
    kind, account = KINDS[name], harness.Account(name)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=bench.root) as root, pytest.MonkeyPatch.context() as patch:
        folder = harness.own_folder(Path(root), patch)
        try:
            kind.trial(bench, account, folder, kind.batch, SEED + number)
        except Exception as error:
            account.complaints.append(f"batch {number} did not get to its end: {type(error).__name__}: {error}")
    return {
        "cases": account.cases,
        "accepted": account.answers[0],
        "refused": account.answers[2],
        "silent": account.silent,
        "complaints": account.complaints,
        "seconds": time.monotonic() - begun,
    }


def batches(scale: float) -> list[tuple[str, int]]:
    """All batches, so that every kind is as far as the others at any moment."""
    wanted = {name: max(1, round(kind.cases * scale / kind.batch)) for name, kind in KINDS.items()}
    numbered = [(number / count, name, number) for name, count in wanted.items() for number in range(count)]
    return [(name, number) for _, name, number in sorted(numbered)]


def machine() -> dict[str, Any]:
    """What the run depends on."""
    return {
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "pillow", "pandas", "SQLAlchemy", "ruamel.yaml")},
    }


def markdown(found: dict[str, Any]) -> str:
    """The result as a page."""
    facts = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    about = (__doc__ or "").split("\n\n", 2)[2].strip()
    head = ("kind", "cases", "accepted", "refused", "compared with their meaning", "silent changes", "complaints", "s")
    rows, complaints, total = [], [], dict.fromkeys(("cases", "accepted", "refused", "silent", "complaints"), 0)
    for name, kind in KINDS.items():
        done = list(found["batches"].get(name, {}).values())
        sums = {key: sum(row[key] for row in done) for key in ("cases", "accepted", "refused", "silent")}
        said = [text for row in done for text in row["complaints"]]
        complaints += [f"- {name}: {text.splitlines()[0][:300]}" for text in said]
        for key, value in {**sums, "complaints": len(said)}.items():
            total[key] += value
        cells = [name, sums["cases"], sums["accepted"], sums["refused"], "yes" if kind.evaluated else "no"]
        cells += [sums["silent"] if kind.evaluated else "", len(said), f"{sum(row['seconds'] for row in done):.0f}"]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    planned = sum(KINDS[name].batch for name, _ in batches(1))
    said = (
        f"{total['cases']} cases of {planned} planned: {total['accepted']} accepted, {total['refused']} refused, "
        f"{total['silent']} silent changes, {total['complaints']} complaints."
    )
    table = [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows]
    return "\n".join(["# Fuzz", "", facts, "", said, "", about, "", *table, "", *complaints, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="OUT.json and OUT.md; batches that are there stay")
    parser.add_argument("--minutes", type=float, default=25.0, help="no batch begins after that")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times the cases")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND")
    options = parser.parse_args()
    path = options.out.with_suffix(".json")
    known = json.loads(path.read_text())["batches"] if path.exists() else {}
    until = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="nas-fuzz-") as root, pytest.MonkeyPatch.context() as patch:
        harness.build_once(patch)
        patch.setenv("NAS_LOCKS", f"{root}/locks")
        bench = Bench(Path(root))
        for name, number in batches(options.scale):
            if name not in options.only or str(number) in known.get(name, {}):
                continue
            if time.monotonic() > until:
                break
            row = try_batch(bench, name, number)
            known.setdefault(name, {})[str(number)] = row
            for text in row["complaints"]:
                print(f"{name}: {text}", flush=True)
            found = {"machine": machine(), "batches": known}
            path.write_text(json.dumps(found, indent=1) + "\n")
            options.out.with_suffix(".md").write_text(markdown(found))
    rows = [row for done in known.values() for row in done.values()]
    print(f"{sum(row['cases'] for row in rows)} cases, {sum(len(row['complaints']) for row in rows)} complaints")
    raise SystemExit(any(row["complaints"] for row in rows))


if __name__ == "__main__":
    main()
