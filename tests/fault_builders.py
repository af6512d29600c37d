"""Studies that are disturbed on purpose: real processes, watched from outside, broken, and counted at the end.

Used by `tests/faults` (short) and `benchmarks/faults.py` (long). A disturbed study must end with the same
rows as an undisturbed run of the same file; `Counts` says what differs.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from search_builders import open_study, study_file, work
from sqlalchemy import inspect, text

from nas.search.definition import load_study
from nas.search.runner import register
from nas.spaces import own_code
from nas.storage import Repository, open_database
from nas.storage.studies import LONGEST_PLANNING_S

Row = tuple[str, str, str, int, str, str | None, float | None]
WAIT_S = 240.0 * float(os.environ.get("NAS_PATIENCE", "1"))
"""`NAS_PATIENCE=4` waits four times as long, on a machine that does other things."""
KEY = "candidate_id, recipe_id, dataset_id, fidelity_label, seed"
SHORT: list[Any] = [
    {"sweep": {"design": "stratified", "candidates": 12, "seeds": 2}},
    {"search": {"sampler": "nsga2", "trainings": 12, "batch": 4}},
    {"confirm": {"max_candidates": 3, "seeds": 2}},
]


@dataclass(frozen=True)
class Counts:
    """What a disturbed study came to; `whole` when nothing but time was lost.

    Attributes:
        trainings: rows the study asked for.
        finished: of them, with a result.
        failed: of them, recorded as failed.
        open: of them, still running or waiting.
        attempts: claims that were made for them in all.
        seen_finished: results that were seen in the database while it was disturbed.
        lost: of those, gone or changed at the end.
        twice: trainings with the same key as another, or told to Optuna more than once.
        untold: finished trainings inside the space that Optuna's tables lack.
        different: rows that an undisturbed run does not have, or has and this one has not.
        stages_open: stages that did not end.
    """

    trainings: int
    finished: int
    failed: int
    open: int
    attempts: int
    seen_finished: int
    lost: int
    twice: int
    untold: int
    different: int
    stages_open: int

    @property
    def whole(self) -> bool:
        """Whether nothing was lost, doubled, left running or different."""
        return not (self.open or self.lost or self.twice or self.untold or self.different or self.stages_open)

    def sentence(self) -> str:
        """All counts in one line."""
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in asdict(self).items())


class FaultStudy:
    """One study in its own folder, run by `nas run` and `nas worker` in processes of their own.

    Args:
        file: the study file.
        url: its database.
        hooks: Python statements that every process started here runs first (a fault from inside).
    """

    def __init__(self, file: Path, url: str, hooks: str = "") -> None:
        self.file, self.url, self.hooks = file, url, hooks
        self.folder = file.parent
        self.name = load_study(file).name
        self.seen: dict[int, float] = {}
        self.killed = 0

    @classmethod
    def replayed(
        cls,
        folder: Path,
        url: str | None = None,
        stages: Sequence[Any] = SHORT,
        *,
        seconds: float = 0.05,
        **changes: Any,
    ) -> FaultStudy:
        """A study of trainings that only take their time, on a table of results."""
        folder.mkdir(parents=True, exist_ok=True)
        url = url or f"sqlite:///{folder / 'study.db'}"
        changes = {"max_attempts": 60, **changes}
        return cls(study_file(folder, list(stages), seconds=seconds, database=url, **changes), url)

    @classmethod
    def real(cls, folder: Path, url: str | None = None, *, candidates: int = 3, **changes: Any) -> FaultStudy:
        """A study of real trainings, of about a second each, that write a checkpoint before every step.

        Work on it with `worker`, not with `run`, which shares out the cores: another number of threads gives other
        last digits.
        """
        folder.mkdir(parents=True, exist_ok=True)
        url = url or f"sqlite:///{folder / 'study.db'}"
        file = folder / "study.yaml"
        data = {**real_definition(candidates), "database": url, **changes}
        file.write_text(yaml.safe_dump(data, sort_keys=False))
        return cls(file, url)

    # -- processes

    def run(
        self,
        *arguments: str,
        lease: float = 3.0,
        report: bool = False,
        before: Sequence[str] = (),
        **environment: str,
    ) -> subprocess.Popen[bytes]:
        """Starts `nas run` on the study, with words before the command."""
        writes = "--report" if report else "--no-report"
        command = ["run", str(self.file), writes, "--lease", str(lease), *arguments]
        return self._start(command, self.hooks, environment, before)

    def worker(
        self,
        *arguments: str,
        hooks: str = "",
        lease: float = 3.0,
        before: Sequence[str] = (),
        **environment: str,
    ) -> subprocess.Popen[bytes]:
        """Starts one `nas worker`, with Python statements run in it first and words before it."""
        self.register()
        command = ["worker", self.name, "--lease", str(lease), "--threads", "1", *arguments]
        command += [option for name in sorted(self._own_code()) for option in ("--trust", name)]
        return self._start(command, self.hooks + hooks, {"NAS_DATABASE": self.url, **environment}, before)

    def _own_code(self) -> frozenset[str]:
        """What a person who starts a worker by hand says they know."""
        return own_code.named_in(yaml.safe_load(self.file.read_text()))

    def _start(
        self,
        command: list[str],
        hooks: str,
        environment: dict[str, str],
        before: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        code = f"{hooks}\nimport sys\nfrom nas.cli.main import main\nsys.exit(main(sys.argv[1:]))"
        paths = os.pathsep.join(p for p in (str(self.folder), os.environ.get("PYTHONPATH")) if p)
        # Locks of its own: measurements of other programs on this machine must not hold this study up.
        own = {"NAS_LOCKS": str(self.folder / "locks"), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*before, sys.executable, "-c", code, *command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **own, **environment},
                start_new_session=True,
            )

    @property
    def log(self) -> Path:
        """What the processes started here said."""
        return self.folder / "run.log"

    def said(self, characters: int | None = 3000) -> str:
        """What workers and runners said, or the end of it."""
        logs = [*sorted((self.folder / ".nas" / "logs").glob("*.log")), self.log]
        texts = {log.name: log.read_text(errors="replace") for log in logs if log.exists()}
        return "\n".join(f"--- {name}\n{content[-(characters or len(content)) :]}" for name, content in texts.items())

    def resumed(self) -> int:
        """How often a worker went on from a checkpoint."""
        return self.said(None).count("goes on from a checkpoint")

    def last_error(self) -> str:
        """The last error sentence that a run printed."""
        sentences = [line.removeprefix("Error: ") for line in self.said().splitlines() if line.startswith("Error: ")]
        return sentences[-1] if sentences else "no error was printed"

    def register(self) -> None:
        """Stores the study, as `nas run` does before it starts workers."""
        sys.path.insert(0, str(self.folder))  # where own blocks are, as for a command started there
        try:
            with open_database(self.url) as database:
                register(load_study(self.file), Repository(database))
        finally:
            sys.path.remove(str(self.folder))

    def finish(self, process: subprocess.Popen[bytes], expected: int = 0) -> None:
        """Waits for a process, which must end with this exit code."""
        try:
            code = process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            end(process)
            raise AssertionError(f"the study did not end\n{self.said()}") from None
        assert code == expected, f"exit code {code}, not {expected}\n{self.said()}"

    # -- watching

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Notes every finished training it sees meanwhile; also through outages."""
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(0.1):
            with contextlib.suppress(Exception):  # not there yet, or away: looks again
                self._look(over)

    def _look(self, over: threading.Event) -> None:
        with open_database(self.url, create=False, read_only=True) as database:
            repository = Repository(database, patience_s=1.0)
            while True:
                for row in repository.rows(text(FINISHED)):
                    self.seen.setdefault(row.id, row.map)
                if over.wait(0.1):
                    return

    def wait_for(self, count: int, process: subprocess.Popen[bytes] | None = None) -> int:
        """Waits (inside `watched`) for so many finished trainings, or for the end of the process; returns the count."""
        until = time.monotonic() + WAIT_S
        while len(self.seen) < count and (process is None or process.poll() is None):
            assert time.monotonic() < until, f"only {len(self.seen)} trainings finished\n{self.said()}"
            time.sleep(0.02)
        return len(self.seen)

    @contextlib.contextmanager
    def held(self, stage: str = "search") -> Iterator[None]:
        """Meanwhile the study does not get to this stage, so that it cannot end before a test that is slow has acted.

        The stage's planner is this one, who plans nothing.
        """
        self.register()
        with open_database(self.url) as database:
            repository = Repository(database)
            stages = {found.kind: found.id for found in repository.stages(repository.study(self.name).id)}
            assert repository.lease_stage(stages[stage], "held", LONGEST_PLANNING_S)
        yield
        with open_database(self.url) as database:
            Repository(database).release_stage(stages[stage], "held")

    # -- faults

    def kill_one(self, runner: subprocess.Popen[bytes], rng: random.Random) -> None:
        """SIGKILLs a random worker of a runner."""
        victims = workers_of(runner)
        if victims:
            with contextlib.suppress(psutil.Error):
                rng.choice(victims).kill()
                self.killed += 1

    def kill_workers(self, runner: subprocess.Popen[bytes], kills: int, rng: random.Random) -> None:
        """SIGKILLs random workers of a runner, one or two after every finished training (inside `watched`)."""
        before = 0
        while self.killed < kills and runner.poll() is None:
            before = self.wait_for(before + 1, runner)
            for _ in range(rng.choice((1, 2))):
                time.sleep(rng.uniform(0.0, 0.3))
                self.kill_one(runner, rng)

    # -- the end

    def plan(self) -> list[Row]:
        """What the study holds, in an order that does not depend on who did what when."""
        with open_database(self.url, create=False, read_only=True) as database:
            results = Repository(database).results(self.name)
        columns = ("stage", "role", "notation", "seed", "status", "failure_kind", "map")
        rows = zip(*(results[name].tolist() for name in columns), strict=True)
        return sorted(tuple(None if value != value else value for value in row) for row in rows)  # type: ignore[misc]

    def counts(self, expected: Sequence[Row]) -> Counts:
        """What is there now, against the rows of an undisturbed run."""
        found = self.plan()
        with open_database(self.url, create=False, read_only=True) as database:
            repository = Repository(database)
            status = repository.status(self.name)
            kept = {row.id: row.map for row in repository.rows(text(FINISHED))}
            doubles = repository.rows(text(f"SELECT 1 FROM nas_training GROUP BY {KEY} HAVING count(*) > 1"))
            attempts = repository.rows(text("SELECT sum(attempts) FROM nas_training"))[0][0]
            told, untold = self._told(repository)
        trainings = status["trainings"]
        found_rows, expected_rows = Counter(found), Counter(expected)
        return Counts(
            trainings=sum(trainings.values()),
            finished=trainings["finished"],
            failed=trainings["failed"],
            open=trainings["running"] + trainings["waiting"],
            attempts=int(attempts),
            seen_finished=len(self.seen),
            lost=sum(1 for id_, value in self.seen.items() if kept.get(id_) != value),
            twice=len(doubles) + told,
            untold=untold,
            different=((found_rows - expected_rows) + (expected_rows - found_rows)).total(),
            stages_open=sum(stage["status"] != "finished" for stage in status["stages"]),
        )

    def _told(self, repository: Repository) -> tuple[int, int]:
        """Trials in Optuna's tables of a training that has one already, and finished trainings without one."""
        query = (
            "SELECT a.value_json, s.study_name FROM trial_user_attributes a JOIN trials t ON t.trial_id = a.trial_id "
            "JOIN studies s ON s.study_id = t.study_id WHERE a.key = 'nas_training_id'"
        )
        known = inspect(repository.database.engine).has_table("trials")  # made when the first result is told
        trials = [(int(value), name) for value, name in repository.rows(text(query))] if known else []
        results = repository.results(self.name)
        inside = results[(results["status"] == "finished") & (results["role"] == "candidate")]
        wanted = {
            (int(i), f"{self.name}/{stage}") for i, stage in zip(inside["training_id"], inside["stage"], strict=True)
        }
        return len(trials) - len(set(trials)), len(wanted - set(trials))


