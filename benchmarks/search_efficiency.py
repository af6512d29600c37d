"""How good is the front after so many trainings? Our default strategy beside Optuna's samplers.

    python benchmarks/search_efficiency.py --out benchmarks/results/search_efficiency
    python benchmarks/search_efficiency.py --variants --seeds 3 --trainings 50 100 --out ...
    python benchmarks/search_efficiency.py --table results.csv --space space.yaml
    python benchmarks/search_efficiency.py --overhead 1000
    python benchmarks/search_efficiency.py --quick

Trainings are single and noisy; fronts are scored by true means: hypervolume (moocore) as a share of that of the best
front a local search on the true values finds. Two scores:

- `reached`: the front of the true means of everything trained;
- `chosen`: the true means of those that a person would take, the front of the noisy values.

All strategies see the same space through `nas.search.proposals.propose`, four proposals at a time, so every proposal
is feasible and new. Optuna's samplers without that would not get anywhere here: one suggestion in some 100 000 has few
enough blocks. `--overhead` runs a search through ask and tell, as a program that holds the loop does, and tells what
each training costs beside the sampler's own proposal. With `--log` a run that was cut off goes on where it was. Seconds
are CPU seconds of this process.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import moocore
import numpy as np
import pandas as pd
from search_tasks import TASKS, Task, table_task
from search_variants import VARIANTS
from threadpoolctl import threadpool_limits

import nas
from nas.search import proposals
from nas.search.mirror import Mirror
from nas.search.proposals import SAMPLERS, Observation, Proposal, Request, propose
from nas.search.stages import search as search_stage
from nas.spaces import DesignSpace

BATCH = 4
OURS = "placement"
RIVALS = ("random", "tpe", "nsga2", "gp")
AIM_MS = 20  # of ask and tell, at a thousand trainings
SLOW = {"gp": 200}  # most trainings: a proposal takes a second

Strategy = Callable[[Request], list[Proposal]]


@dataclass(frozen=True)
class Score:
    """One strategy on one task after so many trainings.

    Attributes:
        task, seed: which landscape.
        strategy: who searched.
        trainings: how many were spent.
        reached, chosen: shares of the best hypervolume.
        seconds_each: CPU seconds a proposal, the mean so far.
    """

    task: str
    seed: int
    strategy: str
    trainings: int
    reached: float
    chosen: float
    seconds_each: float


def run(task: Task, name: str, strategy: Strategy, checkpoints: Sequence[int], batch: int = BATCH) -> Iterator[Score]:
    """Searches a task in batches and scores it on the way. Who proposes a candidate again trains it again."""
    done: dict[str, tuple[Proposal, list[float | None]]] = {}
    spent, number, trainings = 0.0, 0, 0

    def cost(candidate: object) -> float:
        return float(task.cost_ms([candidate])[0])  # type: ignore[list-item]

    while trainings < checkpoints[-1]:
        history = observed(done.values(), cost)
        start = time.process_time()
        found = strategy(Request(task.space, history, batch, task.seed, number, cost, noise=task.seed_sd))
        spent += time.process_time() - start
        number += 1
        for proposal in found:
            _, values = done.setdefault(proposal.candidate.id, (proposal, []))
            values.append(task.train(proposal.candidate, len(values)))
            trainings += 1
            if trainings in checkpoints:
                shares = scores(task, observed(done.values(), cost))
                yield Score(task.name, task.seed, name, trainings, *shares, spent / trainings)
        if not found:
            return


def observed(
    done: Iterable[tuple[Proposal, list[float | None]]], cost: Callable[[object], float]
) -> tuple[Observation, ...]:
    """One observation a candidate, with the mean of its trainings."""
    found = []
    for proposal, values in done:
        maps = [value for value in values if value is not None]
        mean = float(np.mean(maps)) if maps else None
        found.append(Observation(proposal.candidate, mean, cost(proposal.candidate), len(maps), proposal.attrs))
    return tuple(found)


def scores(task: Task, history: Sequence[Observation]) -> tuple[float, float]:
    """Hypervolumes of everything trained and of the noisy front, by true means, as shares of the best."""
    done = [o for o in history if o.map is not None]
    truth, costs = task.worth([o.candidate for o in done]), task.cost_ms([o.candidate for o in done])
    noisy = np.array([o.map for o in done], dtype=np.float64)
    keep = moocore.is_nondominated(np.column_stack([-noisy, costs]))
    return task.hypervolume(truth, costs) / task.best, task.hypervolume(truth[keep], costs[keep]) / task.best


# The plan ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What is compared: strategies with their numbers of seeds, tasks, and after how many trainings."""

    seeds: dict[str, int]
    tasks: dict[str, Callable[[int], Task]]
    trainings: tuple[int, ...]
    long_seeds: int

    def jobs(self) -> Iterator[tuple[str, int, str, tuple[int, ...]]]:
        """Task, seed, strategy and checkpoints; few seeds of everything first."""
        for seed in range(max(self.seeds.values())):
            for task in self.tasks:
                for strategy in (s for s, n in self.seeds.items() if seed < n):
                    most = SLOW.get(strategy, self.trainings[-1] if seed < self.long_seeds else 200)
                    checkpoints = tuple(n for n in self.trainings if n <= most)
                    if checkpoints:
                        yield task, seed, strategy, checkpoints


