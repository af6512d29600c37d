"""Workers as actors of a Ray cluster: a running one by its address, or one of this machine.

An actor only holds the place: the worker is a process of its own beside it, so that it is signalled, and dies, as
everywhere. What the driver or a node forgets is in the database.
"""

from __future__ import annotations

import atexit
import importlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import nas
from nas.errors import StudyError
from nas.search.launchers.base import GRACE_S, Job, WorkerTask, new_name, read_words
from nas.search.launchers.settings import RaySettings
from nas.spaces import own_code

LOCAL_STORE = 100 << 20  # bytes; nothing large goes through Ray's object store
VERSIONS = {"nas": nas.__version__, "python": platform.python_version()}


class Place:
    """An actor: runs one worker on the node it landed on."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def where(self, log: str) -> tuple[dict[str, str], str]:
        """Versions here, and the node's name with the log's path."""
        return VERSIONS, f"{platform.node()}:{self._log(log)}"

    @staticmethod
    def _log(log: str) -> str:
        return log if Path(log).parent.is_dir() else str(Path(tempfile.gettempdir()) / Path(log).name)

    def run(
        self, arguments: Sequence[str], url: str, folder: str, log: str
    ) -> tuple[int, tuple[str, str | None] | None]:
        """Runs the worker; returns its exit code and last words."""
        log = self._log(log)
        words = Path(log).with_suffix(".error.json")
        environment = dict(os.environ, NAS_DATABASE=url, PYTHONUNBUFFERED="1")
        # Modules that the driver shipped are on this process's path.
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        command = [sys.executable, *arguments, "--last-words", str(words)]
        with open(log, "ab") as file:
            if self._stopped:
                return 0, None
            self._child = subprocess.Popen(
                command, stdout=file, stderr=file, env=environment, cwd=folder if Path(folder).is_dir() else None
            )
        return self._child.wait(), read_words(words)

    def stop(self) -> None:
        """Asks the worker to checkpoint and give back."""
        self._stopped = True
        if self._child is not None:
            self._child.terminate()


@dataclass
class _Sent:
    """An actor and what is asked of it."""

    actor: Any
    where: Any
    run: Any
    log: str
    checked: bool = False
    words: tuple[str, str | None] | None = None


@dataclass
class RayLauncher:
    """The actors of one `nas run`.

    Attributes:
        task: what workers do.
        settings: resources and limits.
        log_folder: where workers write, on nodes that have this folder; elsewhere the node's temporary folder.
        address: `ray://HOST:PORT`, or another address of `ray.init`; empty: $RAY_ADDRESS (set inside `ray job
            submit`), else a cluster of this machine alone.
    """

    task: WorkerTask
    settings: RaySettings
    log_folder: Path
    address: str = ""
    name: str = "ray"
    elastic: bool = True
    poll_s: float = 1.0
    _sent: dict[str, _Sent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.most = self.settings.max_workers
        self.log_folder.mkdir(parents=True, exist_ok=True)
        self._ray = connect(self.address, self.task.trusted)

    def submit(self, count: int) -> None:
        """One actor a worker; it waits until a node has its resources."""
        cpus, gpus, further = self.settings.cpus, self.settings.gpus, self.settings.resources
        self._require({"CPU": cpus, "GPU": gpus, **further})
        place = self._ray.remote(Place)
        seat = place.options(max_restarts=0, max_concurrency=3, num_cpus=cpus, num_gpus=gpus, resources=further)
        for _ in range(count):
            worker = new_name(self.name)
            log = str((self.log_folder / f"{self.task.study}-{worker.replace(':', '-')}.log").resolve())
            actor = seat.remote()
            run = actor.run.remote(self.task.command(worker)[1:], self.task.url, str(Path.cwd()), log)
            self._sent[worker] = _Sent(actor, actor.where.remote(log), run, log)

    def _require(self, asked: Mapping[str, float]) -> None:
        """Refuses what no node of the cluster has."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(all(node.get(key, 0.0) >= value for key, value in asked.items()) for node in nodes):
            plain = ", ".join(f"{value:g} {key}" for key, value in asked.items() if value)
            raise StudyError(f"no node of the Ray cluster has {plain}", "see launcher: ray: cpus, gpus, resources")

    def jobs(self) -> list[Job]:
        """By the answers of the actors; one whose node died answers with an error."""
        return [self._job(worker, sent) for worker, sent in self._sent.items()]

    def _job(self, worker: str, sent: _Sent) -> Job:
        if not sent.checked and self._is_ready(sent.where):
            sent.checked = True
            try:
                versions, sent.log = self._ray.get(sent.where)
            except self._ray.exceptions.RayError as error:
                return Job(worker, worker, "ended", None, sent.log, _first_line(error))
            if versions != VERSIONS:
                raise StudyError(
                    f"versions differ: here {_plain(VERSIONS)}, on {sent.log.split(':')[0]} {_plain(versions)}",
                    "install the same nas and Python on every node",
                )
        if not self._is_ready(sent.run):
            state = ("running", "") if sent.checked else ("waiting", "no node has its resources free yet")
            return Job(worker, worker, state[0], None, sent.log, state[1])  # type: ignore[arg-type]
        try:
            code, sent.words = self._ray.get(sent.run)
        except self._ray.exceptions.RayError as error:
            return Job(worker, worker, "ended", None, sent.log, _first_line(error))
        return Job(worker, worker, "ended", code, sent.log)

    def _is_ready(self, reference: Any) -> bool:
        return bool(self._ray.wait([reference], timeout=0)[0])

    def forget(self, job: Job) -> None:
        """Frees the actor's place."""
        sent = self._sent.pop(job.id)
        self._words = sent.words
        self._ray.kill(sent.actor)

    def last_words(self, job: Job) -> tuple[str, str | None] | None:
        """What the worker of the last forgotten actor said."""
        return self._words

    def end(self) -> None:
        """SIGTERM to the workers; actors that are not back after the time to write a checkpoint are killed."""
        for sent in self._sent.values():
            sent.actor.stop.remote()
        until = time.monotonic() + GRACE_S
        pending = [sent.run for sent in self._sent.values() if sent.checked]
        while pending and time.monotonic() < until:
            pending = self._ray.wait(pending, num_returns=len(pending), timeout=1.0)[1]
        for sent in self._sent.values():
            self._ray.kill(sent.actor)
        self._sent.clear()
        self._ray.shutdown()


