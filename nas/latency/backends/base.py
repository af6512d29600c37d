"""What every backend offers, and what the PyTorch ones share.

A new backend is a class and a line in `nas.latency.backends.BACKENDS`:

    class Mine:
        name = "mine"
        def unavailable(self, protocol): return None          # or a sentence that says why not
        def versions(self): return {"mine": "1.0"}
        def open(self, subject, protocol, build): return MySession(...)
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Protocol

from nas.latency.device_agent.timing import clocked
from nas.latency.protocol import LatencyProtocol
from nas.latency.subject import Subject


class Session(Protocol):
    """One build of one network, ready to run.

    A session may also have `read_ms()`, milliseconds of one batch by the device's own clock; `run` is timed from here
    otherwise.
    """

    def run(self) -> None:
        """Runs one batch and returns when the device has finished it."""

    def peak_memory_mb(self) -> float | None:
        """Memory the network needs while it runs, in MB, or None when this backend cannot tell."""

    def close(self) -> None:
        """Frees what the session holds."""


class LatencyBackend(Protocol):
    """A way to run networks."""

    name: str

    def unavailable(self, protocol: LatencyProtocol) -> str | None:
        """Why a protocol cannot be measured here, or None when it can."""

    def versions(self) -> dict[str, str]:
        """Versions of what this backend runs on, beyond the Python packages."""

    def open(self, subject: Subject, protocol: LatencyProtocol, build: int) -> Session:
        """Builds the network anew, as the `build`-th of the protocol's builds (from 0)."""


def installed(*modules: str) -> str | None:
    """Why a backend is not available when one of its modules is not installed, or None."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} is not installed" if missing else None


def reader(session: Session) -> Callable[[], float]:
    """A function that runs one batch of a session and returns its milliseconds."""
    read: Callable[[], float] = getattr(session, "read_ms", None) or clocked(session.run)
    return read
