"""What does a training cost in the database? Ask, store and tell with 1 to 16 workers, the training itself skipped.

    flock /tmp/nas-bench.lock python benchmarks/storage.py --out benchmarks/results/storage

Real processes on one database: a plan of eight trainings when there is none left (under the stage's lease), claim,
sign of life, one epoch, result, mirror in Optuna's tables with 17 categorical parameters - all a worker does for a
training except training; like a worker, it tells Optuna of up to 32 trainings together. SQLite in WAL mode on a disk,
and a private PostgreSQL with fsync on (client and server on the same machine). The database holds 100, 2 000 or
10 000 finished trainings before. Two paces:

- `flat out`: workers do nothing but this, so they queue for the processors and for each other; the worst there is.
- `training`: each training takes about half a second of waiting, still far shorter than a real one.

Cost: milliseconds a worker spends on one training, mean and 95th percentile over all; `cpu ms` is what its own
processor time of that is, which other work on the machine does not stretch. Also printed: the two reads a
person waits for (status, results table) and whether any error reached a worker.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy import text

from nas.search.mirror import FLUSH_COUNT
from nas.storage import Repository, TrainingOutcome, TrainingRequest, open_database
from nas.storage.optuna_storage import mirror_trials

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from private_postgres import PrivatePostgres, find_binaries

STORED, WORKERS, PACES = (100, 2_000, 10_000), (1, 2, 4, 8, 16), {"flat out": 0.0, "training": 0.5}
BATCH, LEAST, MOST = 8, 48, 160
STAGE = "0-sweep"
SITES = {
    f"site_{n:02d}": optuna.distributions.CategoricalDistribution(["none", "cnl", "hac", "agw"]) for n in range(17)
}


@dataclass(frozen=True)
class Row:
    """One configuration; times in milliseconds a training."""

    engine: str
    stored: int
    workers: int
    pace: str
    trainings: int
    mean_ms: float
    p95_ms: float
    cpu_ms: float
    trainings_per_s: float
    errors: int
    status_ms: float
    results_ms: float


def candidate(number: int) -> dict[str, Any]:
    """A made-up candidate."""
    return {
        "id": f"c{number}",
        "architecture_id": f"a{number}",
        "notation": f"resnet50+cnl@{number}",
        "backbone": "resnet50",
        "n_blocks": 1,
        "definition": {"backbone": "resnet50", "placements": [[number % 17 + 1, "cnl", {}]]},
    }


def request(number: int, batch: int, position: int) -> TrainingRequest:
    """The wish to train it."""
    return TrainingRequest(
        candidate_id=f"c{number}",
        recipe_id="recipe",
        recipe={"name": "strong_baseline"},
        dataset_id="data",
        fidelity={"epochs": 60},
        fidelity_label="e60",
        seed=0,
        sampler="nsga2",
        batch=batch,
        position=position,
    )


def trial(training_id: int) -> dict[str, Any]:
    """What Optuna is told."""
    params = {name: "cnl" if training_id % 17 == i else "none" for i, name in enumerate(SITES)}
    return {"training_id": training_id, "params": params, "distributions": SITES, "values": [0.5, 12.0]}


def fill(url: str, stored: int) -> None:
    """A database with finished trainings, mirrored."""
    with open_database(url) as database:
        repository = Repository(database)
        repository.ensure_dataset("data", "generated", {}, {})
        repository.ensure_candidates([candidate(number) for number in range(stored)])
        study_id = repository.ensure_study("load", {"name": "load"}, 1, None)
        stage_id = repository.ensure_stage(study_id, 0, STAGE, "search", {})
        ids = repository.request_trainings(stage_id, [request(n, n // BATCH, n % BATCH) for n in range(stored)])
        with database.write() as session:
            session.execute(text("UPDATE nas_training SET status = 'finished', map = 0.5, seconds = 60"))
            session.execute(text("UPDATE nas_stage_training SET is_open = (1 = 0)"))
        mirror_trials(database, f"load/{STAGE}", [trial(training_id) for training_id in ids])


def work(
    url: str, owner: str, first: int, last: int, pause_s: float, start: Any
) -> tuple[list[float], list[str], float]:
    """One worker: milliseconds of each training it did, errors that reached it, seconds its processor worked."""
    costs: list[float] = []
    errors: list[str] = []
    untold: list[int] = []
    with open_database(url) as database:
        repository = Repository(database)
        study_id = repository.study("load").id
        (stage,) = repository.stages(study_id)
        mirror_trials(database, f"load/{STAGE}", [trial(1)])
        repository.status("load")
        start.wait()
        computed = time.process_time()
        while True:
            begun = time.perf_counter()
            try:
                slept = one_training(repository, study_id, stage.id, owner, first, last, pause_s, untold)
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
                if len(errors) > 20:
                    return costs, errors, 0.0
                continue
            if slept is None:
                costs[-1:] = [cost + 1000 * (time.perf_counter() - begun) for cost in costs[-1:]]
                return costs, errors, time.process_time() - computed
            costs.append(1000 * (time.perf_counter() - begun - slept))


def one_training(
    repository: Repository,
    study_id: int,
    stage_id: int,
    owner: str,
    first: int,
    last: int,
    pause_s: float,
    untold: list[int],
) -> float | None:
    """Ask, store, tell; returns the seconds that stood for the training, None when all are done."""
    claim = repository.claim_training(study_id, owner, 600)
    while claim is None:
        tell(repository, untold)
        if not plan(repository, stage_id, owner, first, last):
            return None
        claim = repository.claim_training(study_id, owner, 600)
    begun = time.perf_counter()
    time.sleep(pause_s * random.uniform(0.8, 1.2))
    slept = time.perf_counter() - begun
    repository.heartbeat(claim.id, owner)
    repository.record_epochs(claim.id, [{"epoch": 60, "lr": 1e-5, "losses": {"id": 1.0, "triplet": 0.1}}])
    outcome = TrainingOutcome(map=0.5, rank1=0.7, minp=0.2, metrics={"cmc": [0.7] * 50}, seconds=60.0)
    repository.finish_training(claim.id, owner, outcome)
    untold.append(claim.id)
    if len(untold) >= FLUSH_COUNT:
        tell(repository, untold)
    return slept


def tell(repository: Repository, untold: list[int]) -> None:
    """Tells Optuna's tables what was finished since the last time."""
    if untold:
        mirror_trials(repository.database, f"load/{STAGE}", [trial(training_id) for training_id in untold])
        untold.clear()


