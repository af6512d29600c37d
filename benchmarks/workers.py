"""What a thousand workers cost the database: one PostgreSQL, 8 processes that each play 125 workers.

    python benchmarks/workers.py --out benchmarks/results/workers [--workers 1000] [--seconds 60] [--speeds 1 3 10]

A played worker does with the database all that a real one does - looks at wishes, claims, gives signs of life, stores
epochs, stores the result, plans when it finds nothing - and sleeps in place of training: `--training` seconds, divided
by the speed-up. The window begins when every worker has claimed its first training and is somewhere in the middle of
it, so that it shows a study in full swing; how long it takes until all that start in one moment have claimed is told
beside it. At the end trainings take no time at all. Where the database is the limit is told by the most calls per
second that any window reached, beside those that trainings at their real speed ask.

Not like the real thing: nothing is copied to Optuna's tables, which real workers do between trainings; workers of a
process are threads that share its 15 connections (as behind PgBouncer) and one Python; everything runs on one machine,
so that the players take processor time from the database and no network is between them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.exc import TimeoutError

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from private_postgres import PrivatePostgres
from search_builders import small_space, study_file, write_table

from nas.search.context import StudyContext
from nas.search.definition import load_study
from nas.search.runner import register
from nas.search.worker import LEASE_S, LONGEST_IDLE_S, Worker
from nas.storage import ClaimedTraining, Repository, TrainingOutcome, open_database

PROCESSES = 8
EPOCHS = 20


class Player:
    """One worker whose trainings sleep; counts what it waited for the database and for work."""

    def __init__(self, planner: Worker, lock: threading.Lock, name: str, seconds: float) -> None:
        self.repository, self.study = planner.context.repository, planner.context.study_id
        self.planner, self.planning, self.name, self.seconds = planner, lock, name, seconds
        self.in_calls = self.idle = 0.0
        self.done = 0
        self.gave_up = False
        self.calls = 0
        self.slowest = 0.0

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        took = time.perf_counter() - begun
        self.in_calls += took
        self.calls += 1
        self.slowest = max(self.slowest, took)

    def play(self, gate: threading.Barrier, window: float, first: float) -> None:
        """Works for a window; gives up where it waits half a minute for one of its process's connections."""
        try:
            self._work(gate, window, first)
        except TimeoutError:
            self.gave_up = True

    def _work(self, gate: threading.Barrier, window: float, first: float) -> None:
        """Works for a window behind the gate; `first` is the share of the first training that is left then."""
        claim = self._claim()
        gate.wait()
        self.in_calls = self.slowest = 0.0
        self.calls = 0
        until = time.monotonic() + window
        while time.monotonic() < until:
            if claim is None:
                self._wait_for_work(until)
            elif self._train(claim.id, until, first):
                with self._timed():
                    self.repository.finish_training(claim.id, self.name, TrainingOutcome(map=0.5, seconds=self.seconds))
                self.done += 1
            first = 1.0
            claim = self._claim() if time.monotonic() < until else None

    def _claim(self) -> ClaimedTraining | None:
        with self._timed():
            self.repository.wish(self.study)
        with self._timed():
            return self.repository.claim_training(self.study, self.name, LEASE_S)

    def _wait_for_work(self, until: float) -> None:
        begun = time.monotonic()
        if self.planning.acquire(blocking=False):
            try:
                self.planner.advance()
            finally:
                self.planning.release()
        time.sleep(min(LONGEST_IDLE_S, max(0.0, until - time.monotonic()), 0.5))
        self.idle += time.monotonic() - begun

    def _train(self, training: int, until: float, first: float) -> bool:
        """Sleeps as a training does, with its epochs and signs of life; False when the time is over before its end."""
        begun = time.monotonic() - self.seconds * (1 - first)
        end = begun + self.seconds
        epoch = int((1 - first) * EPOCHS)
        # In the middle of a training each worker is at a moment of its own, between two signs of life too.
        beat = time.monotonic() + LEASE_S / 3 * (1.0 if first == 1.0 else random.random())
        while (now := time.monotonic()) < end:
            if now >= until:
                return False
            due = begun + (epoch + 1) * self.seconds / EPOCHS
            time.sleep(max(0.0, min(due, beat, end, until) - now))
            now = time.monotonic()
            if now >= due and now < end:
                epoch += 1
                with self._timed():
                    self.repository.record_epochs(training, [{"epoch": epoch, "lr": 0.1, "losses": {"id": 1.0}}])
            if now >= beat:
                beat += LEASE_S / 3
                with self._timed():
                    self.repository.heartbeat(training, self.name)
                    self.repository.wish(self.study)
        return True


