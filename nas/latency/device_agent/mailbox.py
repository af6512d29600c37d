"""The exchange folder as the device sees it; a folder from elsewhere, so no link in it is followed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from typing import Any

from nas.latency.device_agent.engines import EngineError

FORMAT = 3  # an agent of format 2 would pass over `dla`, and time the GPU in the accelerator's name
LARGEST_JOB = 64 << 20  # bytes of a job's file: networks travel without weights and take some kilobytes


class FolderMailbox:
    """Jobs and results as files: `jobs/ID/job.json`, `jobs/ID/networks.zip`, `results/ID.json`.

    Args:
        folder: the exchange folder; one agent at a time works in it.
        device: only jobs for this device; None: any.

    Raises:
        EngineError: when it is no exchange folder, or another agent works in it.
    """

    def __init__(self, folder: str, device: str | None = None) -> None:
        self.folder, self.device = folder, device
        if not os.path.isdir(self._own("jobs")):
            raise EngineError(f"{folder} holds no folder 'jobs': is it an exchange folder?")
        os.makedirs(self._own("results"), exist_ok=True)
        # Held until the program ends.
        self._lock = os.fdopen(os.open(self._own(".agent"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EngineError(f"another agent works in {folder}") from None

    def _own(self, *names: str) -> str:
        """A path in the folder, none of whose parts is a link."""
        path = self.folder
        for name in names:
            path = os.path.join(path, name)
            if os.path.islink(path):
                raise EngineError(f"{path} is a link; an exchange folder holds none")
        return path

    def claim(self) -> dict[str, Any] | None:
        """The next job without a result, or None; what is no job gets a result that says so."""
        for name in sorted(os.listdir(self._own("jobs"))):
            if os.path.lexists(self._result(name)):
                continue
            try:
                text = self._read(name, "job.json")
            except (OSError, EngineError):
                continue  # not written yet, or no job
            try:
                job = dict(json.loads(text.decode()), id=name)
                if job["format"] != FORMAT or not {"device", "notation", "protocol", "sha256"} <= set(job):
                    raise ValueError("not a job")
            except (ValueError, KeyError, TypeError):
                self.fail({"id": name}, "job.json is damaged or of another version")
                continue
            if self.device in (None, job["device"]):
                return job
        return None

    def _read(self, name: str, file: str) -> bytes:
        descriptor = os.open(self._own("jobs", name, file), os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as opened:
            return opened.read(LARGEST_JOB)

    def _result(self, name: str) -> str:
        return os.path.join(self.folder, "results", name + ".json")

    def networks(self, job: dict[str, Any]) -> bytes | None:
        """The packed networks of a job."""
        try:
            return self._read(job["id"], "networks.zip")
        except OSError:
            return None

    def finish(self, job: dict[str, Any], record: dict[str, object]) -> None:
        """Writes the record, whole or not at all."""
        self._write(job, record=record)

    def fail(self, job: dict[str, Any], reason: str) -> None:
        """Writes why there is no record."""
        self._write(job, reason=reason)

    def _write(self, job: dict[str, Any], **outcome: object) -> None:
        payload = dict(outcome, job=job["id"], device=job.get("device"), job_sha256=job.get("sha256"))
        # A new file of an unforeseeable name, then a change of names: neither writes through a link.
        descriptor, path = tempfile.mkstemp(".part", ".", self._own("results"))
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"payload": payload, "sha256": payload_sha256(payload)}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path, self._result(job["id"]))


def payload_sha256(payload: object) -> str:
    """Checksum of plain data, the same on every machine."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
