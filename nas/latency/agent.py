"""The agent of a device that has this package installed: the small agent's loop, with every backend and the lock.

A device without torch runs `nas.latency.device_agent` alone; the mailboxes and the loop are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nas.errors import LatencyError, NasError
from nas.latency.device_agent import DatabaseMailbox, EngineError, FolderMailbox, measure_job, serve
from nas.latency.isolation import exclusive_measurement
from nas.latency.measuring import measure
from nas.latency.protocol import LatencyProtocol


def serve_database(
    url: str,
    device: str,
    *,
    once: bool = False,
    poll_s: float = 5.0,
    lease_s: float = 120.0,
    log: Callable[[str], None] = print,
) -> int:
    """Measures the networks a study's database holds for this device; returns how many (with `once`).

    Args:
        url: of the database, which must exist.
        device: the name the study calls this device by.
        once: end when no job is open instead of asking again.
        poll_s: seconds between questions for jobs.
        lease_s: seconds after which the job of a silent agent goes to another one.
        log: told one line a network.

    Raises:
        StorageError: when the database cannot be opened.
    """
    from nas.storage import open_database

    with open_database(url, create=False) as database:  # also brings its tables up to date
        address = database.address.set(drivername=database.address.get_backend_name())
        mailbox = DatabaseMailbox(address.render_as_string(hide_password=False), device, lease_s)
    return _serve(mailbox, once=once, poll_s=poll_s, log=log)


def serve_folder(folder: Path, device: str | None = None, log: Callable[[str], None] = print) -> int:
    """Measures the networks of an exchange folder; returns how many.

    Raises:
        LatencyError: when it is no exchange folder, or another agent works in it.
    """
    try:
        mailbox = FolderMailbox(str(folder), device)
    except EngineError as error:
        raise LatencyError(str(error)) from error
    return _serve(mailbox, once=True, poll_s=1.0, log=log)


def _serve(mailbox: Any, *, once: bool, poll_s: float, log: Callable[[str], None]) -> int:
    with TemporaryDirectory(prefix="nas-agent-") as work:
        return serve(mailbox, work, measure_here, once=once, poll_s=poll_s, log=log)


def measure_here(job: dict[str, Any], path: str | None) -> dict[str, Any]:
    """The record of one job: from its ONNX file where it has one, else from the candidate rebuilt here.

    Raises:
        EngineError: when this device cannot do it.
    """
    try:
        if path is not None:
            with exclusive_measurement():
                return measure_job(job, path)
        record = measure(job["notation"], LatencyProtocol.from_dict(job["protocol"]))
    except NasError as error:
        raise EngineError(error.message) from error
    return replace(record, device_name=job["device"]).to_dict()