def play(
    number: int, players: int, file: str, url: str, seconds: float, window: float, others: Barrier, out: Any
) -> None:
    """One process of played workers, which begin when those of all processes have claimed; its counts go to `out`."""
    random.seed(number)
    os.chdir(Path(file).parent)
    definition = load_study(file)
    with open_database(url, create=False) as database:
        repository = Repository(database)
        context = StudyContext(definition, repository, repository.study(definition.name).id, owner=f"planner{number}")
        planner, lock = Worker(context, None), threading.Lock()  # type: ignore[arg-type]
        found = [Player(planner, lock, f"w{number}-{i}", seconds) for i in range(players)]
        begun = time.monotonic()
        claimed: list[float] = []

        def all_claimed() -> None:
            others.wait()
            claimed.append(time.monotonic() - begun)

        gate = threading.Barrier(players, action=all_claimed)
        threads = [threading.Thread(target=p.play, args=(gate, window, random.random())) for p in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    out.put([(p.done, p.in_calls, p.idle, p.calls, p.slowest, claimed[0], p.gave_up) for p in found])


def measure(server: PrivatePostgres, folder: Path, workers: int, seconds: float, window: float) -> dict[str, Any]:
    """One window of a study in full swing."""
    url = server.create_database()
    folder.mkdir()
    write_table(folder / "table.csv", small_space(), seeds=40)
    stages = [{"sweep": {"design": "exhaustive", "seeds": 40, "baselines": False}}]
    file = study_file(folder, stages, database=url)
    os.chdir(folder)
    definition = load_study(file)
    with open_database(url) as database:
        repository = Repository(database)
        context = StudyContext(definition, repository, register(definition, repository), owner="planner")
        begun = time.monotonic()
        Worker(context, None).advance()  # type: ignore[arg-type]
        planning = time.monotonic() - begun
        planned = repository.status(definition.name)["trainings"]["waiting"]
    spawn = multiprocessing.get_context("spawn")
    out: Any = spawn.Queue()
    start = spawn.Barrier(PROCESSES + 1)
    arguments = (workers // PROCESSES, str(file), url, seconds, window, start, out)
    processes = [spawn.Process(target=play, args=(number, *arguments)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    start.wait()
    before = _server_seconds(server)
    rows = [row for _ in processes for row in out.get(timeout=window + 300)]
    for process in processes:
        process.join()
    done = sum(row[0] for row in rows)
    busy = sum(row[1] for row in rows)
    idle = sum(row[2] for row in rows)
    return {
        "training_s": seconds,
        "workers": len(rows),
        "window_s": window,
        "trainings": done,
        "trainings_per_s": done / window,
        "calls": sum(row[3] for row in rows),
        "ms_a_call": 1000 * busy / max(1, sum(row[3] for row in rows)),
        "database_ms_a_training": 1000 * busy / max(1, done),
        "slowest_call_s": max(row[4] for row in rows),
        "server_cpu_ms_a_training": 1000 * (_server_seconds(server) - before) / max(1, done),
        "share_lost_in_calls": busy / (len(rows) * window),
        "share_lost_without_work": idle / (len(rows) * window),
        "share_lost": (busy + idle) / (len(rows) * window),
        "gave_up": sum(row[6] for row in rows),
        "all_claimed_s": max(row[5] for row in rows),
        "planning_s": planning,
        "planned": planned,
    }


def _server_seconds(server: PrivatePostgres) -> float:
    """Processor time of the server with all its children, ended ones too."""
    pid = int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    root = psutil.Process(pid)
    times = root.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in root.children(recursive=True):
        try:
            own = child.cpu_times()
        except psutil.Error:
            continue
        total += own.user + own.system
    return float(total)


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each window")
    parser.add_argument("--training", type=float, default=300.0, help="seconds of a training at its real speed")
    parser.add_argument("--speeds", type=float, nargs="+", default=[1.0, 3.0, 10.0])
    given = parser.parse_args(arguments)
    out = given.out.resolve()
    server = PrivatePostgres(durable=True)
    rows: dict[str, Any] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for speed in [*given.speeds, None]:
                name = "no training time" if speed is None else f"{speed:g} x"
                seconds = 0.0 if speed is None else given.training / speed
                one = measure(server, Path(folder) / f"s{len(rows)}", given.workers, seconds, given.seconds)
                rows[name] = one
                print(name, json.dumps(one), flush=True)
    finally:
        server.close()
    most = max(row["calls"] / row["window_s"] for row in rows.values())
    usual = next(iter(rows.values()))
    result = {
        "date": str(date.today()),
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_at_the_end": psutil.getloadavg()[0],
        "epochs_a_training": EPOCHS,
        "training_s": given.training,
        "rows": rows,
        "most_calls_per_s": most,
        "saturates_at_speed": given.speeds[0] * most * usual["window_s"] / usual["calls"],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    out.with_suffix(".md").write_text(page(result))
    return 0


def page(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = result["rows"]
    one = next(iter(rows.values()))
    lines = [
        "# What many workers cost the database",
        "",
        f"{one['workers']} played workers in {PROCESSES} processes on one PostgreSQL, all on {result['cores']} cores "
        f"({result['cpu']}; load {result['load_at_the_end']:.1f} at the end), {result['date']}; windows of "
        f"{one['window_s']:g} s, {result['epochs_a_training']} epochs stored per training, a sign of life every "
        f"{LEASE_S / 3:g} s.",
        "",
        "| speed | trainings per s | calls | ms per call | slowest call, s | waited for it, ms per training | "
        "server's processor time, ms per training | worker time lost | workers that gave up | until all that start at "
        "once have claimed, s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['trainings_per_s']:.1f} | {row['calls']} | {row['ms_a_call']:.1f} | "
            f"{row['slowest_call_s']:.2f} | {row['database_ms_a_training']:.0f} | "
            f"{row['server_cpu_ms_a_training']:.1f} | {100 * row['share_lost']:.2f} % | "
            f"{row['gave_up']} | {row['all_claimed_s']:.1f} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"Speed 1 is a training of {result['training_s']:g} s; lost is time waited for the database or for work, "
            "of all worker time in the window; a worker gives up that waits 30 s for one of its process's connections. "
            "Players and database together answer at most "
            f"{result['most_calls_per_s']:.0f} calls per second on this machine: {result['saturates_at_speed']:.1f} "
            f"times what trainings at their real speed ask. Planning {one['planned']} trainings in one go took "
            f"{one['planning_s']:.1f} s.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
