"""A training step and an evaluation beside those of another version, in one run: is anything slower than it was?

    git worktree add ../before 83c12c3            # the version before the work on GPUs
    python benchmarks/beside.py ../before --out benchmarks/results/beside

Each version runs in a process of its own, with its own sources and this Python; the two are asked in turn, who is first
changing every round, so that a change of the machine's speed meets both. Given is the median of the rounds' ratios, new
by old, with quartiles and range. Steps are those of `benchmarks/training_step.py` (batches from the packed store,
augmentation, losses watched); the evaluation has Market-1501's size (3 368 x 15 913 x 2 048), and both must find the
same mAP to the last digit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parent.parent
STEPS = 8
"""Steps of a round: about half a second, shorter than the spells in which a shared machine is slow."""


def child(root: Path, threads: int) -> None:
    """Answers each line `step CASE` or `evaluate` with seconds and, of an evaluation, the mAP."""
    sys.path[:0] = [str(root), str(root / "benchmarks")]
    import numpy as np
    import torch
    import training_step

    import nas
    from nas.retrieval import evaluate

    assert Path(nas.__file__).is_relative_to(root), f"{nas.__file__} is not of {root}"
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(750, 2048)).astype("float32")
    sides = []
    for count in (3368, 15913):
        identities = rng.integers(0, 750, count)
        features = centres[identities] + 2 * rng.normal(size=(count, 2048)).astype("float32")
        sides += [features, identities, rng.integers(0, 6, count)]
    with (
        tempfile.TemporaryDirectory() as cache,
        training_step.reproducible(0, torch.device("cpu"), deterministic=True),
    ):
        subjects = [training_step.Subject(case, "cpu", 128, Path(cache)) for case in training_step.CPU_CASES]
        print(json.dumps([subject.case.label for subject in subjects]), flush=True)
        for line in sys.stdin:
            what, _, number = line.strip().partition(" ")
            if what == "step":
                subject = subjects[int(number)]
                told = [subject.seconds(subject.own_step, STEPS), None]
            else:
                begun = time.perf_counter()
                found = evaluate(*sides).map
                told = [time.perf_counter() - begun, float(found)]
            print(json.dumps(told), flush=True)


class Version:
    """One version's process."""

    def __init__(self, root: Path, threads: int) -> None:
        command = [sys.executable, __file__, str(root.resolve()), "--child", "--threads", str(threads)]
        environment = dict(os.environ, PYTHONPATH=str(root.resolve()))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.cases: list[str] = self._answer()

    def ask(self, line: str) -> tuple[float, float | None]:
        """Seconds and mAP."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        seconds, found = self._answer()
        return seconds, found

    def _answer(self) -> list:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended")  # type: ignore[arg-type]
        return json.loads(line)


def compared(old: Version, new: Version, line: str, rounds: int) -> dict[str, float]:
    """Medians in milliseconds, and the ratio new by old."""
    times: list[tuple[float, float]] = []
    for number in range(-1, rounds):
        sides = (old, new) if number % 2 else (new, old)
        told = {id(side): side.ask(line) for side in sides}
        (before, was), (now, found) = told[id(old)], told[id(new)]
        if was != found:
            raise SystemExit(f"{line}: mAP {was!r} in the old version, {found!r} in the new one")
        if number >= 0:  # the first round warms up
            times.append((before, now))
    ratios = sorted(now / before for before, now in times)
    low, middle, high = quantiles(ratios, n=4)
    return {
        "old_ms": 1e3 * median(before for before, _ in times),
        "new_ms": 1e3 * median(now for _, now in times),
        "ratio": middle,
        "q1": low,
        "q3": high,
        "least": ratios[0],
        "most": ratios[-1],
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="a checkout of the other version")
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.other, arguments.threads)
        return
    old, new = Version(arguments.other, arguments.threads), Version(ROOT, arguments.threads)
    lines = {f"step, {case}": f"step {number}" for number, case in enumerate(new.cases)}
    rows = {
        name: compared(old, new, line, arguments.rounds)
        for name, line in {**lines, "evaluation, Market-1501's size": "evaluate"}.items()
    }
    commits = [_commit(arguments.other), _commit(ROOT)]
    machine = (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {arguments.threads} threads, load "
        f"{os.getloadavg()[0]:.1f} at the end, torch {version('torch')}, {date.today().isoformat()}"
    )
    page = [
        "# A training step and an evaluation beside another version",
        "",
        f"{commits[1]} beside {commits[0]}, in turn in one run; {machine}.",
        "",
        "| | old, ms | new, ms | new / old [quartiles] | range | rounds |",
        "|---|--:|--:|---|---|--:|",
        *(
            f"| {name} | {row['old_ms']:.1f} | {row['new_ms']:.1f} | {row['ratio']:.3f} [{row['q1']:.3f}, "
            f"{row['q3']:.3f}] | {row['least']:.2f} to {row['most']:.2f} | {row['rounds']} |"
            for name, row in rows.items()
        ),
        "",
        "Both versions found the same mAP, to the last digit, in every evaluation.",
        "",
    ]
    print("\n".join(page))
    if arguments.out:
        arguments.out.with_suffix(".md").write_text("\n".join(page))
        told = {"versions": commits, "machine": machine, "rows": rows}
        arguments.out.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")


def _commit(root: Path) -> str:
    command = ["git", "-C", str(root), "log", "-1", "--format=%h of %as"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
