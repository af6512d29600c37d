"""How often does a confirmation reject a child as good as its parent, and how often a worse one?

    python benchmarks/confirmation.py --out benchmarks/results/confirmation

Errors of fresh draws are made up: normal, skewed (gamma, shape 4), or with failures (one in ten); with latencies or
without. `rejected`: share of neutral shrinks that are rejected, which `alpha` = 5 % bounds. `covers`: how often the
area's 95 % interval holds the true area (not for failures, whose area has no such value). `power`: share of children
that are worse by one standard deviation of the draws that are rejected.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.shrinking.confirmation import compare_draws
from nas.shrinking.draws import Draws

Floats = npt.NDArray[np.float64]
SD = 0.002


def normal(rng: np.random.Generator, n: int) -> Floats:
    return rng.normal(0.13, SD, n)


def skewed(rng: np.random.Generator, n: int) -> Floats:
    return 0.13 + rng.gamma(4.0, SD / 2, n)


def failing(rng: np.random.Generator, n: int) -> Floats:
    return np.where(rng.random(n) < 0.1, np.inf, normal(rng, n))


SHAPES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": normal,
    "skewed": skewed,
    "failing": failing,
}


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    shape: str
    draws: int
    timed: bool
    rejected: float
    covers: float | None
    power: float


def study(shape: str, draws: int, timed: bool, studies: int) -> Row:
    """Simulated confirmations of one kind."""
    rng = np.random.default_rng([draws, timed, len(shape)])
    rejected, covers, worse = [], [], []
    for seed in range(studies):
        sides = [SHAPES[shape](rng, draws) for _ in range(2)]
        ms = [rng.uniform(30, 40, draws) if timed else np.full(draws, np.nan) for _ in range(2)]
        neutral = compare_draws(*map(Draws, sides, ms), seed=seed)
        harmed = compare_draws(Draws(sides[0], ms[0]), Draws(sides[1] + SD, ms[1]), seed=seed)
        low, high = (neutral.latency_low, neutral.latency_high) if timed else (neutral.low, neutral.high)
        rejected.append(not neutral.accepted)
        covers.append(low is not None and high is not None and low <= 0 <= high)
        worse.append(not harmed.accepted)
    held = None if shape == "failing" else float(np.mean(covers))
    return Row(shape, draws, timed, float(np.mean(rejected)), held, float(np.mean(worse)))


def report(rows: list[Row], command: str, studies: int) -> str:
    """The table as Markdown."""
    lines = [
        "# Confirmation",
        "",
        f"`{command}`, Python {platform.python_version()}, numpy {version('numpy')}, scipy {version('scipy')}; "
        f"{studies} simulated confirmations a row (standard error of a share of 5 %: {(0.0475 / studies) ** 0.5:.1%}).",
        "",
        "| draws are | of each side | at comparable latency | rejected | covers | power |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        covers = "-" if row.covers is None else f"{row.covers:.1%}"
        cells = [
            row.shape,
            str(row.draws),
            "yes" if row.timed else "no",
            f"{row.rejected:.1%}",
            covers,
            f"{row.power:.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000, help="simulated confirmations a row")
    parser.add_argument("--out", type=Path, help="writes OUT.md")
    given = parser.parse_args()
    kinds = [(shape, draws, False) for shape in SHAPES for draws in (6, 12, 24)]
    kinds += [(shape, draws, True) for shape in ("normal", "failing") for draws in (12, 24)]
    rows = [study(*kind, given.studies) for kind in kinds]
    text = report(rows, f"python benchmarks/confirmation.py --studies {given.studies}", given.studies)
    print(text)
    if given.out:
        given.out.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
