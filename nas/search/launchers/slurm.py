"""Workers as array jobs of a Slurm cluster, through submitit.

A job waits for its worker, a process of its own. Before a time limit or at a preemption Slurm signals both: the worker
writes its checkpoint and gives its training back, and submitit queues the job again.
"""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import submitit
from submitit.core import utils
from submitit.slurm.slurm import SlurmExecutor

from nas.errors import StudyError
from nas.search.launchers.base import GRACE_S, Job, WorkerTask, new_name, read_words
from nas.search.launchers.settings import SlurmSettings, minutes

TIMEOUTS = 1_000_000  # a worker is queued again however often it reached its time limit: its study says when to end
CONTROLLER_S = 60.0  # longest answer of Slurm's commands that is waited for
POLL_S = 0.1
RESULT_S = 20.0  # a result may appear on a shared folder so much later than its job leaves the queue


@dataclass
class SlurmWorker:
    """What a job runs: one worker, as a process of its own that outlives no signal.

    Attributes:
        command: the worker.
        folder: where it runs.
        address: file with the database's URL, for the owner only.
    """

    command: Sequence[str]
    folder: str
    address: str
    _child: subprocess.Popen[bytes] | None = None
    _code: int | None = None

    def __call__(self) -> int:
        """Runs the worker; returns its exit code."""
        environment = dict(os.environ, NAS_DATABASE=Path(self.address).read_text(), PYTHONUNBUFFERED="1")
        cores = os.environ.get("SLURM_CPUS_PER_TASK", "1")
        environment.update(OMP_NUM_THREADS=cores, MKL_NUM_THREADS=cores)
        self._child = subprocess.Popen([*self.command, "--threads", cores], cwd=self.folder, env=environment)
        threading.Thread(target=self._reap, args=[self._child], daemon=True).start()
        return self._ended()

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Called by submitit when the job is about to end: lets the worker give back, then asks to be queued again."""
        if self._child is not None:
            self._child.terminate()
            self._ended()
        return submitit.helpers.DelayedSubmission(replace(self, _child=None, _code=None))

    def _reap(self, child: subprocess.Popen[bytes]) -> None:
        self._code = child.wait()

    def _ended(self) -> int:
        """Waits without a lock: `checkpoint` is called by a signal, in the same thread and in the midst of this."""
        while self._code is None:
            time.sleep(POLL_S)
        return self._code


@dataclass
class _Sent:
    """A submitted job and what is known of it."""

    job: submitit.Job[int]
    worker: str
    gone_since: float | None = None


@dataclass
class SlurmLauncher:
    """The jobs of one `nas run`.

    Attributes:
        task: what workers do.
        settings: partition, resources, limits.
        folder: on a file system that all nodes see; scripts, logs and results of jobs.
        tell: told once of each reason for which a job waits.
    """

    task: WorkerTask
    settings: SlurmSettings
    folder: Path
    tell: Callable[[str], None] = print
    name: str = "slurm"
    elastic: bool = True
    _sent: dict[str, _Sent] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.most, self.poll_s = self.settings.max_workers, self.settings.poll_s
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = self.folder.resolve()
        self._address = self.folder / "database"
        self._address.touch(mode=0o600)
        self._address.write_text(self.task.url)
        self._largest = _largest_array()
        self._executor = SlurmExecutor(self.folder, max_num_timeout=TIMEOUTS)
        self._executor.update_parameters(**_parameters(self.settings, self.task.study))

    def submit(self, count: int) -> None:
        """One array of jobs, or several where the cluster limits their size."""
        while count > 0:
            piece = min(count, self._largest)
            workers = [new_name(self.name) for _ in range(piece)]
            tasks = [SlurmWorker(self._command(w), str(Path.cwd()), str(self._address)) for w in workers]
            try:
                sent = self._submit(tasks)
            except utils.FailedJobError as error:
                raise StudyError(f"Slurm takes no worker: {_sentence(error)}", _advice(error)) from None
            for worker, job in zip(workers, sent, strict=True):
                self._sent[job.job_id] = _Sent(job, worker)
            count -= piece

    def _submit(self, tasks: Sequence[SlurmWorker]) -> list[submitit.Job[int]]:
        with self._executor.batch():
            return [self._executor.submit(task) for task in tasks]

    def _command(self, worker: str) -> list[str]:
        return self.task.command(worker, "--last-words", str(self._words_file(worker)))

    def _words_file(self, worker: str) -> Path:
        return self.folder / f"{worker.replace(':', '-')}.error.json"

    def jobs(self) -> list[Job]:
        """By `squeue`, so that clusters without accounting serve too; while it does not answer nothing is ended."""
        if not self._sent:
            return []
        queue = _queue()
        return [self._job(number, sent, queue) for number, sent in self._sent.items()]

    def _job(self, number: str, sent: _Sent, queue: dict[str, tuple[str, str]] | None) -> Job:
        log = str(sent.job.paths.stderr)
        if queue is None or number in queue:
            state, reason = ("UNKNOWN", "squeue does not answer") if queue is None else queue[number]
            sent.gone_since = None
            if state != "PENDING":
                return Job(number, sent.worker, "running", None, log)
            self._tell_once(number, reason)
            return Job(number, sent.worker, "waiting", None, log, reason)
        sent.gone_since = sent.gone_since or time.monotonic()
        result = Path(sent.job.paths.result_pickle)
        if not result.exists() and time.monotonic() - sent.gone_since < min(RESULT_S, 4 * self.poll_s):
            return Job(number, sent.worker, "running", None, log, "left the queue")
        code, reason = _outcome(result) if result.exists() else (None, f"Slurm ended it ({_end_state(number)})")
        return Job(number, sent.worker, "ended", code, log, reason)

    def _tell_once(self, number: str, reason: str) -> None:
        if reason not in self._told | {"None", ""}:
            self._told.add(reason)
            self.tell(f"Slurm job {number} waits: {reason} (`squeue --start -j {number}` may know for how long)")

    def forget(self, job: Job) -> None:
        """An ended job."""
        del self._sent[job.id]

    def last_words(self, job: Job) -> tuple[str, str | None] | None:
        """What the worker left in its file."""
        return read_words(self._words_file(job.worker))

    def end(self) -> None:
        """SIGTERM through `scancel`; what is still there after the time to write a checkpoint is cancelled for good."""
        left = [job.id for job in self.jobs() if job.state != "ended"]
        if left:
            waiting = [job.id for job in self.jobs() if job.state == "waiting"]
            _scancel(waiting)
            _scancel([number for number in left if number not in waiting], "--signal=TERM")
        until = time.monotonic() + GRACE_S
        while left and time.monotonic() < until:
            queue = _queue()
            left = left if queue is None else [number for number in left if number in queue]
            time.sleep(min(self.poll_s, 1.0) if left else 0.0)
        _scancel(left)
        self._sent.clear()
        self._address.unlink(missing_ok=True)


def _parameters(settings: SlurmSettings, study: str) -> dict[str, object]:
    """The settings as submitit names them."""
    plain = ("partition", "account", "qos", "constraint", "gpus_per_node", "gres")
    given = {key: getattr(settings, key) for key in plain if getattr(settings, key) is not None}
    extra = dict(settings.options) | ({} if settings.mem is None else {"mem": settings.mem})
    return {
        **given,
        "job_name": f"nas-{study}",
        "cpus_per_task": settings.cpus,
        "time": minutes(settings.time),
        "signal_delay_s": settings.signal_s,
        "setup": settings.setup or None,
        "array_parallelism": settings.max_workers,
        # A node that fails, or a preemption, puts the job back into the queue.
        "additional_parameters": {"requeue": True, **extra},
        "stderr_to_stdout": False,
    }


def require_slurm() -> None:
    """Raises StudyError, in one sentence, where Slurm cannot be used from here."""
    why = why_not()
    if why is not None:
        raise StudyError(f"Slurm cannot be used here: {why}", "run on a login node of the cluster")


def why_not() -> str | None:
    """Why Slurm cannot be used from here; None when it can."""
    try:
        found = _ask("sinfo", "--noheader", "--format=%P")
    except FileNotFoundError:
        return "there is no sinfo on this machine"
    except subprocess.TimeoutExpired:
        return "its controller does not answer"
    return None if found.returncode == 0 else found.stderr.strip().splitlines()[-1]


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=CONTROLLER_S)


def _queue() -> dict[str, tuple[str, str]] | None:
    """State and reason of this user's jobs; None while the controller does not answer."""
    try:
        found = _ask("squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format=%i|%T|%r")
    except (OSError, subprocess.TimeoutExpired):
        return None
    if found.returncode:
        return None
    rows = (line.split("|", 2) for line in found.stdout.splitlines() if line.count("|") >= 2)
    return {number: (state, reason) for number, state, reason in rows}


