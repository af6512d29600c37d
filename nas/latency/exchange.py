"""The study's side of a far device: leaves jobs in the database, answers them, or carries them to an exchange folder.

Two ways lead to a device. A machine that has this package answers jobs itself (`answer_jobs`, what a worker there
does). Any other gets an exchange folder, with the stand-alone agent in it, which a machine between the two keeps in
step with the database (`Bridge`, `nas latency bridge`); the folder may lie wherever fsspec reaches. What comes back is
checked whole before any of it is stored.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import fsspec

from nas.errors import LatencyError, NasError
from nas.latency.agent_file import agent_file
from nas.latency.backends.base import installed
from nas.latency.device_agent.mailbox import FORMAT, payload_sha256
from nas.latency.device_agent.timing import HANGING_S
from nas.latency.jobs import ENGINE_BACKENDS, describe_job, make_job, packed_notations
from nas.latency.measuring import measure
from nas.latency.placements import reference_of
from nas.latency.protocol import LatencyProtocol
from nas.latency.record import LatencyRecord
from nas.latency.store import RepositoryStore
from nas.progress import Progress, silent
from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.storage import Repository
    from nas.storage.records import LatencyJobInfo

READ_ME = """Networks to be timed on the device {device!r}.

On the device:  python3 device_agent.py --folder .
It needs Python 3.6 and one of: onnxruntime (pip), tensorrt (part of JetPack). With --wait 5 it stays and takes what
comes later. The results go back by themselves while `nas latency bridge` reaches this folder, or when it is given the
folder again.
"""
LARGEST_RESULT = 4 << 20  # bytes; a record takes some kilobytes
_OPEN = ("waiting", "running")


@dataclass
class Returned:
    """What came back from a device: records and reasons of failures by architecture, and files not believed."""

    records: dict[Candidate, LatencyRecord] = field(default_factory=dict)
    failures: dict[Candidate, str] = field(default_factory=dict)
    unusable: list[tuple[str, str]] = field(default_factory=list)


def request_jobs(
    repository: Repository,
    networks: Iterable[Candidate],
    protocol: LatencyProtocol,
    device: str,
    progress: Progress | None = None,
    plain: Candidate | None = None,
) -> dict[Candidate, str]:
    """Leaves a job for each network, and for the reference it is told in, that has none yet for device and protocol.

    Args:
        plain: the plain network that others are timed in turns with; default: that of the first network's backbone.

    Returns:
        Why some networks could not be sent this time, by architecture; they are not tried again.

    Raises:
        LatencyError: when no network can be sent from here, because ONNX is not installed.
    """
    require_onnx(protocol)
    tell, wanted = progress or silent, list(dict.fromkeys(candidate.architecture for candidate in networks))
    refused: dict[Candidate, str] = {}
    if not wanted:
        return refused
    first = plain or wanted[0].baseline
    beside = [reference for candidate in wanted if (reference := reference_of(candidate, first)) is not None]
    known = {(job["architecture_id"], job["protocol_id"]) for job in repository.latency_jobs(device=device)}
    ordered = list(dict.fromkeys([*beside, *wanted]))  # jobs are done in their order; others' times are told in these
    for done, candidate in enumerate(ordered):
        tell(done, len(ordered), candidate.notation)
        if (candidate.id, protocol.id) in known:
            continue
        try:
            repository.request_latency_jobs([make_job(candidate, protocol, device, reference_of(candidate, first))])
        except NasError as error:
            # Kept as a failed job: making the file is slow, and a study asks many times.
            refused[candidate] = error.message
            (job_id,) = repository.request_latency_jobs([describe_job(candidate, protocol, device)])
            repository.finish_latency_job(job_id, None, error.message)
    tell(len(ordered), len(ordered), "")
    return refused


def require_onnx(protocol: LatencyProtocol) -> None:
    """Refuses a protocol whose jobs are ONNX files, where those cannot be written."""
    missing = installed("onnx") if protocol.backend in ENGINE_BACKENDS else None
    if missing:
        raise LatencyError(f"jobs for a device are ONNX files, and {missing}", "pip install 'nas-reid[latency]'")


def still_open(
    repository: Repository, networks: Iterable[Candidate], protocol: LatencyProtocol, device: str
) -> list[Candidate]:
    """Networks a device may still measure: their job waits or runs. What failed is not waited for."""
    jobs = repository.latency_jobs(device=device)
    open_ids = {j["architecture_id"] for j in jobs if j["protocol_id"] == protocol.id and j["status"] in _OPEN}
    return [c for c in dict.fromkeys(n.architecture for n in networks) if c.id in open_ids]


def retry_failed(repository: Repository, device: str) -> int:
    """Lets a device try again what it failed at; returns how many. What could not be sent to it stays failed."""
    failed = repository.latency_jobs(device=device, status="failed")
    again = [j["id"] for j in failed if j["sha256"] or j["protocol"]["backend"] not in ENGINE_BACKENDS]
    repository.retry_latency_jobs(again)
    return len(again)


def _open_jobs(repository: Repository, device: str) -> list[LatencyJobInfo]:
    return [job for job in repository.latency_jobs(device=device) if job["status"] in _OPEN]


def _file(repository: Repository, candidate: Candidate, job: LatencyJobInfo, record: LatencyRecord) -> LatencyRecord:
    """Stores a figure, told in the best-known time of its reference, and closes its job."""
    store, known = RepositoryStore(repository), None
    if record.reference is not None:
        reference = Candidate.parse(record.reference)
        known = store.find([reference], record.protocol, record.device_name).get(reference.architecture)
    record = record.beside(None if known is None else known.corrected_ms)
    store.save(candidate, record)
    repository.finish_latency_job(job["id"], record.to_dict())
    return record


# -- a machine that has this package, and is the device


def answer_jobs(
    repository: Repository,
    device: str,
    owner: str,
    *,
    plain: Candidate,
    stopping: Callable[[], bool] = lambda: False,
    measure_one: Callable[..., LatencyRecord] = measure,
) -> Returned:
    """Times on this machine what waits for a device, one job after the other; every backend that is here.

    Args:
        device: the name that the study calls this machine by.
        owner: who takes the jobs; of several workers on the device each job goes to one.
    """
    done, store = Returned(), RepositoryStore(repository)
    for job in _open_jobs(repository, device):
        if stopping() or not repository.take_latency_job(job["id"], owner, HANGING_S):
            continue
        candidate, protocol = Candidate.parse(job["notation"]), LatencyProtocol.from_record(job["protocol"])
        reference = reference_of(candidate, plain)
        found = {} if reference is None else store.find([reference], protocol, device)
        known = None if reference is None else found.get(reference)
        try:
            record = measure_one(
                candidate,
                protocol,
                reference=reference,
                reference_ms=None if known is None else known.corrected_ms,
                lock_timeout_s=None,
            )
        except NasError as error:
            repository.finish_latency_job(job["id"], None, error.message)
            done.failures[candidate] = error.message
        except BaseException:
            repository.release_latency_job(job["id"], owner)
            raise
        else:
            done.records[candidate] = _file(repository, candidate, job, replace(record, device_name=device))
    return done


# -- the exchange folder


class Bridge:
    """Carries jobs of one device from a study's database into an exchange folder, and its results back.

    Args:
        folder: a path, or an address that fsspec reads, such as `sftp://user@board/home/user/exchange`.

    Raises:
        LatencyError: when the address cannot be reached.
    """

    def __init__(self, repository: Repository, folder: str, device: str) -> None:
        self._repository, self._device = repository, device
        try:
            self._files, self._root = fsspec.core.url_to_fs(folder)
        except (ValueError, ImportError, OSError) as error:
            raise LatencyError(
                f"the exchange folder cannot be reached: {error}", "a path, or an address such as sftp://USER@HOST/PATH"
            ) from error

    def carry(self) -> tuple[int, Returned]:
        """Writes what waits and takes what came back; the number of jobs that lie in the folder, and what was filed.

        Doing it twice changes nothing.

        Raises:
            LatencyError: when the folder cannot be read or written.
        """
        try:
            collected = self._take_results()
            return self._write_jobs(), collected
        except OSError as error:
            raise LatencyError(f"the exchange folder cannot be used: {error}") from error

    def _path(self, *names: str) -> str:
        return posixpath.join(self._root, *names)

    def _write_jobs(self) -> int:
        jobs = _open_jobs(self._repository, self._device)
        if not jobs:
            return 0
        for job in jobs:
            if not job["sha256"]:
                raise LatencyError(
                    f"backend {job['protocol']['backend']!r} needs this package on the device",
                    f"start there: nas worker STUDY --db URL --measures-for {self._device}; "
                    f"the agent runs {', '.join(ENGINE_BACKENDS)}",
                )
        self._files.makedirs(self._path("jobs"), exist_ok=True)
        self._write(self._path("device_agent.py"), agent_file().encode())
        self._write(self._path("README.txt"), READ_ME.format(device=self._device).encode())
        for job in jobs:
            self._write_job(job)
        return len(jobs)

    def _write_job(self, job: LatencyJobInfo) -> None:
        keys = ("device", "architecture_id", "notation", "protocol_id", "protocol", "sha256")
        network = self._repository.latency_job_network(job["id"]) or b""
        notations = packed_notations(network)
        told = {"format": FORMAT, "reference": notations[1] if len(notations) > 1 else None}
        entry: Mapping[str, object] = job
        text = json.dumps(told | {key: entry[key] for key in keys}, indent=1)
        folder = self._path("jobs", _job_name(job))
        result = self._path("results", f"{_job_name(job)}.json")
        self._remove(result)  # one that was not believed: it would keep the agent from trying again
        self._files.makedirs(folder, exist_ok=True)
        self._write(posixpath.join(folder, "networks.zip"), network)
        self._write(posixpath.join(folder, "job.json"), text.encode())  # last: the agent takes jobs that have it

    def _write(self, path: str, content: bytes) -> None:
        """A file, whole or not at all; left alone where it is there already."""
        if (
            self._files.exists(path)
            and self._files.size(path) == len(content)
            and self._files.cat_file(path) == content
        ):
            return
        self._files.pipe_file(f"{path}.part", content)
        if self._files.exists(path):
            self._files.rm_file(path)
        self._files.mv(f"{path}.part", path)

    def _remove(self, path: str) -> None:
        if self._files.exists(path):
            self._files.rm(path, recursive=True)

    def _take_results(self) -> Returned:
        done, folder = Returned(), self._path("results")
        if not self._files.isdir(folder):
            return done
        jobs = {_job_name(job): job for job in self._repository.latency_jobs(device=self._device)}
        for path in sorted(name for name in self._files.ls(folder, detail=False) if name.endswith(".json")):
            try:
                job, payload = self._checked(path, jobs)
                self._settle(job, payload, done)
            except LatencyError as error:
                done.unusable.append((posixpath.basename(path), error.message))
        return done

    def _settle(self, job: LatencyJobInfo, payload: dict[str, Any], done: Returned) -> None:
        if job["status"] not in _OPEN:
            return
        candidate = Candidate.parse(job["notation"])
        if "record" in payload:
            record = self._believed(job, payload["record"])
            done.records[candidate] = _file(self._repository, candidate, job, record)
        else:
            reason = str(payload.get("reason") or "no reason given")[:2000]
            self._repository.finish_latency_job(job["id"], None, reason)
            done.failures[candidate] = reason
            # Both files go: a job that is tried again comes anew, and is not failed by the answer to the first try.
            self._remove(self._path("jobs", _job_name(job)))
            self._remove(self._path("results", f"{_job_name(job)}.json"))

    def _checked(self, path: str, jobs: Mapping[str, LatencyJobInfo]) -> tuple[LatencyJobInfo, dict[str, Any]]:
        """The job a result file belongs to and its payload, when both are what was sent."""
        if self._files.size(path) > LARGEST_RESULT:
            raise LatencyError("the file is too large to be a result of an agent")
        try:
            content = json.loads(self._files.cat_file(path))
            payload, checksum = content["payload"], content["sha256"]
            name, device, job_sha256 = payload["job"], payload["device"], payload["job_sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise LatencyError("the file is damaged: it is no result of an agent") from error
        if payload_sha256(payload) != checksum:
            raise LatencyError("the file is damaged: its checksum does not fit its content")
        job = jobs.get(str(name))
        if job is None or posixpath.basename(path) != f"{name}.json":
            raise LatencyError("no such job was sent from this database")
        if "record" in payload and device != self._device:
            raise LatencyError(f"it was measured for the device {device!r}, not for {self._device!r}")
        if "record" in payload and job_sha256 != job["sha256"]:
            raise LatencyError("it was measured on another network file than the one sent")
        return job, payload

    def _believed(self, job: LatencyJobInfo, result: Any) -> LatencyRecord:
        """The record of a result, when all of it is what was asked for."""
        if not isinstance(result, dict):
            raise LatencyError("its record is no record")
        record = LatencyRecord.from_dict(result).check()
        notations = packed_notations(self._repository.latency_job_network(job["id"]) or b"")
        asked = (job["protocol_id"], self._device, notations[0], notations[1] if len(notations) > 1 else None)
        told = (record.protocol.id, record.device_name, record.notation, record.reference)
        for what, wanted, found in zip(("protocol", "device", "network", "reference"), asked, told, strict=True):
            if wanted != found:
                raise LatencyError(f"the result for {job['notation']} is of another {what} than asked for")
        if len(record.builds) != record.protocol.builds:
            raise LatencyError(f"it has {len(record.builds)} builds, asked were {record.protocol.builds}")
        return record


def _job_name(job: LatencyJobInfo) -> str:
    # The number first: agents take jobs in the order of their names, references before what is told in them.
    return f"{job['id']:06d}-{job['architecture_id']}-{job['protocol_id']}"
