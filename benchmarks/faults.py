"""What is lost when workers are killed, the database goes away, disks fill up and results are no numbers? Counted.

    python benchmarks/faults.py --out benchmarks/results/faults [--only NAME ...]

Every part runs a study with real processes (`nas run`, `nas worker`) on SQLite or on a private PostgreSQL, breaks
something while it runs, and compares what is in the database at the end with an undisturbed run of the same file: no
finished training lost, none twice, no row left running, and the same candidates with the same numbers. `seen` are
results that were observed in the database while the faults went on; each must be there, unchanged, at the end. Most
trainings are replayed from a table and only take their time; the parts named "real" train small networks.

The tests of `tests/faults` are the short version. Exit code 1 when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from data_builders import write_image
from fault_builders import (
    AS_ANOTHER,
    CLOCK_AHEAD,
    CUT,
    DIE_BEFORE_TELLING,
    SHARE_AT_ONCE,
    WAIT_S,
    Counts,
    FaultStudy,
    Row,
    end,
    fill_up,
    generate_images,
    give_away,
    small_disk,
    spoil,
    undisturbed,
    until,
    workers_of,
    write_faulty_blocks,
)
from private_postgres import MISSING, PGBOUNCER, PrivatePostgres, find_binaries

# 152 + 138 + 10 trainings.
LONG: list[Any] = [
    {"sweep": {"design": "stratified", "candidates": 74, "seeds": 2}},
    {"search": {"sampler": "nsga2", "trainings": 138, "batch": 8}},
    {"confirm": {"max_candidates": 7, "seeds": 2}},
]


REAL = 6  # real trainings


@dataclass(frozen=True)
class Result:
    """One part: what was done to it, and what was left."""

    name: str
    faults: str
    seconds: float
    counts: dict[str, int] | None
    whole: bool
    said: str = ""
    day: str = field(default_factory=lambda: date.today().isoformat())


@dataclass
class Bench:
    """Where the parts run, and how much they do."""

    folder: Path
    kills: int = 200
    long: list[Any] = field(default_factory=lambda: LONG)

    @cached_property
    def server(self) -> PrivatePostgres:
        """The PostgreSQL of this run."""
        return PrivatePostgres(durable=True)

    @cached_property
    def expected(self) -> list[Row]:
        """The long study, undisturbed."""
        return undisturbed(self.folder / "undisturbed", self.long)

    @cached_property
    def expected_short(self) -> list[Row]:
        """The short study, undisturbed."""
        return undisturbed(self.folder / "undisturbed-short")

    @cached_property
    def expected_real(self) -> list[Row]:
        """The study of real trainings, undisturbed."""
        study = FaultStudy.real(self.folder / "undisturbed-real", candidates=REAL)
        study.finish(study.worker())
        return study.plan()

    def new(self, name: str) -> Path:
        """An empty folder."""
        return self.folder / name

    def close(self) -> None:
        """Stops the server if it was started."""
        if "server" in self.__dict__:
            self.server.close()


Part = Callable[[Bench], tuple[str, Counts | None, str]]


# -- parts: what is broken, the counts, and anything else worth a sentence


def killed_workers(bench: Bench, engine: str, kills: int | None = None) -> tuple[str, Counts, str]:
    """kill -9 of random workers, one after nearly every finished training."""
    url = bench.server.create_database() if engine == "postgresql" else None
    study = FaultStudy.replayed(bench.new(f"kills-{engine}"), url, bench.long, seconds=0.8, workers=4)
    with study.watched():
        runner = study.run()
        study.kill_workers(runner, kills or bench.kills, random.Random(0))
        study.finish(runner)
    return f"{study.killed} x kill -9 of one of 4 workers", study.counts(bench.expected), ""


def outages(bench: Bench) -> tuple[str, Counts, str]:
    """PostgreSQL stopped and started ten times, every second time as a crash does."""
    study = FaultStudy.replayed(
        bench.new("outages"), bench.server.create_database(), bench.long, seconds=0.3, workers=4
    )
    stops = 0
    with study.watched():
        runner = study.run()
        for wanted in range(20, 281, 26):
            study.wait_for(wanted, runner)
            if runner.poll() is None and stops < 10:
                bench.server.stop("immediate" if stops % 2 else "fast")
                time.sleep(1.0)
                bench.server.start()
                stops += 1
        study.finish(runner)
    return f"PostgreSQL stopped and started {stops} times", study.counts(bench.expected), ""


def cut_connections(bench: Bench) -> tuple[str, Counts, str]:
    """Connections terminated while they are inside a transaction that has done something."""
    url = bench.server.create_database()
    study = FaultStudy.replayed(bench.new("cuts"), url, bench.long, seconds=0.02, workers=4)
    cuts = 0
    with study.watched():
        runner = study.run()
        study.wait_for(5, runner)
        with psycopg.connect(url.rsplit("/", 1)[0] + "/postgres", autocommit=True) as connection:
            while runner.poll() is None:
                cuts += len(connection.execute(CUT, [url.rsplit("/", 1)[1]]).fetchall())
                time.sleep(0.15)
        study.finish(runner)
    return f"{cuts} connections cut inside a transaction", study.counts(bench.expected), ""


def two_runs(bench: Bench, engine: str) -> tuple[str, Counts, str]:
    """Two `nas run` of the same file at the same moment."""
    url = bench.server.create_database() if engine == "postgresql" else None
    study = FaultStudy.replayed(bench.new(f"two-{engine}"), url, bench.long, workers=2)
    with study.watched():
        both = [study.run(), study.run()]
        for runner in both:
            study.finish(runner)
    return "two nas run with 2 workers each, from an empty database on", study.counts(bench.expected), ""


def clock_ahead(bench: Bench) -> tuple[str, Counts, str]:
    """One of three workers believes that it is tomorrow; another one dies meanwhile."""
    study = FaultStudy.replayed(bench.new("clock"), bench.server.create_database(), seconds=0.5)
    with study.watched():
        workers = [study.worker(hooks=CLOCK_AHEAD), study.worker(), study.worker()]
        study.wait_for(8)
        workers[2].kill()
        for worker in workers[:2]:
            study.finish(worker)
        workers[2].wait()
    counts = study.counts(bench.expected_short)
    # A claim more than there are trainings is the dead worker's; any further one was taken from a living worker.
    stolen = max(0, counts.attempts - counts.trainings - 1)
    return "one of 3 workers a day ahead, another killed", counts, f"{stolen} trainings taken from living workers"


def killed_between(bench: Bench) -> tuple[str, Counts, str]:
    """Workers kill themselves after the result is stored and before Optuna's tables are told."""
    study = FaultStudy.replayed(bench.new("between"), bench.server.create_database(), seconds=0.1)
    deaths = 0
    with study.watched():
        survivor = study.worker()
        while survivor.poll() is None:
            worker = study.worker(hooks=DIE_BEFORE_TELLING)
            deaths += worker.wait() != 0
        study.finish(survivor)
    untold = study.counts(bench.expected_short).untold
    study.finish(study.run())
    said = f"{untold} results were not told when the study had ended; the next nas run told them"
    return f"{deaths} workers killed between result and mirror", study.counts(bench.expected_short), said