def connect(address: str = "", own: Collection[str] = ()) -> ModuleType:
    """Ray, connected to a cluster, with code of the person's own (`module:Class`) shipped to its nodes.

    Raises:
        StudyError: Ray is not installed, there is no cluster at the address, or it is of another version.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to third parties
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise StudyError("the launcher ray needs Ray", "pip install 'nas-reid[ray]'") from None
    options: dict[str, object] = {"log_to_driver": False, "logging_level": "error", "ignore_reinit_error": True}
    if own:
        options["runtime_env"] = {"working_dir": _shipped(own)}
    found = address or os.environ.get("RAY_ADDRESS", "")
    if not found:
        local = {"_node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": LOCAL_STORE}
        ray.init(address="local", **local, **options)  # not one that `ray start` left running here
        return ray
    try:
        ray.init(address=found, **options)
    except Exception as error:
        raise StudyError(
            f"no Ray cluster can be used at {found}: {_first_line(error)}",
            "start one with `ray start --head`, or give --on ray://HOST:10001; Ray and Python must be the same there",
        ) from None
    return ray


def why_not() -> str | None:
    """Why Ray cannot be used here; None when it can."""
    return None


def _shipped(own: Collection[str]) -> str:
    """A folder with the sources that own code runs, and nothing else."""
    folder = Path(tempfile.mkdtemp(prefix="nas-own-code-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for module, path in own_code.sources(own).items():
        target = folder.joinpath(*module.split("."))
        target = target / path.name if path.name == "__init__.py" else target.with_suffix(path.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return str(folder)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:4])[:400] if lines else type(error).__name__


def _plain(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
