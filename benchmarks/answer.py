"""Does a study's answer keep its word? Simulated studies, both halves.

    OMP_NUM_THREADS=1 python benchmarks/answer.py --studies 1000 --out benchmarks/results/answer

Each study trains its placements and the plain network in the same seeds: score + the seed's shift + noise, with the sds
seen on real fine-tunings (.0020 for one training beside others of its seed, .01 for a seed). *Null*: nothing matters; a
study that names a placement as better is wrong, and at most 5 % may be. *Visible*: one placement is as good as
`nas.results.power` says that the design sees with 80 % power; a study is right when it names it, or another one that it
does not tell apart from it, and at least 80 % must be.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from nas.results.answer import Answer, answer_of
from nas.results.power import ComparisonDesign, visible_difference

PLAIN = "resnet50"
SINGLE_SD, SHARED_SD = 0.0020, 0.010
DESIGNS = (ComparisonDesign(5, 3),)


@dataclass(frozen=True)
class Row:
    """What one design's studies said.

    Attributes:
        candidates, seeds, control: the design.
        visible: difference that it sees with 80 % power, mAP.
        studies: how many were simulated of each half.
        false: share of null studies that name a placement as better.
        right: share of the others that name the good placement or one not told apart from it.
        false_low, false_high, right_low, right_high: 95 % intervals (Wilson).
    """

    candidates: int
    seeds: int
    control: int
    visible: float
    studies: int
    false: float
    false_low: float
    false_high: float
    right: float
    right_low: float
    right_high: float


def simulated(design: ComparisonDesign, gain: float, rng: np.random.Generator) -> tuple[pd.DataFrame, str]:
    """A confirm stage of that design, and the name of the placement that is better by `gain`."""
    names = [f"resnet50+{block}@{site}" for block in ("se", "hac") for site in range(1, 18)][: design.candidates]
    shift = rng.normal(0.0, SHARED_SD, design.blocks)
    runs = [*((name, gain if i == 0 else 0.0) for i, name in enumerate(names)), *[(PLAIN, 0.0)] * design.control]
    rows = [
        (name, seed, 0.64 + effect + shift[seed] + rng.normal(0.0, SINGLE_SD))
        for name, effect in runs
        for seed in range(design.blocks)
    ]
    table = pd.DataFrame(rows, columns=["notation", "seed", "map"])
    return table.assign(status="finished", stage_kind="confirm", split="test", fidelity="e60", epochs=60), names[0]


def names(found: Answer, wanted: str) -> bool:
    """Whether an answer names a placement, or says that another one is not told apart from it."""
    return found.kind == "better" and wanted in (found.named, *found.equal)


def said(design: ComparisonDesign, gain: float, studies: int, seed: int) -> Iterator[tuple[Answer, str]]:
    """The answers of simulated studies, and the good placement of each."""
    rng = np.random.default_rng(seed)
    for _ in range(studies):
        table, good = simulated(design, gain, rng)
        yield answer_of(table), good


def measure(design: ComparisonDesign, studies: int, seed: int) -> Row:
    """Both halves for one design."""
    visible = visible_difference(SINGLE_SD, design)
    false = sum(found.kind == "better" for found, _ in said(design, 0.0, studies, seed))
    right = sum(names(found, good) for found, good in said(design, visible, studies, seed + 1))
    ends = [binomtest(count, studies).proportion_ci(method="wilson") for count in (false, right)]
    return Row(
        design.candidates,
        design.blocks,
        design.control,
        visible,
        studies,
        false / studies,
        ends[0].low,
        ends[0].high,
        right / studies,
        ends[1].low,
        ends[1].high,
    )


def markdown(rows: list[Row]) -> str:
    """The table with what it means."""
    lines = [
        "# The answer of simulated studies",
        "",
        (__doc__ or "").split("\n\n", 2)[2].strip().replace("\n", " "),
        "",
        f"{date.today().isoformat()}.",
        "",
        "| placements | seeds | controls a seed | seen with 80 % power, mAP | studies a half | null: names one | "
        "visible: names it |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {r.candidates} | {r.seeds} | {r.control} | {r.visible:.4f} | {r.studies} "
        f"| {r.false:.1%} [{r.false_low:.1%}, {r.false_high:.1%}] "
        f"| {r.right:.1%} [{r.right_low:.1%}, {r.right_high:.1%}] |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="of each half and design")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="writes OUT.md and OUT.json")
    arguments = parser.parse_args()
    rows = [measure(design, arguments.studies, arguments.seed + 10 * i) for i, design in enumerate(DESIGNS)]
    text = markdown(rows)
    print(text)
    if arguments.out is not None:
        data = {"date": date.today().isoformat(), "rows": [asdict(row) for row in rows]}
        arguments.out.with_suffix(".md").write_text(text, encoding="utf-8")
        arguments.out.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