def failing(bench: Bench) -> tuple[str, Counts, str]:
    """Real networks whose loss is NaN, that raise, that ask for too much memory; they fail and are told apart."""
    folder = bench.new("failing")
    kinds: dict[str, set[str]] = {}
    plans = []
    for name, engine in (("once", "sqlite"), ("again", "postgresql")):
        url = bench.server.create_database() if engine == "postgresql" else None
        study = FaultStudy.real(folder / name, url, max_attempts=2, **write_faulty_blocks(folder / name))
        with study.watched():
            study.finish(study.worker())
        plans.append(study.plan())
    for _, _, notation, _, _, kind, _ in plans[0]:
        kinds.setdefault(kind or "finished", set()).add(notation)
    told = ", ".join(f"{kind}: {len(names)}" for kind, names in sorted(kinds.items()))
    return "NaN loss, an exception, too much memory", study.counts(plans[0]), told


def real_kills(bench: Bench) -> tuple[str, Counts, str]:
    """kill -9 of workers that really train and write a checkpoint before every step."""
    study = FaultStudy.real(bench.new("real-kills"), bench.server.create_database(), candidates=REAL)
    rng = random.Random(1)
    with study.watched():
        while study.killed < 10:
            worker = _at_work(study)
            time.sleep(rng.uniform(0.0, 0.5))
            if worker.poll() is not None:
                break
            end(worker)
            study.killed += 1
        study.finish(study.worker(lease=1))
    said = f"{study.resumed()} trainings went on from their checkpoint"
    return f"{study.killed} x kill -9 in real trainings", study.counts(bench.expected_real), said


def _at_work(study: FaultStudy) -> Any:
    """A new worker that has written a checkpoint of its own, or has ended."""
    begun = time.time()
    worker = study.worker(lease=1)
    until(
        lambda: worker.poll() is not None or any(_written(path) > begun for path in _unfinished(study)), "a checkpoint"
    )
    return worker


def _unfinished(study: FaultStudy) -> list[Path]:
    """The checkpoints of unfinished trainings."""
    return list((study.folder / ".nas" / "work").glob("*.pt"))