def plan(repository: Repository, stage_id: int, owner: str, first: int, last: int) -> bool:
    """Asks for the next batch, as the one worker that holds the stage; False when all were asked for."""
    with repository.stage_lock(stage_id, owner) as mine:
        if not mine:
            time.sleep(0.005)
            return True
        asked = sum(repository.stage_trainings(stage_id).values())
        numbers = range(asked, min(asked + BATCH, last))
        repository.ensure_candidates([candidate(number) for number in numbers])
        repository.request_trainings(stage_id, [request(n, asked + BATCH, n - asked) for n in numbers])
        return bool(numbers)


def measure(engine: str, url: str, stored: int, workers: int, pace: str) -> Row:
    """Runs one configuration."""
    trainings = max(LEAST, min(MOST, 20 * workers))
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager, context.Pool(workers) as pool:
        start = manager.Barrier(workers)
        tasks = [(url, f"w{i}", stored, stored + trainings, PACES[pace], start) for i in range(workers)]
        begun = time.perf_counter()
        answers = pool.starmap(work, tasks, chunksize=1)
        passed = time.perf_counter() - begun
    costs = sorted(cost for mine, _, _ in answers for cost in mine)
    errors = [error for _, theirs, _ in answers for error in theirs]
    for error in errors[:3]:
        print(f"    {error}", file=sys.stderr)
    if len(costs) != trainings:
        raise SystemExit(f"{len(costs)} trainings were finished, not {trainings}")
    status_ms, results_ms = reads(url)
    return Row(
        engine=engine,
        stored=stored,
        workers=workers,
        pace=pace,
        trainings=trainings,
        mean_ms=statistics.fmean(costs),
        p95_ms=costs[int(0.95 * len(costs))],
        cpu_ms=1000 * sum(computed for _, _, computed in answers) / trainings,
        trainings_per_s=trainings / passed,
        errors=len(errors),
        status_ms=status_ms,
        results_ms=results_ms,
    )


def reads(url: str) -> tuple[float, float]:
    """Milliseconds of status and results table, medians of three, second and later calls of a process."""
    with open_database(url, read_only=True) as database:
        repository = Repository(database)
        return median_ms(lambda: repository.status("load")), median_ms(lambda: repository.results("load"))