def strategy_of(name: str) -> Callable[[Task, Sequence[int]], Iterator[Score]]:
    """How a strategy of that name is run on a task."""
    if name in SAMPLERS:
        return lambda task, checkpoints: run(task, name, lambda request: propose(name, request), checkpoints)
    return lambda task, checkpoints: run(task, name, VARIANTS[name], checkpoints)


def logged(log: Path | None) -> list[Score]:
    """All scores of a log, each once: a search that was cut off is in it twice as far as it went."""
    lines = log.read_text().splitlines() if log is not None and log.exists() else []
    found = [Score(**json.loads(line)) for line in lines]
    return list({(s.task, s.seed, s.strategy, s.trainings): s for s in found}.values())


def carried_out(plan: Plan, log: Path | None) -> list[Score]:
    """All scores of a plan; what the log holds is not computed again."""
    known = {(s.task, s.seed, s.strategy, s.trainings): s for s in logged(log)}
    for kind, seed, strategy, checkpoints in plan.jobs():
        if all((kind, seed, strategy, n) in known for n in checkpoints):
            continue
        for score in strategy_of(strategy)(plan.tasks[kind](seed), checkpoints):
            known[kind, seed, strategy, score.trainings] = score
            if log is not None:
                with log.open("a") as file:
                    file.write(json.dumps(asdict(score)) + "\n")
    wanted = {(k, s, name, n) for k, s, name, checkpoints in plan.jobs() for n in checkpoints}
    return [score for key, score in known.items() if key in wanted]


# The report ----------------------------------------------------------------------------------------------------------