def _written(path: Path) -> float:
    """When a file was written; 0 when it was removed meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def corrupted(bench: Bench) -> tuple[str, Counts, str]:
    """Interrupted trainings whose checkpoints are cut off or have bytes changed before the study goes on."""
    study = FaultStudy.real(bench.new("corrupted"), candidates=REAL)
    spoiled = 0
    with study.watched():
        for how in ("cut off", "changed", "rubbish"):
            worker = _at_work(study)
            end(worker)
            spoiled += sum(spoil(path, how) for path in _unfinished(study))
        study.finish(study.worker(lease=1))
    return f"{spoiled} checkpoints damaged", study.counts(bench.expected_real), ""


def other_machine(bench: Bench) -> tuple[str, Counts, str]:
    """A machine dies in the middle of a training; another one goes on from the shared store."""
    folder = bench.new("machines")
    study = FaultStudy.real(folder, bench.server.create_database(), candidates=REAL, checkpoints=str(folder / "shared"))
    with study.watched():
        first = study.worker(hooks=SHARE_AT_ONCE, NAS_HOME=str(folder / "machine-a"))
        until(lambda: any((folder / "shared").glob("*.pt")), "a shared checkpoint")
        end(first)
        second = study.worker(hooks=SHARE_AT_ONCE, NAS_HOME=str(folder / "machine-b"))
        study.finish(second)
    said = f"{study.resumed()} trainings went on from the shared checkpoint"
    return "one machine lost, another went on", study.counts(bench.expected_real), said


def full_disk(bench: Bench, what: str) -> tuple[str, Counts | None, str]:
    """The disk of the SQLite file, of the checkpoints or of the packed images fills up; then there is space again."""
    folder = bench.new(f"full-{what}")
    home = {"database": folder / "data", "checkpoint": folder / ".nas", "pack": folder / "cache"}[what]
    with small_disk(home, 24) as disk:
        if disk is None:
            return "skipped: mounting a small file system is not permitted here", None, ""
        if what == "database":
            study = FaultStudy.replayed(folder, f"sqlite:///{disk / 'study.db'}", bench.long, workers=2)
            expected = bench.expected
        else:
            study, expected = FaultStudy.real(folder, candidates=REAL), bench.expected_real
        start = partial(study.run if what == "database" else study.worker, NAS_CACHE=str(folder / "cache"))
        with study.watched():
            process = None
            if what == "pack":
                generate_images(study, disk)
            else:
                process = start()
                study.wait_for(2, process)
            ballast = fill_up(disk)
            process = process or start()
            until(partial(_ended, process, disk), "the end of the run")
            sentence = study.last_error()
            ballast.unlink()
            study.finish(start())
        said = f"exit code {process.returncode}: {sentence}"
        return f"disk of the {what} full", study.counts(expected), said


def only_worker_stopped(bench: Bench, engine: str) -> tuple[str, Counts, str]:
    """SIGTERM to the only worker of a run, three times; the run must not wait for nobody."""
    url = bench.server.create_database() if engine == "postgresql" else None
    study = FaultStudy.replayed(bench.new(f"sigterm-{engine}"), url, seconds=0.2, workers=1)
    codes = []
    with study.watched():
        for wanted in (5, 15, 30):
            runner = study.run()
            study.wait_for(wanted, runner)
            for worker in workers_of(runner):
                worker.terminate()
            codes.append(runner.wait(WAIT_S))
            said = study.last_error()
        study.finish(study.run())
    assert codes == [2, 2, 2], f"exit codes {codes}"
    return "SIGTERM to the only worker, 3 times", study.counts(bench.expected_short), f"exit code 2: {said}"


def database_moved(bench: Bench) -> tuple[str, Counts, str]:
    """The SQLite file is moved away in the middle of a run, and put back."""
    study = FaultStudy.replayed(bench.new("moved"), seconds=0.2, workers=2)
    file, elsewhere = study.folder / "study.db", study.folder / "elsewhere"
    elsewhere.mkdir()
    with study.watched():
        runner = study.run()
        study.wait_for(10, runner)
        for part in study.folder.glob("study.db*"):
            part.rename(elsewhere / part.name)
        code, said = runner.wait(WAIT_S), study.last_error()
        assert code == 2, f"exit code {code}"
        assert not file.exists(), "a new database was made in its place"
    for part in elsewhere.iterdir():
        part.rename(study.folder / part.name)
    with study.watched():
        study.finish(study.run())
    return "database moved away and back", study.counts(bench.expected_short), f"exit code 2: {said}"


def other_user(bench: Bench) -> tuple[str, Counts | None, str]:
    """A worker who may not write where checkpoints and locks are, for they are another user's; then they are not."""
    if os.geteuid() != 0 or shutil.which(AS_ANOTHER[0]) is None:
        return "skipped: only root can become another user, with setpriv", None, ""
    study = FaultStudy.real(bench.new("user"), bench.server.create_database(), candidates=REAL)
    study.register()
    with study.watched():
        give_away(study.folder)
        worker = study.worker(before=AS_ANOTHER, NAS_CACHE=str(bench.new("own-cache")))
        code, said = worker.wait(WAIT_S), study.last_error()
        assert code == 2, f"exit code {code}\n{study.said()}"
        give_away(study.folder, os.geteuid())
        study.finish(study.worker())
    return "a worker in a folder of another user", study.counts(bench.expected_real), f"exit code 2: {said}"


