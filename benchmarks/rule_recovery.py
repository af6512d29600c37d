"""Are planted rules found, and nothing else? Recall and false discoveries of shrinking, by family and budget.

    python benchmarks/rule_recovery.py --out benchmarks/results/rule_recovery
    python benchmarks/rule_recovery.py --log studies.jsonl --budgets 400      # goes on where it was cut off
    python benchmarks/rule_recovery.py --log studies.jsonl --logged --out ... # what the log holds, nothing is run

Landscapes are drawn by `nas.testing.planting`, what counts as found, missed or false is defined in
`nas.testing.planted`. The budget counts all trainings, those of the confirmation too. Methods:

- `one sweep`: a sweep stratified by number of blocks, every tenth candidate twice; all families; confirmation on
  fresh draws from parent and child, together an eighth of the budget.
- `by hand`: the stages of the example study: all single placements first, shrink, then two and more blocks, shrink;
  each shrink at half the false discovery rate.
- `auto`: `shrink: auto` (`nas.shrinking.auto`).
- `as published`: good ranges of the winners of resamples of 25 %, applied without a test or a confirmation.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from nas.shrinking import confirm, confirmed_findings, derive_findings, propose_child
from nas.shrinking.auto import AutoSettings, RoundOutcome, next_step
from nas.shrinking.draws import fresh_draws
from nas.spaces import Candidate, DesignSpace, EmptySpaceError, Finding, Rule
from nas.testing.landscapes import Landscape, landscape_table
from nas.testing.planted import Truth
from nas.testing.planting import KINDS, draw_landscape, planted_space
from nas.testing.published import published_rules

TARGETS = ("sites", "distance", "count", "block_preference")
FAMILIES = (*TARGETS, "stage_ends", "mix", "distinct_stages", "hyperparameters")
CONFIRM = 24
LEAST_CONFIRM = 6
PUBLISHED_NULLS = 10
"""Null studies of the published method: all of them adopt something."""
BASELINE_SEEDS = 3


@dataclass(frozen=True)
class Study:
    """One study of a benchmark: which landscape, which method, how many trainings."""

    kind: str
    method: str
    budget: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What a study adopted, held against the truth."""

    kind: str
    method: str
    budget: int
    seed: int
    trainings: int
    adopted: int
    undone: bool
    false_share: float
    claims: dict[str, int]
    false: dict[str, int]
    wanted: dict[str, int]
    found: dict[str, int]
    rules: list[str]
    gain: float
    seconds: float


class Bench:
    """Trains on a landscape and counts what it costs."""

    def __init__(self, landscape: Landscape, space: DesignSpace, seed: int) -> None:
        self.landscape, self.space, self.rng = landscape, space, np.random.default_rng([seed, 77])
        self.used, self.fresh = 0, 1000

    def train(self, candidates: list[Candidate], seeds: Sequence[int] = (0,)) -> pd.DataFrame:
        """Trains each candidate with each seed; as in a study, sweeps and baselines share theirs."""
        table = landscape_table(self.landscape, candidates, seeds, first_id=self.used + 1)
        self.used += len(table)
        return table

    def sweep(self, space: DesignSpace, trainings: int, blocks: list[int] | None = None) -> pd.DataFrame:
        """A stratified sweep; every tenth candidate is trained twice, which tells the seed noise."""
        numbers = [b for b in space.size_by_blocks() if b > 0] if blocks is None else blocks
        most = sum(space.size_by_blocks().get(b, 0) for b in numbers) if not space.continuous else trainings
        candidates = space.stratified(min(int(trainings / 1.1), most), self.rng, numbers)
        order = self.rng.permutation(len(candidates))
        again = [candidates[i] for i in order[: min(trainings - len(candidates), len(candidates))]]
        return pd.concat([self.train(candidates), self.train(again, (1,))] if again else [self.train(candidates)])

    def baseline(self) -> pd.DataFrame:
        """The backbone without blocks."""
        return self.train(self.space.baselines(), range(BASELINE_SEEDS))

    def draws(self, n: int, *spaces: DesignSpace) -> list[pd.DataFrame]:
        """Fresh draws from each space, uniform at each number of blocks, in one seed that no sweep has."""
        self.fresh += 1
        return [self.train(fresh_draws(space, n, self.rng), (self.fresh,)) for space in spaces]