FINISHED = "SELECT id, map FROM nas_training WHERE status = 'finished'"


def undisturbed(folder: Path, stages: Sequence[Any] = SHORT) -> list[Row]:
    """The rows of a replayed study that nobody disturbs, run in this process."""
    study = FaultStudy.replayed(folder, stages=stages, seconds=0.0)
    _, _, context = open_study(study.file)
    work(context)
    return study.plan()


def real_definition(candidates: int) -> dict[str, Any]:
    """A study of tiny networks on a few generated pedestrians; nothing in it is timed."""
    return {
        "name": "real",
        "space": {
            "name": "tiny",
            "backbones": {"resnet18": {"width": 0.125}},
            "blocks": ["se"],
            "rules": [{"max_blocks": 1}],
        },
        "data": {"generated": {"train_identities": 12, "test_identities": 4, "cameras": 2, "images": 2}},
        "recipe": {
            "extends": "quickstart", "input": [32, 16], "epochs": 4, "identities": 2, "images": 2,
            "checkpoint_seconds": 0,
        },
        "latency": {"device": "elsewhere", "wait_for_device": False, "input": [32, 16]},
        "cost": "params",
        "seed": 2,
        "device": "cpu",
        "max_attempts": 60,
        "stages": [{"sweep": {"design": "random", "candidates": candidates, "baselines": False}}],
    }  # fmt: skip