def table(scores: pd.DataFrame, value: str) -> str:
    """Markdown: a row a task and strategy, a column a number of trainings: percent, mean and standard deviation."""
    counts = sorted(scores["trainings"].unique())
    lines = [
        "| task | strategy | seeds | " + " | ".join(map(str, counts)) + " |",
        "|---|---|---|" + "---|" * len(counts),
    ]
    for (task, strategy), rows in scores.groupby(["task", "strategy"], sort=False):
        cells = [_mean_sd(100 * rows.loc[rows["trainings"] == n, value]) for n in counts]
        lines.append(f"| {task} | {strategy} | {rows['seed'].nunique()} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean_sd(values: pd.Series) -> str:
    if values.empty:
        return ""
    return f"{values.mean():.1f} ± {values.std():.1f}" if len(values) > 1 else f"{values.mean():.1f}"


def overall(scores: pd.DataFrame) -> str:
    """Markdown: the mean over tasks, a row a strategy."""
    counts = sorted(scores["trainings"].unique())
    lines = ["| strategy | score | " + " | ".join(map(str, counts)) + " | ms of CPU a proposal |"]
    lines.append("|---|---|" + "---|" * len(counts) + "---|")
    for strategy, rows in scores.groupby("strategy", sort=False):
        for value in ("reached", "chosen"):
            means = rows.groupby(["trainings", "task"])[value].mean().groupby("trainings").mean() * 100
            cells = [f"{means[n]:.1f}" if n in means else "" for n in counts]
            ms = 1000 * rows.loc[rows["trainings"] == rows["trainings"].max(), "seconds_each"].mean()
            lines.append(f"| {strategy} | {value} | " + " | ".join(cells) + f" | {ms:.0f} |")
    return "\n".join(lines)


def paired(scores: pd.DataFrame, value: str) -> str:
    """Markdown: what the others have more than ours on the same landscapes, percent points, mean ± standard error."""
    keys = ["task", "seed", "trainings"]
    ours = scores[scores["strategy"] == OURS].set_index(keys)[value]
    counts = sorted(scores["trainings"].unique())
    lines = ["| strategy | " + " | ".join(map(str, counts)) + " |", "|---|" + "---|" * len(counts)]
    for strategy, rows in scores[scores["strategy"] != OURS].groupby("strategy", sort=False):
        apart = 100 * (rows.set_index(keys)[value] - ours).dropna()
        cells = [_mean_error(apart[apart.index.get_level_values("trainings") == n]) for n in counts]
        lines.append(f"| {strategy} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean_error(values: pd.Series) -> str:
    return f"{values.mean():+.1f} ± {values.sem():.1f}" if len(values) > 1 else ""


def verdicts(scores: pd.DataFrame, value: str) -> str:
    """Markdown: ours after 100 trainings against the best rival after 200, on the rival's seeds.

    A row a task; rivals with fewer seeds than others (GP, for its time) have a row of their own.
    """
    lines = ["| task | best rival after 200 | its share | ours after 100 | difference [95 %] | seeds | |"]
    lines.append("|---|---|---|---|---|---|---|")
    for task, rows in scores.groupby("task", sort=False):
        later = rows[(rows["trainings"] == 200) & (rows["strategy"] != OURS)]
        ours = rows[(rows["trainings"] == 100) & (rows["strategy"] == OURS)].set_index("seed")[value]
        if later.empty or ours.empty:
            continue
        seeds = later.groupby("strategy")["seed"].transform("nunique")
        for _, rivals in sorted(later.groupby(seeds), reverse=True):
            rival = str(rivals.groupby("strategy")[value].mean().idxmax())
            theirs = rivals[rivals["strategy"] == rival].set_index("seed")[value]
            lines.append(_verdict(str(task), rival, theirs, ours))
    return "\n".join(lines)


def _verdict(task: str, rival: str, theirs: pd.Series, ours: pd.Series) -> str:
    apart = 100 * (ours - theirs).dropna().to_numpy()
    low, high = _interval(apart)
    interval = f" [{low:+.1f}, {high:+.1f}]" if len(apart) > 1 else ""
    shares = f"{100 * theirs.mean():.1f} | {100 * ours[ours.index.intersection(theirs.index)].mean():.1f}"
    verdict = "reached" if apart.mean() >= 0 else "missed"
    return f"| {task} | {rival} | {shares} | {apart.mean():+.1f}{interval} | {len(apart)} | {verdict} |"


def _interval(values: np.ndarray) -> tuple[float, float]:
    """95 % of the bootstrap of the mean."""
    drawn = np.random.default_rng(0).choice(values, (4000, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def proposal_seconds(name: str = OURS, rows: int = 2000, repeats: int = 5) -> list[float]:
    """CPU seconds a proposal of a strategy with so many observations, batches of four."""
    task = TASKS["steps"](0)
    drawn = task.space.sample(rows, 1)
    maps, costs = task.worth(drawn), task.cost_ms(drawn)
    known = {c.id: float(ms) for c, ms in zip(drawn, costs, strict=True)}
    history = tuple(Observation(c, float(m), known[c.id]) for c, m in zip(drawn, maps, strict=True))

    def cost(candidate: object) -> float:
        return float(task.cost_ms([candidate])[0])  # type: ignore[list-item]

    seconds = []
    for batch in range(repeats):
        request = Request(task.space, history, BATCH, 0, batch, cost, noise=task.seed_sd)
        start = time.process_time()
        propose(name, request)
        seconds.append((time.process_time() - start) / BATCH)
    return seconds


def overhead(trainings: int, out: Path | None = None) -> str:
    """Milliseconds of ask and tell a training: Markdown, and a file where asked.

    The sampler's proposals, and Optuna's tables, which are written in a thread and at the end, are told apart.
    """
    task, spent, mirrored, name = TASKS["steps"](0), 0.0, 0.0, OURS
    proposing, flushing = proposals.propose, Mirror.flush

    def timed(*given: Any, **named: Any) -> Any:
        nonlocal spent
        begun = time.process_time()
        try:
            return proposing(*given, **named)
        finally:
            spent += time.process_time() - begun

    def flushed(*given: Any) -> None:
        nonlocal mirrored
        begun = time.thread_time()
        flushing(*given)
        mirrored += time.thread_time() - begun

    objective = nas.Objective(None, costs=["latency_ms"])
    stages = [{"search": {"trainings": trainings, "sampler": name, "batch": BATCH}}]
    rows: list[tuple[int, float, float]] = []
    patched = mock.patch.object(search_stage, "propose", timed), mock.patch.object(Mirror, "flush", flushed)
    # Threads of linear algebra that wait for each other count as processor time: of a busy machine, not of the work.
    with tempfile.TemporaryDirectory() as folder, patched[0], patched[1], threadpool_limits(1):
        study = nas.Study.create(
            {"name": "overhead", "space": task.space, "objective": objective, "stages": stages},
            db=f"sqlite:///{folder}/overhead.db",
        )
        every = trainings // 10 or 1
        done, begun, before = 0, time.process_time(), (0.0, 0.0)
        while trial := study.ask():
            cost = float(task.cost_ms([trial.candidate])[0])
            study.tell(trial, {"map": task.train(trial.candidate, done), "latency_ms": cost})
            done += 1
            if done % every == 0:
                now = time.process_time()
                proposed, apart = spent - before[0], mirrored - before[1]
                rows.append((done, 1000 * (now - begun - proposed - apart) / every, 1000 * proposed / every))
                begun, before = now, (spent, mirrored)
        study.close()
    lines = [f"| {n} | {own:.1f} | {proposal:.1f} |" for n, own, proposal in rows]
    text = "\n".join(
        [
            "# Ask and tell: what a training costs beside its proposal",
            f"`python benchmarks/search_efficiency.py --overhead {trainings}`, {date.today()}; SQLite in a file,"
            f" sampler `{name}`, {BATCH} proposals at a time, means of the trainings since the row before, milliseconds"
            " of processor time of the whole process (the heartbeat's thread too; linear algebra on one thread)."
            " Optuna's tables, which that thread"
            f" and the end of the program write, took {1000 * mirrored / max(1, done):.1f} ms a training beside that.",
            *(f"- {key}: {value}" for key, value in machine().items()),
            "\n| trainings | ask and tell, ms | proposal, ms |\n|---|---|---|\n" + "\n".join(lines) + "\n",
            f"The aim is under {AIM_MS} ms: {'reached' if rows[-1][1] < AIM_MS else 'missed'} at {done} trainings.\n",
        ]
    )
    if out is not None:
        out.with_suffix(".md").write_text(text)
    return text


def machine() -> dict[str, str]:
    """Where and with what this ran."""
    names = ("numpy", "scipy", "optuna", "moocore")
    cpu = next(
        (line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), platform.machine()
    )
    return {"cpu": cpu, "python": platform.python_version(), "date": str(date.today())} | {n: version(n) for n in names}


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def speeds(seconds: dict[str, list[float]]) -> str:
    """Markdown: CPU milliseconds a proposal, a row a strategy."""
    lines = ["| strategy | ms of CPU a proposal, median | least - most | batches |", "|---|---|---|---|"]
    for name, values in seconds.items():
        low, middle, high = (1000 * float(f(values)) for f in (min, np.median, max))
        lines.append(f"| {name} | {middle:.0f} | {low:.0f} - {high:.0f} | {len(values)} |")
    return "\n".join(lines)


def report(found: Sequence[Score], seconds: dict[str, list[float]], rows: int, command: str) -> str:
    """The whole report, in Markdown."""
    scores = pd.DataFrame([asdict(s) for s in found])
    where = ", ".join(f"{key} {value}" for key, value in machine().items())
    return "\n\n".join(
        [
            "# Search efficiency",
            f"`{command}`\n\n{where}",
            "Hypervolume of true means after so many single noisy trainings, in percent of the best front a local "
            "search on the true values finds. *Reached*: of everything trained. *Chosen*: of the front of "
            "the noisy values. "
            "Landscapes, costs and reference points: `benchmarks/search_tasks.py`.",
            f"## Time a proposal with {rows:,} rows (target of ours: under 50 ms)\n\n" + speeds(seconds),
            "## Over all tasks\n\n" + overall(scores),
            "A strategy that was run on fewer tasks, seeds or trainings (see below) is averaged over those it has.",
            "## Others minus ours on the same landscapes (reached, mean ± standard error)\n\n"
            + paired(scores, "reached"),
            "## Ours after 100 trainings against the best of the others after 200\n\n" + verdicts(scores, "reached"),
            "The same for the fronts chosen by noisy values:\n\n" + verdicts(scores, "chosen"),
            "## Reached, by task (mean ± sd over seeds)\n\n" + table(scores, "reached"),
            "## Chosen, by task (mean ± sd over seeds)\n\n" + table(scores, "chosen"),
        ]
    )


def planned(args: argparse.Namespace) -> Plan:
    """The plan that the command line asks for."""
    tasks = {name: TASKS[name] for name in args.tasks or TASKS}
    if args.table:
        space = DesignSpace.from_yaml(args.space)
        tasks = {f"table {Path(args.table).name}": lambda seed: table_task(Path(args.table), space, seed)}
    seeds = {OURS: args.seeds, **dict.fromkeys(RIVALS, args.seeds)}
    seeds["gp"] = min(args.seeds, args.gp_seeds)
    if args.variants:
        seeds = dict.fromkeys(VARIANTS, args.seeds)
    if args.quick:
        tasks = dict(list(tasks.items())[:1])
        seeds = {OURS: 1, "random": 1, "nsga2": 1}
        return Plan(seeds, tasks, (12, 24), 1)
    return Plan(seeds, tasks, tuple(args.trainings), args.long_seeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", help=f"landscapes: {', '.join(TASKS)}")
    parser.add_argument("--table", help="a CSV of results in place of landscapes (with --space)")
    parser.add_argument("--space", help="the design space of the table")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--gp-seeds", type=int, default=5, help="of GP, at a second a proposal")
    parser.add_argument("--long-seeds", type=int, default=5, help="seeds that go on beyond 200 trainings")
    parser.add_argument("--trainings", type=int, nargs="+", default=[50, 100, 200, 400])
    parser.add_argument("--variants", action="store_true", help="compare what else was tried")
    parser.add_argument("--quick", action="store_true", help="one small task, for tests")
    parser.add_argument("--overhead", type=int, metavar="N", help="times ask and tell over N trainings, and no more")
    parser.add_argument("--log", type=Path, help="JSON lines; a run that was cut off goes on from here")
    parser.add_argument("--logged", action="store_true", help="reports all scores of the log and searches nothing")
    parser.add_argument("--out", type=Path, help="writes OUT.md and OUT.json")
    args = parser.parse_args()
    if args.overhead:
        print(overhead(args.overhead, args.out))
        return
    plan = planned(args)
    found = logged(args.log) if args.logged else carried_out(plan, args.log)
    rows, repeats = (200, 2) if args.quick or args.variants else (2000, 5)
    timed = (OURS,) if args.quick or args.variants else (OURS, *(name for name in RIVALS if name not in SLOW))
    seconds = {name: proposal_seconds(name, rows, repeats) for name in timed}
    text = report(found, seconds, rows, f"python benchmarks/search_efficiency.py {options(args)}")
    print(text)
    if args.out is not None:
        args.out.with_suffix(".md").write_text(text + "\n")
        scored = [asdict(score) for score in found]
        data = {"machine": machine(), "seconds_a_proposal": seconds, "scores": scored}
        args.out.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")


def options(args: argparse.Namespace) -> str:
    """The options that decide the numbers, as typed."""
    if args.logged:
        return f"{'--variants ' * args.variants}--log scores.jsonl --logged"
    typed = ["--variants"] * args.variants + [
        f"--seeds {args.seeds}",
        f"--trainings {' '.join(map(str, args.trainings))}",
    ]
    typed += [f"--tasks {' '.join(map(repr, args.tasks))}"] if args.tasks else []
    typed += [] if args.variants else [f"--gp-seeds {args.gp_seeds}", f"--long-seeds {args.long_seeds}"]
    return " ".join(typed)


if __name__ == "__main__":
    main()
