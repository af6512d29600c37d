"""Runs a study on this machine: registers it, starts workers, watches them, ends cleanly.

The runner trains nothing itself. Workers are processes of their own, so a crash of one is a line in
a log; they stop when their runner is gone. Progress is read from the database.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import StudyError
from nas.search import own_function
from nas.search.context import FINAL, SELECT, SOURCE, SPLITS, StudyContext, StudyParts, cache_folder, training_device
from nas.search.definition import START, StudyDefinition
from nas.search.growth import Growth, growth, reopen
from nas.search.handing import is_handed_recipe
from nas.search.joining import stored_definition
from nas.search.mirror import Mirror
from nas.search.stages.base import TUNE, register_dataset
from nas.search.stages.shrink import store_space
from nas.search.starts import CONTROL
from nas.search.worker import HUNG, RENEW, worker_name
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.collection import collect_checkpoints
from nas.training.fidelity import Fidelity

if TYPE_CHECKING:
    from nas.storage import Repository, StudyInfo

POLL_S = 0.5
RESTARTS = 5  # crashes in a row, without a finished training between them, that are forgiven
GRACE_S = 60.0  # time a worker has to write its checkpoint
LOG_BYTES = 16 << 20  # a log longer than this starts anew, its end is kept beside it
LOG_TAIL_BYTES = 1 << 20


def register(definition: StudyDefinition, repository: Repository) -> int:
    """Stores study, space and stages, or finds them again; returns the study's id.

    Raises:
        StudyError: a study of this name with other settings is in the database.
    """
    parts = StudyParts(definition, repository)
    space = parts.space
    store_space(repository, space)
    stored = {**definition.stored(), "space": space.to_dict()}
    if is_handed_recipe(definition.recipe):
        stored["recipe"] = parts.recipe.to_dict()
    stored["code"] = own_function.code_hashes(stored)
    known = next((s for s in repository.studies() if s.name == definition.name), None)
    grown = Growth() if known is None else _grown(StudyContext(definition, repository, known.id), known, stored)
    stored["history"] = _history(known, grown)
    if parts.replay is None and parts.recipe.precision == "auto":
        stored["precision"] = (known and known.definition.get("precision")) or _precision(definition)
    study_id = repository.ensure_study(definition.name, stored, definition.seed, space.id)
    reopen(repository, study_id, grown)
    for stage in definition.named_stages():
        repository.ensure_stage(study_id, stage.position, stage.name, stage.kind, stage.stored())
    context = StudyContext(definition, repository, study_id)
    if context.replay is not None:
        _ = context.table_id  # refuses a table that was edited since the study began
    elif context.times:
        repository.set_study_latency(study_id, context.protocol.id, context.device_name)
    return study_id


def _precision(definition: StudyDefinition) -> str:
    """What `precision: auto` means in a study, decided once, on the machine that registers it."""
    import torch

    from nas.training.precision import resolve_precision

    return resolve_precision("auto", torch.device(training_device(definition)))


def _grown(context: StudyContext, known: StudyInfo, stored: dict[str, Any]) -> Growth:
    """What the study has more to do than when it was run last.

    Raises:
        StudyError: the file would compute something else under the name of a study that exists.
    """
    before = known.definition.get("code", {})
    edited = sorted(name for name, code in before.items() if stored["code"].get(name, code) != code)
    if edited:
        raise StudyError(
            f"the code of {', '.join(edited)} was changed since study {known.name!r} was started",
            "give the study another name: its results would be those of two different blocks "
            "(finished trainings of unchanged ones are shared, not repeated)",
        )
    plain = json.loads(json.dumps(stored))
    return growth(
        stored_definition(known.definition), stored_definition(plain), lambda: _same_data(context, known.name)
    )


def _same_data(context: StudyContext, study: str) -> bool:
    """Whether the data that the study was trained on are those of the file now, by content."""
    rows = context.repository.results(study)
    views = {SPLITS[view]: view for view in (context.search_view, FINAL)}
    known = rows[rows["split"].isin(list(views))].drop_duplicates("split")
    asked = dict(zip(known["split"].astype(str), known["training_id"].astype(int), strict=True))
    return bool(asked) and all(
        context.repository.training(training)["dataset_id"] == register_dataset(context, views[split])  # type: ignore[index]
        for split, training in asked.items()
    )


def _history(known: StudyInfo | None, grown: Growth) -> list[dict[str, Any]]:
    """When the study grew, and by what."""
    before = [] if known is None else list(known.definition.get("history", []))
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [*before, {"at": now, "grown": list(grown.words)}] if grown.words else before


@dataclass
class LocalWorkers:
    """The worker processes of one `nas run`.

    Attributes:
        study: name of the study.
        url: database URL.
        count: number of workers.
        log_folder: one log file a worker.
        lease_s: silence after which a training is given away; None: the worker's own.
        max_attempts: workers a training may take with it, without getting on, before it counts as failed.
        trusted: code of the person's own (`module:Class`) that workers may import.
        devices: where they train, taken in turn; empty: where the study says.
    """

    study: str
    url: str
    count: int
    log_folder: Path
    lease_s: float | None = None
    max_attempts: int = 3
    trusted: Collection[str] = ()
    devices: Sequence[str] = ()
    _processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _crashes: int = 0
    _finished_at_crash: int = -1

    def start(self) -> None:
        """Starts all workers."""
        self.log_folder.mkdir(parents=True, exist_ok=True)
        for number in range(self.count):
            self._processes[number] = self._spawn(number)

    def log_file(self, number: int) -> Path:
        """Where a worker writes what it does."""
        return self.log_folder / f"{self.study}-worker{number}.log"

    def _last_words(self, number: int) -> Path:
        """Where a worker says why it cannot go on."""
        return self.log_file(number).with_suffix(".error.json")

    def _spawn(self, number: int) -> subprocess.Popen[bytes]:
        self._names[number] = worker_name(number)
        self._last_words(number).unlink(missing_ok=True)
        # -P: a file of the current folder must not stand in for a module of the library.
        command = [sys.executable, "-P", "-m", "nas", "worker", self.study, "--parent", str(os.getpid())]
        command += ["--name", self._names[number], "--threads", str(self._threads())]
        command += ["--last-words", str(self._last_words(number))]
        for own in sorted(self.trusted):
            command += ["--trust", own]
        if self.devices:
            command += ["--device", self.devices[number % len(self.devices)]]
        if self.lease_s is not None:
            command += ["--lease", str(self.lease_s)]
        with self.log_file(number).open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(self.url, self._threads()),
                start_new_session=True,  # Ctrl-C reaches the runner only, which then asks politely
            )

    def _threads(self) -> int:
        return max(1, usable_cores() // self.count)

    def check(self, finished: int, crashed: Callable[[str, int], None]) -> None:
        """Starts crashed workers again.

        Args:
            finished: trainings finished so far; progress resets the count of crashes.
            crashed: told the name and exit code of a worker that died, before its successor starts.

        Raises:
            StudyError: a worker says that the user must act, or crashes come one after the other.
        """
        for number, process in list(self._processes.items()):
            _bound(self.log_file(number))
            code = process.poll()
            if code is None or code == 0:
                continue
            if code == 2:
                raise StudyError(*self._said(number))
            crashed(self._names[number], code)
            if code not in (HUNG, RENEW):  # what happened is booked: the next worker takes it or another from there
                self._count_crash(number, code, finished)
            self._processes[number] = self._spawn(number)

    def _count_crash(self, number: int, code: int, finished: int) -> None:
        self._crashes = 1 if finished > self._finished_at_crash else self._crashes + 1
        self._finished_at_crash = finished
        if self._crashes > RESTARTS:
            raise StudyError(
                f"worker {number} ended {RESTARTS + 1} times in a row ({exit_words(code)})",
                f"its log ends with why: {self.log_file(number)}",
            )

    def _said(self, number: int) -> tuple[str, str | None]:
        """Sentence and hint of a worker that cannot go on."""
        try:
            words = json.loads(self._last_words(number).read_text())
            return str(words["message"]), words["hint"]
        except (OSError, ValueError, KeyError, TypeError):
            return f"worker {number} cannot go on", f"its log ends with why: {self.log_file(number)}"

    @property
    def running(self) -> bool:
        """Whether any worker is alive."""
        return any(process.poll() is None for process in self._processes.values())

    def stop(self) -> None:
        """Asks all workers to checkpoint and give back; kills those that do not come back in time."""
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + GRACE_S
        for process in self._processes.values():
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _environment(url: str, threads: int) -> dict[str, str]:
    """Environment of a worker: its share of the cores; the URL stays out of `ps`."""
    values = dict(os.environ, NAS_DATABASE=url, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    values["PYTHONUNBUFFERED"] = "1"
    return values


def exit_words(code: int) -> str:
    """How a process ended, for people.

    >>> exit_words(-11), exit_words(1)
    ('killed by SIGSEGV: a library crashed', 'exit code 1')
    """
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"killed by {name}" + _SIGNAL_WORDS.get(name, "")


_SIGNAL_WORDS = {
    "SIGSEGV": ": a library crashed",
    "SIGBUS": ": a library crashed, or a file it had mapped was cut short",
    "SIGABRT": ": a library gave up",
    "SIGILL": ": a library uses instructions that this processor lacks",
    "SIGFPE": ": a library crashed",
    "SIGKILL": ": often the system's answer to memory that ran out",
}


def _bound(log: Path) -> None:
    """Keeps a log that grows without end from filling the disk; workers append, so it may be cut under them."""
    try:
        if log.stat().st_size <= LOG_BYTES:
            return
        with log.open("rb+") as file:
            file.seek(-LOG_TAIL_BYTES, os.SEEK_END)
            log.with_suffix(".before.log").write_bytes(file.read())
            file.truncate(0)
    except OSError:
        return  # the next look may succeed; a log must not end a study


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM to the runner (preemption, systemd) ends it as Ctrl-C does."""

    def handle(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_workers(
    repository: Repository,
    workers: LocalWorkers,
    watch: Callable[[dict[str, Any]], None],
    interrupted: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Runs a registered study to its end; returns its last status.

    Args:
        repository: the database, for polling.
        workers: not yet started.
        watch: called with the study's status about twice a second.
        interrupted: called at once on Ctrl-C or SIGTERM, before workers are asked to end.

    Raises:
        StudyError: the study cannot go on; the sentence says what to do.
        KeyboardInterrupt: after all workers have checkpointed and given back what they had.
    """
    with _terminate_as_interrupt():
        status = repository.status(workers.study)
        try:
            workers.start()
            while not status["finished"]:
                time.sleep(POLL_S)
                status = repository.status(workers.study)
                watch(status)
                finished = status["trainings"]["finished"]
                workers.check(finished, partial(_take_back, repository, status, workers.max_attempts))
                if not workers.running:
                    status = _finished_or_stopped(repository, workers.study)
            return status
        except KeyboardInterrupt:
            interrupted()
            raise
        finally:
            workers.stop()


def _finished_or_stopped(repository: Repository, study: str) -> dict[str, Any]:
    """The status of a study that is finished; without workers an unfinished one would be waited for in vain."""
    status = repository.status(study)
    if not status["finished"]:
        raise StudyError(
            "all workers of this run were stopped before the study was finished",
            "run the same command again to go on where they stopped",
        )
    return status


def _take_back(repository: Repository, status: dict[str, Any], max_attempts: int, worker: str, code: int) -> None:
    """Gives a dead worker's training and planning right to the others at once, not after its lease."""
    for row in repository.status(status["study"])["running"]:
        if row["owner"] == worker:
            reason = f"its worker process ended: {exit_words(code)}"
            repository.take_back(row["training_id"], worker, reason, max_silences=max_attempts - 1)
    for stage in status["stages"]:
        repository.release_stage(stage["stage_id"], worker)
    repository.worker_stopped(worker)


def reconcile(context: StudyContext) -> None:
    """Tells Optuna's tables what a worker stored but was killed before it could tell them."""
    Mirror(context).reconcile()


def tidy(repository: Repository, definition: StudyDefinition) -> int:
    """Removes checkpoints that the study's policy does not keep; returns how many.

    Whatever was confirmed or is a baseline stays: those are the networks people go on with.
    """
    results = repository.results(definition.name)
    wanted = results[(results["stage_kind"] == "confirm") | ~results["role"].isin(["candidate", TUNE, CONTROL])]
    store = CheckpointStore(definition.checkpoints or cache_folder() / "checkpoints")
    kept = {int(i) for i in wanted["training_id"]}
    policy = definition.keep_checkpoints
    return len(collect_checkpoints(repository, store, definition.name, policy, keep=kept).removed)


def log_folder() -> Path:
    """Where workers of this folder's studies write what they do."""
    return cache_folder() / "logs"


def prepare(context: StudyContext, bar: contextlib.AbstractContextManager[Any]) -> None:
    """Makes and packs the images once, before workers ask for them at the same time."""
    if not context.trains:
        return
    views = {"confirm": FINAL, "pretrain": SOURCE, "tune": SELECT}
    with bar as progress:
        context.progress = progress
        wanted = [
            (views.get(stage.kind, context.search_view), getattr(stage.settings, "fidelity", None) or Fidelity())
            for stage in context.definition.named_stages()
            if stage.kind not in ("profile", START)
        ]
        for view, fidelity in dict.fromkeys(wanted):
            context.prepared(view, fidelity)
        context.progress = None