# Connections to a database that are inside a transaction which has written something.
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = %s AND xact_start IS NOT NULL AND backend_xid IS NOT NULL
"""
# Statements that a process runs before anything else: faults from inside it.
CLOCK_AHEAD = """
import time
now = time.time
time.time = lambda: now() + 86400.0
"""
DIE_BEFORE_TELLING = """
import math, os, signal
from nas.search import mirror
from nas.search.mirror import Mirror
mirror.FLUSH_S = math.inf  # not before there is nothing else to do, however long that takes
add, flush = Mirror.add, Mirror.flush
def adding(self, claim, outcome):
    self.added = True
    add(self, claim, outcome)
def dying(self):
    if getattr(self, "added", False):
        os.kill(os.getpid(), signal.SIGKILL)
    flush(self)
Mirror.add, Mirror.flush = adding, dying
"""
SHARE_AT_ONCE = """
import nas.search.checkpoints
nas.search.checkpoints.SHARE_S = 0.0
"""


def after_saves(count: int, what: str) -> str:
    """Statements with which a worker does something once: when its training has written that many checkpoints.

    A test that only looks for a checkpoint from outside may find the training's last one.
    """
    return f"""
import importlib, os, signal, threading

run = importlib.import_module("nas.training.run")
save, saved = run.save_checkpoint, []


