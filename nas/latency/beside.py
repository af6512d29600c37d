"""A second network that works on the same device while networks are timed: the robot shares its GPU with others.

It runs in a process of its own (`python -m nas.latency.beside`), as it would there, and begins a batch every period, or
as soon as it can where a batch takes longer.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from statistics import median

from nas.errors import LatencyError
from nas.latency.protocol import LatencyProtocol

START_S = 300.0
"""The longest wait for the other network to be ready; compiled backends take minutes."""


@contextlib.contextmanager
def running_beside(protocol: LatencyProtocol) -> Iterator[dict[str, object]]:
    """Runs the protocol's `load` inside; afterwards the value yielded says what it did. Nothing without a load.

    Yields:
        `network`, `period_ms`, and once over `batches`, `median_ms` of a batch and `late`, the share begun late.

    Raises:
        LatencyError: the other network did not start, or ended on its own.
    """
    if protocol.load is None:
        yield {}
        return
    found: dict[str, object] = asdict(protocol.load)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "nas.latency.beside", json.dumps(protocol.to_dict())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(START_S, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise _failed(process, protocol.load.network, "did not start")
        killer.cancel()
        yield found
        said, _ = process.communicate(timeout=60)  # closes its stdin, which ends it
        if process.returncode != 0:
            raise _failed(process, protocol.load.network, "ended")
        found |= json.loads(said)
    finally:
        killer.cancel()
        process.kill()
        process.wait()


def _failed(process: subprocess.Popen[str], network: str, what: str) -> LatencyError:
    process.kill()
    said = process.stderr.read().strip().splitlines() if process.stderr and not process.stderr.closed else []
    return LatencyError(f"load: {network} {what} beside the measurement: {(said or ['no reason was given'])[-1]}")


def main(settings: str) -> None:
    """Runs batches until stdin is closed, then prints how it went."""
    from nas.latency.backends import get_backend
    from nas.latency.device_agent.timing import warm_up
    from nas.latency.subject import as_subject

    protocol = LatencyProtocol.from_dict(json.loads(settings))
    if protocol.load is None:
        raise LatencyError("there is no load in this protocol")
    period = protocol.load.period_ms / 1000.0
    own = replace(protocol, load=None, head=None, heads=1)  # the other network's is none of this one's
    session = get_backend(own.backend).open(as_subject(protocol.load.network), own, 0)
    warm_up([session.run], 3, None)
    over = threading.Event()

    def until_closed() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=until_closed, daemon=True).start()
    print("ready", flush=True)
    times, late, due = [], 0, time.perf_counter()
    while not over.is_set():
        begun = time.perf_counter()
        late += begun > due + 0.1 * period
        session.run()
        times.append(time.perf_counter() - begun)
        due = max(due + period, time.perf_counter())
        over.wait(max(0.0, due - time.perf_counter()))
    said = {
        "batches": len(times),
        "median_ms": 1e3 * median(times) if times else None,
        "late": late / max(len(times), 1),
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
