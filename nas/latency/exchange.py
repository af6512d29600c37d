"""The study's side of a far device: leaves jobs, collects results, through the database or an exchange folder.

The device's side is `nas.latency.device_agent`. A folder carries the agent with it, so that a device without network
needs nothing but the folder and an engine; what comes back is checked before any of it is believed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import LatencyError, NasError
from nas.latency import device_agent
from nas.latency.backends.base import installed
from nas.latency.device_agent import FORMAT, payload_sha256
from nas.latency.jobs import ENGINE_BACKENDS, describe_job, make_job
from nas.latency.protocol import LatencyProtocol
from nas.latency.record import LatencyRecord
from nas.latency.store import RepositoryStore
from nas.progress import Progress, silent
from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.storage import Repository

READ_ME = """Networks to be timed on the device {device!r}.

On the device:  python3 device_agent.py --folder .
It needs Python 3.8 and one of: onnxruntime (pip), tensorrt (part of JetPack).
Then bring this folder back:  nas latency import-results FOLDER --db URL
"""


@dataclass(frozen=True)
class Requested:
    """Jobs left for a device.

    Attributes:
        ids: of the jobs, old and new.
        refused: why some networks could not be sent this time, by architecture; they are not tried again.
    """

    ids: list[int]
    refused: dict[Candidate, str]


@dataclass
class Collected:
    """What came back from a device.

    Attributes:
        records: figures filed, by architecture.
        failures: why the device could not measure some, by architecture.
        unusable: files of an exchange folder that were not believed, with the reason.
    """

    records: dict[Candidate, LatencyRecord] = field(default_factory=dict)
    failures: dict[Candidate, str] = field(default_factory=dict)
    unusable: list[tuple[Path, str]] = field(default_factory=list)


def request_jobs(
    repository: Repository,
    networks: Iterable[Candidate],
    protocol: LatencyProtocol,
    device: str,
    progress: Progress | None = None,
) -> Requested:
    """Leaves a job for each network that has none yet for this device and protocol.

    Args:
        repository: of the study's database.
        networks: candidates; their recipe does not matter.
        protocol: how the device shall measure.
        device: the device's name, as its agent says it.
        progress: told the networks written.

    Raises:
        LatencyError: when no network can be sent from here, because ONNX is not installed.
    """
    _require_onnx(protocol)
    tell, wanted = progress or silent, list(dict.fromkeys(candidate.architecture for candidate in networks))
    known = {(job["architecture_id"], job["protocol_id"]): job["id"] for job in repository.latency_jobs(device=device)}
    ids: list[int] = []
    refused: dict[Candidate, str] = {}
    for done, candidate in enumerate(wanted):
        tell(done, len(wanted), candidate.notation)
        key = candidate.id, protocol.id
        if key in known:
            ids.append(known[key])
            continue
        try:
            ids += repository.request_latency_jobs([make_job(candidate, protocol, device)])
        except NasError as error:
            # Kept as a failed job: making the file is slow, and a study asks many times.
            refused[candidate] = error.message
            ids.append(_refuse(repository, candidate, protocol, device, error.message))
    tell(len(wanted), len(wanted), "")
    return Requested(ids, refused)


def _require_onnx(protocol: LatencyProtocol) -> None:
    missing = installed("onnx") if protocol.backend in ENGINE_BACKENDS else None
    if missing:
        raise LatencyError(f"jobs for a device are ONNX files, and {missing}", "pip install 'nas-reid[latency]'")


def _refuse(repository: Repository, candidate: Candidate, protocol: LatencyProtocol, device: str, reason: str) -> int:
    (job_id,) = repository.request_latency_jobs([describe_job(candidate, protocol, device)])
    repository.finish_latency_job(job_id, None, reason)
    return job_id


def collect_jobs(repository: Repository, device: str | None = None) -> Collected:
    """Files the results that devices wrote into the database, each once; tells which jobs failed.

    Args:
        repository: of the study's database.
        device: only this device's; None: all.
    """
    collected, store = Collected(), RepositoryStore(repository)
    for job in repository.latency_jobs(device=device, status="finished", collected=False):
        candidate = Candidate.parse(job["notation"])
        try:
            record = _believed(job)
        except LatencyError as error:
            repository.finish_latency_job(job["id"], None, error.message)
            continue
        store.save(candidate, record)
        repository.mark_collected([job["id"]])
        collected.records[candidate] = record
    for job in repository.latency_jobs(device=device, status="failed"):
        collected.failures[Candidate.parse(job["notation"])] = job["reason"] or "no reason given"
    return collected


def still_open(
    repository: Repository, networks: Iterable[Candidate], protocol: LatencyProtocol, device: str
) -> list[Candidate]:
    """Networks a device may still measure: their job waits or runs. What failed is not waited for."""
    jobs = repository.latency_jobs(device=device)
    open_ids = {j["architecture_id"] for j in jobs if j["protocol_id"] == protocol.id and j["status"] in _OPEN}
    return [c for c in dict.fromkeys(n.architecture for n in networks) if c.id in open_ids]


_OPEN = ("waiting", "running")


def retry_failed(repository: Repository, device: str) -> int:
    """Lets a device try again what it failed at; returns how many. What could not be sent to it stays failed."""
    failed = repository.latency_jobs(device=device, status="failed")
    again = [j["id"] for j in failed if j["sha256"] or j["protocol"]["backend"] not in ENGINE_BACKENDS]
    repository.retry_latency_jobs(again)
    return len(again)


def _believed(job: dict[str, Any]) -> LatencyRecord:
    record = LatencyRecord.from_dict(job["result"])
    if record.protocol.id != job["protocol_id"]:
        raise LatencyError(f"the result for {job['notation']} was measured by another protocol than asked for")
    return record


# -- the exchange folder


def export_jobs(repository: Repository, folder: Path, device: str) -> int:
    """Writes the open jobs of a device as files, with the agent beside them; returns their number.

    Raises:
        LatencyError: when there are none, or one needs this package on the device.
    """
    jobs = [job for status in _OPEN for job in repository.latency_jobs(device=device, status=status)]
    if not jobs:
        raise LatencyError(f"no network waits for device {device!r}", "name a space or candidates to be measured")
    for job in jobs:
        if job["protocol"]["backend"] not in ENGINE_BACKENDS:
            raise LatencyError(
                f"backend {job['protocol']['backend']!r} needs this package on the device",
                f"export jobs for one of: {', '.join(ENGINE_BACKENDS)}",
            )
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(device_agent.__file__, folder / "device_agent.py")
    (folder / "README.txt").write_text(READ_ME.format(device=device))
    for job in jobs:
        _write_job(folder / "jobs" / _job_name(job), job, repository.latency_job_network(job["id"]))
        _forget_failure(folder / "results" / f"{_job_name(job)}.json")
    return len(jobs)


def _forget_failure(path: Path) -> None:
    """Removes the result of an earlier try that failed, which would keep the agent from trying again."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if "reason" in json.loads(path.read_text(encoding="utf-8"))["payload"]:
            path.unlink()


