"""Workers as processes of this machine, each with its share of the cores and a device."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas.search.launchers.base import GRACE_S, Job, WorkerTask, read_words
from nas.search.worker import worker_name

LOG_BYTES = 16 << 20  # a log longer than this starts anew, its end is kept beside it
LOG_TAIL_BYTES = 1 << 20


@dataclass
class LocalLauncher:
    """The worker processes of one `nas run`; they stop when it is gone.

    Attributes:
        task: what they do.
        most: number of workers.
        log_folder: one log file a worker.
        devices: where they train, taken in turn; empty: where the study says.
    """

    task: WorkerTask
    most: int
    log_folder: Path
    devices: Sequence[str] = ()
    name: str = "local"
    elastic: bool = False
    poll_s: float = 0.5
    _processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)

    def submit(self, count: int) -> None:
        """Starts processes in the places that are free."""
        self.log_folder.mkdir(parents=True, exist_ok=True)
        free = [number for number in range(self.most) if number not in self._processes]
        for number in free[:count]:
            self._processes[number] = self._spawn(number)

    def log_file(self, number: int) -> Path:
        """Where a worker writes what it does."""
        return self.log_folder / f"{self.task.study}-worker{number}.log"

    def _words_file(self, number: int) -> Path:
        """Where a worker says why it cannot go on."""
        return self.log_file(number).with_suffix(".error.json")

    def _spawn(self, number: int) -> subprocess.Popen[bytes]:
        self._names[number] = worker_name(number)
        self._words_file(number).unlink(missing_ok=True)
        options = ["--parent", str(os.getpid()), "--threads", str(self._threads())]
        options += ["--last-words", str(self._words_file(number))]
        options += ["--device", self.devices[number % len(self.devices)]] if self.devices else []
        with self.log_file(number).open("ab") as log:
            return subprocess.Popen(
                self.task.command(self._names[number], *options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C reaches the runner only, which then asks politely
            )

    def _threads(self) -> int:
        return max(1, usable_cores() // self.most)

    def _environment(self) -> dict[str, str]:
        """Environment of a worker: its share of the cores; the URL stays out of `ps`."""
        threads = str(self._threads())
        values = dict(os.environ, NAS_DATABASE=self.task.url, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
        values["PYTHONUNBUFFERED"] = "1"
        return values

    def jobs(self) -> list[Job]:
        """One a process; logs that grow without end are cut on the way."""
        return [self._job(number, process) for number, process in self._processes.items()]

    def _job(self, number: int, process: subprocess.Popen[bytes]) -> Job:
        log, code = self.log_file(number), process.poll()
        bound(log)
        return Job(str(number), self._names[number], "running" if code is None else "ended", code, str(log))

    def forget(self, job: Job) -> None:
        """Frees the place of an ended worker."""
        del self._processes[int(job.id)]

    def last_words(self, job: Job) -> tuple[str, str | None] | None:
        """What the worker left in its file."""
        return read_words(self._words_file(int(job.id)))

    def end(self) -> None:
        """SIGTERM to all, SIGKILL to those that do not come back in time."""
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


def bound(log: Path) -> None:
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
