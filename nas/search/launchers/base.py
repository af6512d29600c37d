"""What every launcher does: submit workers, see them, end them, find their logs; and a pool that keeps enough of them.

The database stays the record of truth: a launcher only gets processes onto machines, and whatever it loses or forgets,
a worker's claim runs out by its lease.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import psutil

from nas.errors import StudyError
from nas.progress import duration

if TYPE_CHECKING:
    from nas.storage.standing import StageStanding, StudyStatus

RESTARTS = 5  # crashes in a row, without a finished training between them, that are forgiven
GRACE_S = 60.0  # time a worker has to write its checkpoint
IDLE_S = 30.0  # an elastic worker without work leaves its place to others
HUNG = 75
"""Exit code of a worker that could not leave a training which had passed its time limit (sysexits' EX_TEMPFAIL)."""
RENEW = 76
"""Exit code of a worker that ends for a fresh process: its GPU's memory ran out."""


@dataclass(frozen=True)
class Job:
    """One worker as its engine knows it.

    Attributes:
        id: as the engine calls it.
        worker: its name in the database.
        state: waiting (in a queue), running or ended.
        code: exit code of one that ended; None where the engine ended it without one.
        log: where it writes what it does.
        reason: the engine's words: why it waits, or how it ended.
    """

    id: str
    worker: str
    state: Literal["waiting", "running", "ended"]
    code: int | None = None
    log: str = ""
    reason: str = ""


@dataclass(frozen=True)
class WorkerTask:
    """The command that a worker is.

    Attributes:
        study: name of the study.
        url: database URL; it goes into the environment, or a file for the owner only, never onto a command line.
        lease_s: silence after which a training is given away; None: the worker's own.
        max_attempts: workers a training may take with it, without getting on, before it counts as failed.
        trusted: code of the person's own (`module:Class`) that workers may import.
        idle_s: seconds without work after which a worker ends; None: never.
    """

    study: str
    url: str = field(repr=False)
    lease_s: float | None = None
    max_attempts: int = 3
    trusted: Collection[str] = ()
    idle_s: float | None = None

    def command(self, name: str, *options: str, python: str = sys.executable) -> list[str]:
        """The command line of the worker of this name."""
        # -P: a file of the current folder must not stand in for a module of the library.
        command = [python, "-P", "-m", "nas", "worker", self.study, "--name", name, *options]
        for own in sorted(self.trusted):
            command += ["--trust", own]
        for option, seconds in (("--lease", self.lease_s), ("--idle", self.idle_s)):
            command += [] if seconds is None else [option, str(seconds)]
        return command


def new_name(launcher: str) -> str:
    """A name for a worker, unique among all."""
    return f"{launcher}:{uuid.uuid4().hex[:12]}"


class Launcher(Protocol):
    """Gets worker processes onto machines.

    Attributes:
        name: local, slurm or ray.
        task: what workers do.
        most: workers at most.
        elastic: whether workers that ended well are started again when there is work for them.
        poll_s: seconds between two looks.
    """

    name: str
    task: WorkerTask
    most: int
    elastic: bool
    poll_s: float

    def submit(self, count: int) -> None:
        """Asks for so many workers more.

        Raises:
            StudyError: the engine refuses; its own sentence.
        """
        ...

    def jobs(self) -> list[Job]:
        """The workers that were submitted here, until `forget`."""
        ...

    def forget(self, job: Job) -> None:
        """An ended worker that needs no more looking at."""
        ...

    def last_words(self, job: Job) -> tuple[str, str | None] | None:
        """Sentence and hint of a worker that cannot go on; None when it said nothing."""
        ...

    def end(self) -> None:
        """Asks all workers to checkpoint and give back, and ends those that do not come back in `GRACE_S`."""
        ...


@dataclass
class JobPool:
    """Keeps as many workers as there is work for, and counts how they end.

    Attributes:
        launcher: starts them.
    """

    launcher: Launcher
    _retired: int = 0
    _crashes: int = 0
    _finished_at_crash: int = -1

    def start(self, status: StudyStatus) -> None:
        """Starts the first workers."""
        self.launcher.submit(self._wanted(status))

    def check(self, status: StudyStatus, crashed: Callable[[Job], None]) -> list[Job]:
        """Looks at all workers, and starts those that are missing; returns those that are there.

        Args:
            status: the study's; finished trainings reset the count of crashes.
            crashed: told of a worker that died, before its successor starts.

        Raises:
            StudyError: a worker says that the user must act, or crashes come one after the other.
        """
        alive: list[Job] = []
        for job in self.launcher.jobs():
            if job.state != "ended":
                alive.append(job)
                continue
            self.launcher.forget(job)
            if job.code == 0:
                self._retired += not self.launcher.elastic
                continue
            if job.code == 2:
                raise StudyError(*self._said(job))
            crashed(job)
            if job.code not in (HUNG, RENEW):  # what happened is booked: the next worker takes it or another from there
                self._count_crash(job, status["trainings"]["finished"])
        missing = self._wanted(status) - len(alive)
        if missing > 0 and status["wish"] == "run":
            self.launcher.submit(missing)
            alive = [job for job in self.launcher.jobs() if job.state != "ended"]
        return alive

    def _wanted(self, status: StudyStatus) -> int:
        if not self.launcher.elastic:
            return self.launcher.most - self._retired
        begun = [s["trainings"] for s in status["stages"] if s["status"] == "running"]
        work = sum(counts["waiting"] + counts["running"] for counts in begun)
        return min(self.launcher.most, max(1, int(work)))  # one, to plan what comes next

    def _count_crash(self, job: Job, finished: int) -> None:
        self._crashes = 1 if finished > self._finished_at_crash else self._crashes + 1
        self._finished_at_crash = finished
        if self._crashes > RESTARTS:
            raise StudyError(
                f"workers ended {RESTARTS + 1} times in a row, the last one {job.id} ({end_words(job)})",
                f"its log ends with why: {job.log}",
            )

    def _said(self, job: Job) -> tuple[str, str | None]:
        words = self.launcher.last_words(job)
        return words or (f"worker {job.id} cannot go on", f"its log ends with why: {job.log}")


def read_words(file: Path) -> tuple[str, str | None] | None:
    """Sentence and hint that a worker left in its file; None when there are none."""
    try:
        words = json.loads(file.read_text())
        return str(words["message"]), words["hint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def end_words(job: Job) -> str:
    """How a worker ended, for people."""
    return exit_words(job.code) if job.code is not None else job.reason or "ended by the engine"


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


def time_left(status: StudyStatus) -> float | None:
    """What the process that runs a study said last of the time left, less what has passed; None: it said nothing."""
    ends_at = status["launch"].get("ends_at")
    return None if ends_at is None else max(0.0, float(ends_at) - float(status["now"]))


def has_stopped(status: StudyStatus) -> bool:
    """Whether a study was ended before it was finished, and nobody works on it any more."""
    if status["wish"] not in ("stop", "stop now") or status["finished"]:
        return False
    held = any((row["lease_until"] or 0.0) > status["now"] for row in status["running"])  # nobody ends a killed one's
    return not (held or status["doing"] or status["launch"].get("jobs"))


def stage_state(stage: StageStanding, status: StudyStatus) -> str:
    """The state of a stage of `Repository.status`; one that had begun when its study was ended is `stopped`."""
    return "stopped" if stage["status"] == "running" and has_stopped(status) else str(stage["status"])


def trainings_words(status: StudyStatus) -> str:
    """How many trainings of a study ended well, and how many failed; one that several stages ask for is one.

    >>> stages = [{"trainings": {"finished": 9, "failed": 6}}, {"trainings": {"finished": 5, "failed": 0}}]
    >>> trainings_words({"stages": stages, "trainings": {"finished": 12, "failed": 6}})
    '12 trainings, 6 more failed (stages that share some count 2 more)'
    """
    finished, failed = (status["trainings"][key] for key in ("finished", "failed"))
    again = sum(stage["trainings"][key] for stage in status["stages"] for key in ("finished", "failed"))
    words = f"{finished} training{'s' * (finished != 1)}" + (f", {failed} more failed" if failed else "")
    shared = again - finished - failed
    return words + (f" (stages that share some count {shared} more)" if shared else "")


def _hosts_at_work(status: StudyStatus) -> list[str]:
    """Machines with workers that do not end with the process which ran the study on this one and is gone."""
    launch, here = status["launch"], socket.gethostname()
    its_own = {job["worker"] for job in launch.get("jobs", []) if launch["launcher"] == "local"}
    return sorted(
        {
            worker["host"] or "?"
            for worker in status["workers"]
            if worker["id"] not in its_own and (worker["host"] != here or psutil.pid_exists(worker["pid"] or 0))
        }
    )


def launch_lines(status: StudyStatus) -> list[str]:
    """Sentences on what is wished of a study and where its workers are, of `Repository.status`."""
    launch, wish, why = status["launch"], status["wish"], status["why"]
    lines = [f"stopped: {why or 'it was asked to'}"] if has_stopped(status) else []
    if not lines and wish != "run":
        lines = [f"wished: {wish}" + (f" ({why})" if why else "")]
    jobs = launch.get("jobs", [])
    if launch:
        log = f", log {launch['log']}" if launch.get("log") else ""
        runner = f"process {launch['pid']} on {launch['host']}"
        if launch["host"] == socket.gethostname() and not psutil.pid_exists(launch["pid"]):
            jobs = [] if launch["launcher"] == "local" else jobs  # workers here end with it, those of an engine go on
            others = ", ".join(_hosts_at_work(status))
            goes_on = f"workers on {others} go on with it" if others else "run the same command to go on"
            lines += [] if status["finished"] else [f"{runner} ran it and is gone: {goes_on}{log}"]
        else:
            lines.append(f"run by {runner}, workers through {launch['launcher']}{log}")
            if (left := time_left(status)) is not None:
                lines.append(f"at most about {duration(left)} left")
    for job in jobs:
        waits = f", {job['reason']}" if job["reason"] else ""
        lines.append(f"{launch['launcher']} {job['id']}: {job['state']}{waits}, log {job['log']}")
    return lines