def other_data(bench: Bench) -> tuple[str, Counts, str]:
    """Two trainings on one machine; on the second one the pictures are others under the same names."""
    plain = _own_pictures(bench.new("pictures-undisturbed"))
    plain.finish(plain.worker())
    study = _own_pictures(bench.new("pictures"))
    pictures = study.folder / "pictures"
    with study.watched():
        first = study.worker()
        study.wait_for(2, first)
        end(first)
        shutil.copytree(pictures, study.folder / "kept")
        for number, path in enumerate(sorted(pictures.iterdir())):
            write_image(path, 1_000 + number, (32, 16))
        second = study.worker(lease=1)
        code, said = second.wait(WAIT_S), study.last_error()
        assert code == 2, f"exit code {code}\n{study.said()}"
        shutil.rmtree(pictures)
        (study.folder / "kept").rename(pictures)
        study.finish(study.worker(lease=1))
    return "other pictures on the second machine", study.counts(plain.plan()), f"exit code 2: {said}"


def _own_pictures(folder: Path) -> FaultStudy:
    """The study of real trainings on a table of pictures."""
    names = [(f"pictures/{p}_{c}.png", p, c) for p in range(1, 17) for c in (1, 2)]
    for number, (name, _, _) in enumerate(names):
        write_image(folder / name, number, (32, 16))
    rows = [f"{name},{person},{camera},train" for name, person, camera in names]
    (folder / "own.csv").write_text("\n".join(["path,identity,camera,split", *rows]) + "\n")
    return FaultStudy.real(folder, candidates=REAL, data={"csv": "own.csv"})


def clock_back(bench: Bench) -> tuple[str, Counts | None, str]:
    """A worker is killed, then the machine's clock is two hours back, a day ahead, and runs a hundred times as fast."""
    if shutil.which("faketime") is None:
        return "skipped: no faketime (apt-get install faketime)", None, ""
    study = FaultStudy.replayed(bench.new("clock-back"), seconds=0.3)
    steps = ("-2h", "+1d", "-3d", "+0 x100")
    with study.watched():
        for number, step in enumerate(steps, 1):
            worker = study.worker(before=("faketime", "-f", step))
            study.wait_for(8 * number, worker)
            end(worker)
        study.finish(study.worker(before=("faketime", "-f", "-2h")))
    return f"4 workers killed, clock stepped between them: {', '.join(steps)}", study.counts(bench.expected_short), ""


def pooled(bench: Bench, mode: str) -> tuple[str, Counts | None, str]:
    """A study through PgBouncer, with a worker killed."""
    if PGBOUNCER is None:
        return "skipped: no pgbouncer (apt-get install pgbouncer)", None, ""
    url = bench.server.create_database()
    with bench.server.bouncer(mode) as port:
        pooled_url = url.replace(f":{bench.server.port}/", f":{port}/")
        study = FaultStudy.replayed(bench.new(f"pooled-{mode}"), pooled_url, seconds=0.2, workers=2)
        with study.watched():
            runner = study.run()
            study.wait_for(10, runner)
            study.kill_one(runner, random.Random(0))
            study.finish(runner)
        counts = study.counts(bench.expected_short)
    return f"PgBouncer pools by {mode}, a worker killed", counts, ""


def in_ascii(bench: Bench) -> tuple[str, Counts, str]:
    """A study in a database of SQL_ASCII, with text beyond ASCII and a worker killed."""
    url = bench.server.create_database("ENCODING 'SQL_ASCII' TEMPLATE template0")
    study = FaultStudy.replayed(bench.new("ascii"), url, seconds=0.2, workers=2, title="K\u00e4se \u2013 \u4e2d")
    with study.watched():
        runner = study.run()
        study.wait_for(10, runner)
        study.kill_one(runner, random.Random(0))
        study.finish(runner)
    return "database in SQL_ASCII, a worker killed", study.counts(bench.expected_short), ""