def median_ms(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


@contextmanager
def sqlite_copies(folder: Path, stored: int) -> Iterator[Callable[[], str]]:
    """Fresh copies of a filled SQLite file."""
    template = folder / f"filled-{stored}.db"
    fill(f"sqlite:///{template}", stored)
    with sqlite3.connect(template) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()

    def copy() -> str:
        for old in folder.glob("run.db*"):
            old.unlink()
        shutil.copy(template, folder / "run.db")
        return f"sqlite:///{folder / 'run.db'}"

    yield copy


@contextmanager
def postgresql_copies(server: PrivatePostgres, stored: int) -> Iterator[Callable[[], str]]:
    """Fresh copies of a filled PostgreSQL database."""
    template = server.create_database()
    fill(template, stored)
    source = template.rsplit("/", 1)[1]

    def copy() -> str:
        url = server.create_database()
        name = url.rsplit("/", 1)[1]
        server.psql(f"DROP DATABASE {name}")
        server.psql(f"CREATE DATABASE {name} TEMPLATE {source}")
        server.psql("VACUUM ANALYZE", name)
        return url

    yield copy


def run(engine: str, copies: Any, stored: int, workers: list[int], paces: list[str]) -> list[Row]:
    """All configurations on one filled database."""
    rows = []
    with copies as copy:
        for pace in paces:
            for count in workers:
                row = measure(engine, copy(), stored, count, pace)
                rows.append(row)
                print(line(row), flush=True)
    return rows


def line(row: Row) -> str:
    """One row of the printed table."""
    return (
        f"{row.engine:<10} {row.stored:>6} stored {row.workers:>2} workers {row.pace:<8}  {row.mean_ms:7.1f} ms "
        f"(p95 {row.p95_ms:7.1f}, cpu {row.cpu_ms:5.1f})  {row.trainings_per_s:6.1f}/s  {row.errors} errors  "
        f"status {row.status_ms:5.1f} ms  results {row.results_ms:6.1f} ms"
    )


def growth(rows: list[Row]) -> list[dict[str, Any]]:
    """Cost at the most stored over cost at the fewest, by engine, workers and pace."""
    cost = {(row.engine, row.workers, row.pace, row.stored): row.mean_ms for row in rows}
    fewest, most = min(row.stored for row in rows), max(row.stored for row in rows)
    keys = dict.fromkeys((row.engine, row.workers, row.pace) for row in rows)
    return [
        {"engine": e, "workers": w, "pace": p, "growth": cost[e, w, p, most] / cost[e, w, p, fewest]}
        for e, w, p in keys
    ]


def machine(server: PrivatePostgres | None) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "date": date.today().isoformat(),
        "processor": next((ln.split(":")[1].strip() for ln in open("/proc/cpuinfo") if "model name" in ln), "unknown"),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "postgresql": postgresql_version(server),
        **{name: version(name) for name in ("SQLAlchemy", "psycopg", "optuna")},
    }


def postgresql_version(server: PrivatePostgres | None) -> str | None:
    """Of a running server, else of the installed one."""
    if server is not None:
        return server.psql("SHOW server_version").strip()
    binaries = find_binaries()
    return None if binaries is None else binaries.parent.name


def markdown(found: dict[str, Any], rows: list[Row]) -> str:
    """The result as a page."""
    facts = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    titles = ("engine", "stored", "workers", "pace", "mean ms", "p95 ms", "cpu ms", "trainings/s", "errors")
    head = f"| {' | '.join((*titles, 'status ms', 'results ms'))} |"
    body = [
        f"| {r.engine} | {r.stored} | {r.workers} | {r.pace} | {r.mean_ms:.1f} | {r.p95_ms:.1f} | {r.cpu_ms:.1f} | "
        f"{r.trainings_per_s:.1f} | {r.errors} | {r.status_ms:.1f} | {r.results_ms:.1f} |"
        for r in rows
    ]
    grown = [f"| {g['engine']} | {g['workers']} | {g['pace']} | {g['growth']:.2f} |" for g in found["growth"]]
    return "\n".join(
        [
            "# What a training costs in the database",
            "",
            facts,
            "",
            (__doc__ or "").split("\n\n", 2)[2].strip(),
            "",
            head,
            "|---" * 11 + "|",
            *body,
            "",
            f"Growth of the cost from {min(r.stored for r in rows)} to {max(r.stored for r in rows)} stored trainings:",
            "",
            "| engine | workers | pace | growth |",
            "|---|---|---|---|",
            *grown,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md; rows of other engines there stay")
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    parser.add_argument("--stored", type=int, nargs="+", default=list(STORED))
    parser.add_argument("--engines", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--paces", nargs="+", choices=list(PACES), default=list(PACES))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows: list[Row] = []
    server = PrivatePostgres(durable=True) if "postgresql" in options.engines and find_binaries() else None
    try:
        facts = machine(server)
        with tempfile.TemporaryDirectory() as folder:
            for stored in options.stored:
                if "sqlite" in options.engines:
                    copies: Any = sqlite_copies(Path(folder), stored)
                    rows += run("sqlite", copies, stored, options.workers, options.paces)
                if server is not None:
                    rows += run("postgresql", postgresql_copies(server, stored), stored, options.workers, options.paces)
    finally:
        if server is not None:
            server.close()
    if options.out:
        before = options.out.with_suffix(".json")
        kept = json.loads(before.read_text())["rows"] if before.exists() else []
        rows = [Row(**row) for row in kept if row["engine"] not in options.engines] + rows
        found = {"machine": facts, "rows": [asdict(row) for row in rows], "growth": growth(rows)}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(markdown(found, rows))


if __name__ == "__main__":
    main()