def shrink(
    bench: Bench, table: pd.DataFrame, space: DesignSpace, seed: int, draws: int = CONFIRM, **options: Any
) -> tuple[list[Finding], DesignSpace, pd.DataFrame, bool]:
    """Derives, proposes, confirms: findings after confirmation, the space left, the fresh rows, and whether undone."""
    findings = derive_findings(table, space, seed=seed, **options)
    child = propose_child(space, findings)
    if child is None:
        return findings, space, table.iloc[:0], False
    parent_rows, child_rows = bench.draws(draws, space, child)
    decision = confirm(parent_rows, child_rows, seed=seed)
    fresh = pd.concat([parent_rows, child_rows]).assign(stage_kind="shrink")
    kept = child if decision.accepted else space
    return confirmed_findings(findings, decision), kept, fresh, not decision.accepted


def fresh_size(budget: int) -> int:
    """Fresh draws from each side of a confirmation: an eighth of the budget together."""
    return int(np.clip(budget // 16, LEAST_CONFIRM, CONFIRM))


def one_sweep(bench: Bench, budget: int, seed: int) -> tuple[list[Rule], bool]:
    """Everything in one sweep and one shrink."""
    draws = fresh_size(budget)
    table = pd.concat([bench.baseline(), bench.sweep(bench.space, budget - 2 * draws - BASELINE_SEEDS)])
    findings, _, _, undone = shrink(bench, table, bench.space, seed, draws)
    return [f.rule for f in findings if f.adopted], undone


def by_hand(bench: Bench, budget: int, seed: int) -> tuple[list[Rule], bool]:
    """Single placements first, then several blocks: the stages of the example study."""
    singles = list(bench.space.enumerate(1)) if not bench.space.continuous else bench.space.sample(68, 1, 1)
    per_stage = 12
    seeds = max(1, min(3, (budget // 2) // len(singles)))
    table = pd.concat([bench.baseline(), bench.train(singles, range(seeds))])
    first, space, fresh, undone_first = shrink(
        bench, table, bench.space, seed, per_stage, families=["sites", "stage_ends", "block_preference"], alpha=0.025
    )
    rest = max(20, budget - bench.used - 2 * per_stage)
    several = [b for b in space.size_by_blocks() if b > 1]
    table = pd.concat([table, fresh, bench.sweep(space, rest, several or None)])
    families = ["distance", "distinct_stages", "mix", "count", "hyperparameters"]
    second, _, _, undone = shrink(bench, table, space, seed + 1, per_stage, families=families, alpha=0.025)
    return [f.rule for f in (*first, *second) if f.adopted], undone_first or undone


def auto(bench: Bench, budget: int, seed: int) -> tuple[list[Rule], bool]:
    """`shrink: auto`."""
    settings, space, rounds = AutoSettings(trainings=budget), bench.space, []
    table, adopted, undone = bench.baseline(), {}, False
    while True:
        step = next_step(space, rounds, settings, spent_trainings=bench.used)
        if step.kind == "stop":
            return list(adopted), undone
        before = bench.used
        table = pd.concat([table, bench.sweep(space, step.candidates + step.replicated)])
        findings, space, fresh, fell = shrink(
            bench, table, space, seed + len(rounds), step.draws, families=step.families, alpha=step.alpha
        )
        table, undone = pd.concat([table, fresh]), undone or fell
        rounds.append(RoundOutcome(bench.used - before, tuple(findings), step.alpha))
        adopted |= {finding.rule: finding for finding in findings if finding.adopted}


def as_published(bench: Bench, budget: int, seed: int) -> tuple[list[Rule], bool]:
    """Good ranges of the winners, applied as they are."""
    table = pd.concat([bench.baseline(), bench.sweep(bench.space, budget - BASELINE_SEEDS)])
    return published_rules(table, bench.space), False


METHODS: dict[str, Callable[[Bench, int, int], tuple[list[Rule], bool]]] = {
    "one sweep": one_sweep,
    "by hand": by_hand,
    "auto": auto,
    "as published": as_published,
}


def run(study: Study) -> Outcome:
    """One study from landscape to score."""
    start = time.perf_counter()
    landscape, space = draw_landscape(study.kind, study.seed), planted_space(study.kind)
    bench = Bench(landscape, space, study.seed)
    rules, undone = METHODS[study.method](bench, study.budget, study.seed)
    score = Truth(landscape, space).score(rules)
    return Outcome(
        **asdict(study),
        trainings=bench.used,
        adopted=len(rules),
        undone=undone,
        false_share=score.false_share,
        claims=dict(score.claims),
        false=dict(score.false),
        wanted=dict(score.wanted),
        found=dict(score.found),
        rules=[rule.sentence() for rule in rules],
        gain=true_gain(landscape, space, rules),
        seconds=time.perf_counter() - start,
    )


def true_gain(landscape: Landscape, space: DesignSpace, rules: list[Rule], draws: int = 100) -> float:
    """Mean true mAP of uniform draws from what the constraints leave, minus the parent's at equal numbers of blocks."""
    hard = [rule for rule in rules if rule.is_hard]
    if not hard:
        return 0.0
    try:
        child = space.restrict(hard)
    except EmptySpaceError:
        return float("nan")
    rng = np.random.default_rng(0)
    inside = child.sample(draws, rng, distinct=False)
    counts = Counter(len(candidate.placements) for candidate in inside)
    beside = [c for k, n in counts.items() for c in space.sample(n, rng, blocks=k, distinct=False)]
    return float(landscape.true_map(inside).mean() - landscape.true_map(beside).mean())


def studies(kinds: list[str], methods: list[str], budgets: list[int], seeds: int, null_seeds: int) -> Iterator[Study]:
    """All studies of a benchmark."""
    for budget, method, kind in product(budgets, methods, kinds):
        n = seeds if not kind.startswith("null") else PUBLISHED_NULLS if method == "as published" else null_seeds
        yield from (Study(kind, method, budget, seed) for seed in range(n))


def interval(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    low, high = proportion_confint(hits, n, method="wilson")
    return float(low), float(high)


def grouped(outcomes: list[Outcome], *keys: str) -> Iterator[tuple[tuple[Any, ...], list[Outcome]]]:
    """Outcomes by some of their fields, in the order they come."""
    values = [tuple(getattr(o, key) for key in keys) for o in outcomes]
    for wanted in dict.fromkeys(values):
        yield wanted, [o for o, value in zip(outcomes, values, strict=True) if value == wanted]


def null_cell(group: list[Outcome]) -> list[str]:
    """Share of null studies with any rule."""
    hits, n = sum(o.adopted > 0 for o in group), len(group)
    low, high = interval(hits, n)
    return [str(n), f"{hits / n:.1%}", f"{low:.1%} - {high:.1%}"]


def planted_cell(group: list[Outcome]) -> list[str]:
    """Recall and false claims by family, mean share of false claims a study, and shrinks undone."""
    shares = np.array([o.false_share for o in group])
    error = shares.std(ddof=1) / len(shares) ** 0.5 if len(shares) > 1 else float("nan")
    undone = sum(o.undone for o in group)
    families = [family_cell(group, family) for family in FAMILIES]
    gain = np.nanmean([o.gain for o in group])
    return [str(len(group)), *families, f"{shares.mean():.1%} ± {error:.1%}", f"{gain:+.4f}", str(undone)]


def family_cell(group: list[Outcome], family: str) -> str:
    """Recall of a family over all studies, and false claims / claims."""
    wanted, found, false, claims = (
        sum(getattr(o, name).get(family, 0) for o in group) for name in ("wanted", "found", "false", "claims")
    )
    return f"{f'{found / wanted:.2f}' if wanted else '-'} ({false}/{claims})"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def report(outcomes: list[Outcome], command: str) -> str:
    """The whole as Markdown."""
    null = [o for o in outcomes if o.kind.startswith("null")]
    planted = [o for o in outcomes if not o.kind.startswith("null")]
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "pandas"))
    by_null = ["studies", "with any rule", "95 % interval"]
    by_planted = ["studies", *FAMILIES, "false share", "gain", "undone"]
    cells = [
        ("Null landscapes, all kinds together", null, ["method", "budget"], by_null, null_cell),
        ("Planted landscapes, all kinds together", planted, ["method", "budget"], by_planted, planted_cell),
        ("Null landscapes", null, ["kind", "method", "budget"], by_null, null_cell),
        ("Planted landscapes", planted, ["kind", "method", "budget"], by_planted, planted_cell),
    ]
    lines = [HEAD.format(command=command, date=date.today(), python=platform.python_version(), versions=versions)]
    for title, part, keys, head, cell in cells:
        if part:
            rows = [[*map(str, key), *cell(group)] for key, group in grouped(part, *keys)]
            lines += [f"## {title}", "", *table([*keys, *head], rows), ""]
    return "\n".join(lines)


HEAD = """# Rule recovery

`{command}`, {date}, Python {python}, {versions}, one core a study.

Landscapes: `nas/testing/planting.py`; what a claim is, and when it is true, false or to be found:
`nas/testing/planted.py`. Budgets count all trainings, those of the confirmation too. Null landscapes: studies that
adopt any rule. Planted landscapes: recall by family over all claims to be found, and in brackets false claims / claims;
`false share` is the mean over studies of false claims / claims, ± its standard error; `gain`: mean true mAP of what
the constraints leave minus that of the parent, at equal numbers of blocks; `undone`: studies with a shrink that the
confirmation rejected.
"""


def read_done(path: Path) -> dict[Study, Outcome]:
    """Studies finished by an earlier, interrupted run."""
    if not path.exists():
        return {}
    outcomes = [Outcome(**json.loads(line)) for line in path.read_text().splitlines()]
    return {Study(o.kind, o.method, o.budget, o.seed): o for o in outcomes}


def logged(path: Path) -> list[Outcome]:
    """All studies of a log, in the order of the tables."""
    places = {name: i for i, name in enumerate((*KINDS, *METHODS))}
    return sorted(read_done(path).values(), key=lambda o: (places[o.method], o.budget, places[o.kind], o.seed))


def run_all(todo: list[Study], processes: int, log: Path | None) -> list[Outcome]:
    """All studies; finished ones are kept in `log`, so that an interrupted run goes on where it was."""
    done = read_done(log) if log else {}
    left = [study for study in todo if study not in done]
    with ProcessPoolExecutor(processes) as pool:
        for study, outcome in zip(left, pool.map(run, left, chunksize=2), strict=True):
            done[study] = outcome
            if log:
                with log.open("a") as stream:
                    stream.write(json.dumps(asdict(outcome)) + "\n")
    return [done[study] for study in todo]


def summary(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """Cells as plain data, with every study that claimed something false."""
    cells = []
    for key, group in grouped(outcomes, "kind", "method", "budget"):
        totals = {
            name: {f: sum(getattr(o, name).get(f, 0) for o in group) for f in FAMILIES}
            for name in ("claims", "false", "wanted", "found")
        }
        wrong = [{"seed": o.seed, "false": o.false, "rules": o.rules} for o in group if o.false]
        shares = [round(o.false_share, 4) for o in group]
        cells.append(
            dict(zip(("kind", "method", "budget"), key, strict=True))
            | {
                "studies": len(group),
                "adopting": sum(o.adopted > 0 for o in group),
                "undone": sum(o.undone for o in group),
            }
            | totals
            | {"false_shares": shares, "wrong": wrong if key[1] != "as published" else []}
        )
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--budgets", nargs="+", type=int, default=[100, 200, 400])
    parser.add_argument("--seeds", type=int, default=20, help="studies a planted cell")
    parser.add_argument("--null-seeds", type=int, default=60, help="studies a null cell")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="writes OUT.md and OUT.json")
    parser.add_argument("--log", type=Path, help="keeps finished studies, one a line; an interrupted run goes on")
    parser.add_argument("--logged", action="store_true", help="reports all studies of the log and runs none")
    given = parser.parse_args()
    todo = list(studies(given.kinds, given.methods, given.budgets, given.seeds, given.null_seeds))
    outcomes = logged(given.log) if given.logged else run_all(todo, given.processes, given.log)
    text = report(outcomes, "python benchmarks/rule_recovery.py " + options(given))
    print(text)
    if given.out:
        given.out.with_suffix(".md").write_text(text)
        given.out.with_suffix(".json").write_text(json.dumps(summary(outcomes), indent=1) + "\n")


def options(given: argparse.Namespace) -> str:
    """The options that decide the numbers, as typed."""
    if given.logged:
        return "--log studies.jsonl --logged"
    shown = {"seeds": given.seeds, "null-seeds": given.null_seeds, "budgets": given.budgets}
    if given.kinds != list(KINDS):
        shown["kinds"] = given.kinds
    if given.methods != list(METHODS):
        shown["methods"] = [f"'{name}'" for name in given.methods]
    return " ".join(f"--{k} {' '.join(map(str, v)) if isinstance(v, list) else v}" for k, v in shown.items())


if __name__ == "__main__":
    main()