def _ended(process: Any, disk: Path) -> bool:
    """Whether the run ended; keeps the disk full meanwhile (a file that is removed makes room)."""
    fill_up(disk)
    return process.poll() is not None


PARTS: dict[str, Part] = {
    "kill -9, PostgreSQL": partial(killed_workers, engine="postgresql"),
    "kill -9, SQLite": partial(killed_workers, engine="sqlite"),
    "outages": outages,
    "cut connections": cut_connections,
    "two runs, PostgreSQL": partial(two_runs, engine="postgresql"),
    "two runs, SQLite": partial(two_runs, engine="sqlite"),
    "clock ahead": clock_ahead,
    "killed between": killed_between,
    "real kill -9": real_kills,
    "real, corrupted checkpoints": corrupted,
    "real, another machine": other_machine,
    "real, failing": failing,
    "full disk, SQLite": partial(full_disk, what="database"),
    "full disk, checkpoint": partial(full_disk, what="checkpoint"),
    "full disk, packed images": partial(full_disk, what="pack"),
    "only worker stopped, SQLite": partial(only_worker_stopped, engine="sqlite"),
    "only worker stopped, PostgreSQL": partial(only_worker_stopped, engine="postgresql"),
    "database moved": database_moved,
    "real, another user": other_user,
    "real, other pictures": other_data,
    "clock stepped": clock_back,
    "PgBouncer, transactions": partial(pooled, mode="transaction"),
    "PgBouncer, sessions": partial(pooled, mode="session"),
    "SQL_ASCII": in_ascii,
}


def run(name: str, bench: Bench) -> Result:
    """One part, printed."""
    begun = time.monotonic()
    try:
        faults, counts, said = PARTS[name](bench)
    except AssertionError as error:
        faults, counts, said = "did not get to its end", None, str(error)
    whole = counts.whole if counts is not None else faults.startswith("skipped")
    result = Result(name, faults, time.monotonic() - begun, None if counts is None else asdict(counts), whole, said)
    print(f"{'ok  ' if whole else 'FAIL'} {name}: {faults} ({result.seconds:.0f} s)", flush=True)
    print("     " + ("" if counts is None else counts.sentence()) + (f"; {said}" if said else ""), flush=True)
    return result


def machine() -> dict[str, Any]:
    """What the run depends on."""
    return {
        "processor": next((ln.split(":")[1].strip() for ln in open("/proc/cpuinfo") if "model name" in ln), "unknown"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in ("SQLAlchemy", "psycopg", "optuna", "torch")},
    }


HEADINGS = ("trainings", "finished", "failed", "open", "attempts", "seen_finished", "lost", "twice", "untold")
HEADINGS += ("different", "stages_open")


def markdown(found: dict[str, Any]) -> str:
    """The result as a page."""
    facts = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    body = []
    for row in found["parts"]:
        counts = [str((row["counts"] or {}).get(key, "")) for key in HEADINGS]
        cells = [
            row["name"],
            row["faults"],
            *counts,
            "yes" if row["whole"] else "NO",
            f"{row['seconds']:.0f}",
            row["day"],
        ]
        body.append(f"| {' | '.join(cells)} |")
    said = [f"- {row['name']}: {row['said'].splitlines()[0]}" for row in found["parts"] if row["said"]]
    titles = ("part", "faults", *(h.replace("_", " ") for h in HEADINGS), "whole", "s", "day")
    head = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    about = (__doc__ or "").split("\n\n", 2)[2].strip()
    return "\n".join(["# Faults", "", facts, "", about, "", *head, *body, "", *said, ""])


def merged(out: Path, results: list[Result]) -> dict[str, Any]:
    """The results with those of earlier calls, in the order of the parts."""
    path = out.with_suffix(".json")
    before = json.loads(path.read_text()) if path.exists() else {"parts": []}
    known = {row["name"]: {"day": before["machine"].get("date"), **row} for row in before["parts"]}
    known.update({result.name: asdict(result) for result in results})
    return {"machine": machine(), "parts": [known[name] for name in PARTS if name in known]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md; parts that were there before stay")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="NAME")
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    if not find_binaries():
        raise SystemExit(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="nas-faults-"))
    bench = Bench(folder, options.kills)
    results = []
    try:
        for name in options.only:
            results.append(run(name, bench))
            if options.out:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                found = merged(options.out, results)
                options.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
                options.out.with_suffix(".md").write_text(markdown(found))
    finally:
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(0 if all(result.whole for result in results) else 1)


if __name__ == "__main__":
    main()