def _job_name(job: dict[str, Any]) -> str:
    return f"{job['architecture_id']}-{job['protocol_id']}"


def _write_job(folder: Path, job: dict[str, Any], network: bytes | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.onnx.gz").write_bytes(network or b"")
    keys = ("device", "architecture_id", "notation", "protocol_id", "protocol", "noise", "sha256")
    text = json.dumps({"format": FORMAT, **{key: job[key] for key in keys}}, indent=1)
    (folder / "job.json").write_text(text)


def import_results(repository: Repository, folder: Path) -> Collected:
    """Files the results of an exchange folder; a damaged file is named and everything else is taken.

    Importing twice changes nothing.

    Raises:
        LatencyError: when the folder is no exchange folder.
    """
    results = folder / "results"
    if not (folder / "jobs").is_dir():
        raise LatencyError(f"{folder} holds no folder 'jobs': is it an exchange folder?")
    jobs = {_job_name(job): job for job in repository.latency_jobs()}
    done, unusable = Collected(), []
    for path in sorted(results.glob("*.json")) if results.is_dir() else []:
        try:
            job, payload = _checked(path, jobs)
            _file(repository, job, payload)
        except LatencyError as error:
            unusable.append((path, error.message))
    for device in sorted({jobs[name]["device"] for name in _names(folder) if name in jobs}):
        found = collect_jobs(repository, device)
        done.records |= found.records
        done.failures |= found.failures
    done.unusable = unusable
    return done


def _names(folder: Path) -> Iterator[str]:
    return (path.name for path in (folder / "jobs").iterdir())


def _checked(path: Path, jobs: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The job a result file belongs to and its payload, when both are what was sent."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        payload, checksum = content["payload"], content["sha256"]
        name, job_sha256 = payload["job"], payload["job_sha256"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise LatencyError("the file is damaged: it is no result of an agent") from error
    if payload_sha256(payload) != checksum:
        raise LatencyError("the file is damaged: its checksum does not fit its content")
    job = jobs.get(name)
    if job is None:
        raise LatencyError("no such job was sent from this database")
    if "record" in payload and job_sha256 != job["sha256"]:
        raise LatencyError("it was measured on another network file than the one sent")
    return job, payload


def _file(repository: Repository, job: dict[str, Any], payload: dict[str, Any]) -> None:
    if job["status"] == "finished":
        return
    record = payload.get("record")
    if record is not None:
        _believed({**job, "result": record})
    repository.finish_latency_job(job["id"], record, payload.get("reason"))