def _largest_array() -> int:
    """How many jobs an array may have here."""
    config = _ask("scontrol", "show", "config").stdout
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", config)
    return max(1, int(found[1]) - 1) if found else 1000


def _end_state(number: str) -> str:
    """What Slurm says of a job that has left the queue, as long as it remembers it."""
    try:
        said = _ask("scontrol", "--oneliner", "show", "job", number).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "it does not say why"
    found = dict(re.findall(r"\b(JobState|Reason|ExitCode)=(\S+)", said))
    return ", ".join(f"{key} {value}" for key, value in found.items()) or "it does not say why"


def _scancel(numbers: Sequence[str], *options: str) -> None:
    if numbers:
        _ask("scancel", "--quiet", *options, *numbers)


def _outcome(result: Path) -> tuple[int | None, str]:
    """Exit code of a worker by what its job left behind; None, with the last line of the fault, without one."""
    outcome, value = utils.pickle_load(result)
    if outcome == "success":
        return int(value), ""
    return None, str(value).strip().splitlines()[-1]


def _sentence(error: Exception) -> str:
    """sbatch's own sentence in an error of submitit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line.removeprefix("sbatch: error: ") for line in lines if line.startswith("sbatch: error:")]
    return "; ".join(own) if own else lines[-1] if lines else type(error).__name__


def _advice(error: Exception) -> str:
    text = str(error).lower()
    if "partition" in text:
        return "`sinfo` lists the partitions; set launcher: {slurm: {partition: ...}}"
    return "see launcher: slurm in the study or the user-wide file"
