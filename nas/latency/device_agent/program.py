"""The agent of an exchange folder: takes jobs one after the other, leaves results."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

from nas.latency.device_agent.engines import EngineError
from nas.latency.device_agent.job import measure_job
from nas.latency.device_agent.mailbox import FolderMailbox
from nas.latency.device_agent.noise import noise_file

LARGEST_NETWORK = 1 << 30  # bytes of an ONNX file without its weights, unpacked


def serve(
    mailbox: FolderMailbox,
    measure: Callable[..., dict[str, Any]] = measure_job,
    wait_s: float | None = None,
    log: Callable[[str], None] = print,
) -> int:
    """Takes jobs one after the other; returns the number measured when there are no more.

    `wait_s` are seconds between looks for new jobs; None: it ends when there are none.
    """
    measured = 0
    while True:
        job = mailbox.claim()
        if job is not None:
            measured += _do(mailbox, job, measure, log)
        elif wait_s is None:
            return measured
        else:
            time.sleep(wait_s)


def _do(mailbox: FolderMailbox, job: dict[str, Any], measure: Any, log: Callable[[str], None]) -> int:
    name = job["notation"]
    try:
        with tempfile.TemporaryDirectory(prefix="nas-agent-") as work:
            record = measure(job, unpack(mailbox.networks(job), job["sha256"], work))
    except Exception as error:
        reason = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
        log(f"{name}: not measured, {reason}")
        mailbox.fail(job, reason)
        return 0
    mailbox.finish(job, record)
    log("{}: {:.3f} ms per batch".format(name, record["median_ms"]))
    return 1


def unpack(packed: bytes | None, sha256: str, work: str) -> list[str]:
    """The paths of a job's ONNX files, the network's first, checked and unpacked into the work folder.

    The archive holds `networks.json`, a list with the `file` and `noise` (see `noise_file`) of each network.

    Raises:
        EngineError: when the archive is not the one that was sent.
    """
    if packed is None or hashlib.sha256(packed).hexdigest() != sha256:
        raise EngineError("the network file is damaged or missing")
    paths = []
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST_NETWORK:
            raise EngineError("the network file unpacks to more than 1 GiB")
        for number, listed in enumerate(json.loads(archive.read("networks.json").decode())):
            folder = os.path.join(work, str(number))
            os.mkdir(folder)
            paths.append(os.path.join(folder, "network.onnx"))
            with open(paths[-1], "wb") as file:
                file.write(archive.read(listed["file"]))
            if listed["noise"]:
                noise_file(folder, listed["noise"])
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """The program: `python3 device_agent.py --folder FOLDER`."""
    parser = argparse.ArgumentParser(description="Measures the latency of networks for a study elsewhere.")
    parser.add_argument("--folder", required=True, help="exchange folder made by `nas latency bridge`")
    parser.add_argument("--device", help="take jobs for this device only")
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="look for new jobs so often instead of ending")
    options = parser.parse_args(arguments)
    try:
        measured = serve(FolderMailbox(options.folder, options.device), wait_s=options.wait)
    except (EngineError, OSError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"{measured} network(s) measured")
    return 0


if __name__ == "__main__":
    sys.exit(main())