def save_and_count(*arguments):
    digest = save(*arguments)
    saved.append(digest)
    if len(saved) == {count}:
        {what}
    return digest


run.save_checkpoint = save_and_count
"""


STAND = "os.kill(os.getpid(), signal.SIGSTOP)"  # the whole process, as a machine that sleeps
TRAIN_NO_FURTHER = "threading.Event().wait()"  # the training only: the worker's heart beats on
FAULTY_BLOCKS = '''
"""Blocks that go wrong in training, each in its own way."""

import torch
from nas.networks.blocks import AttentionBlock
from nas.spaces import BlockSpec


def spec(name):
    return BlockSpec(name=name, title=name, family="channel-wise", params=(), source="none", summary="goes wrong")


class Faulty(AttentionBlock):
    def __init__(self, shape):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(shape.channels))

    def forward(self, x):
        return self.wrong(x) if self.training and torch.is_grad_enabled() and x.device.type != "meta" else x


class Undefined(Faulty):
    spec = spec("undefined")

    def wrong(self, x):
        return x * float("nan") + self.weight[:, None, None]


class Raising(Faulty):
    spec = spec("raising")

    def wrong(self, x):
        raise RuntimeError("this block always fails")


class Hungry(Faulty):
    spec = spec("hungry")

    def wrong(self, x):
        return x + torch.empty(1 << 50)[0]
'''


def write_faulty_blocks(folder: Path) -> dict[str, Any]:
    """Writes own blocks into a study's folder; returns the study's keys that use them beside a good one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faulty.py").write_text(FAULTY_BLOCKS)
    blocks = ["se", "faulty:Undefined", "faulty:Raising", "faulty:Hungry"]
    space = {"name": "faulty", "backbones": {"resnet18": {"width": 0.125}}, "blocks": blocks, "sites": [4, 6]}
    stages = [{"sweep": {"design": "exhaustive", "blocks": 1, "baselines": False}}]
    return {"space": {**space, "rules": [{"max_blocks": 1}]}, "stages": stages}


NOBODY = 65534
AS_ANOTHER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")
"""Words before a command that root runs: to files of others it is another user, as everybody is."""


def give_away(folder: Path, owner: int = NOBODY) -> None:
    """Makes a folder, with all in it, another user's."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner, owner)


def generate_images(study: FaultStudy, cache: Path) -> None:
    """Makes a study's generated images, but not their packs."""
    from nas.data import load_dataset

    load_dataset(load_study(study.file).data, cache=cache)


def spoil(path: Path, how: str) -> bool:
    """Damages a file: "cut off", "changed" (one byte in the middle) or "rubbish"; whether there was one."""
    data = bytearray(path.read_bytes())
    if how == "cut off":
        data = data[: len(data) // 2]
    elif how == "changed":
        data[len(data) // 2] ^= 0xFF
    else:
        data = bytearray(b"rubbish")
    path.write_bytes(data)
    return True


def workers_of(runner: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The worker processes of a `nas run`."""
    try:
        return [child for child in psutil.Process(runner.pid).children() if "worker" in child.cmdline()]
    except psutil.Error:
        return []


def stop_when(process: subprocess.Popen[bytes], condition: Callable[[], bool], what: str) -> None:
    """Stops a process (until SIGCONT) at a moment at which a condition holds, and still holds when it stands."""

    def stands() -> bool:
        if not condition():
            return False
        process.send_signal(signal.SIGSTOP)
        while psutil.Process(process.pid).status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
            time.sleep(0.01)
        if condition():
            return True
        process.send_signal(signal.SIGCONT)
        return False

    until(stands, what)


def until_it_stands(process: subprocess.Popen[bytes]) -> None:
    """Waits for a process that stops itself (`STAND`)."""
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "a process that stands")


def end(*processes: subprocess.Popen[bytes]) -> None:
    """Kills processes started here, with their children."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path | None]:
    """A file system of that size mounted on a folder; None where mounting is not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(folder: Path) -> Path:
    """Writes a file until its file system is full; returns it. Called again, also what became free since."""
    ballast = folder / "ballast"
    for block in (65536, 512):
        with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
            while file.write(b"\0" * block) == block:
                pass
    return ballast


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
