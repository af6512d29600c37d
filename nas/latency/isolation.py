"""Keeps trainings and measurements of one machine apart, with locks that die with their holder.

Trainings hold the machine *shared*, a measurement holds it *exclusive*. A measurement that waits closes a gate, and
each training, asked between its steps (`give_way`), steps outside until the gate opens again. Locks are the kernel's
(`flock`), so a killed holder leaves nothing behind. Load from programs that are not ours is `nas.latency.load`'s.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from nas.errors import LatencyError

POLL_S = 0.02
DEFAULT_TIMEOUT_S = 600.0


def lock_folder() -> Path:
    """The folder of the machine's lock files: `NAS_LOCKS` if set, else one under the system's temporary folder."""
    folder = Path(os.environ.get("NAS_LOCKS") or Path(tempfile.gettempdir()) / "nas-locks")
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):
        folder.chmod(0o1777)  # several people on one machine share its locks
    return folder


class FileLock:
    """One `flock` on one file; shared or exclusive, not inherited by child processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def try_acquire(self, *, exclusive: bool) -> bool:
        """Takes the lock if it is free at once; tells whether it did."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        _HELD.add(self)
        return True

    def _open(self) -> int:
        # A file of another user may be readable only, and in a sticky folder must not be opened for creation.
        with contextlib.suppress(FileNotFoundError):
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def release(self) -> None:
        """Gives the lock back; does nothing when it is not held."""
        _HELD.discard(self)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holders(self) -> list[int]:
        """Process ids that hold this lock, as far as the kernel tells (Linux)."""
        try:
            inode = str(self.path.stat().st_ino)
            lines = Path("/proc/locks").read_text().splitlines()
        except OSError:
            return []
        rows = (line.split() for line in lines)
        return sorted({int(row[4]) for row in rows if row[1] == "FLOCK" and row[5].endswith(f":{inode}")})


_HELD: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _release_in_child() -> None:
    # A forked child shares the parent's open file, and with it the lock: a data loader that outlives
    # its killed parent would hold the machine for ever.
    for lock in list(_HELD):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)


def _locks() -> tuple[FileLock, FileLock]:
    folder = lock_folder()
    return FileLock(folder / "gate"), FileLock(folder / "machine")


def _wait(
    lock: FileLock, *, exclusive: bool, timeout_s: float | None, while_waiting: Callable[[], None] | None, what: str
) -> None:
    until = None if timeout_s is None else time.monotonic() + timeout_s
    while not lock.try_acquire(exclusive=exclusive):
        if until is not None and time.monotonic() >= until:
            held = ", ".join(map(str, lock.holders())) or "unknown"
            raise LatencyError(
                f"{what}: the machine stayed busy for {timeout_s:g} s (held by process {held})",
                "wait for the training or measurement that runs there, or stop it",
            )
        if while_waiting is not None:
            while_waiting()
        time.sleep(POLL_S)


class TrainingPresence:
    """A training's shared hold on the machine; call `give_way` between steps."""

    def __init__(self, timeout_s: float | None = None, while_waiting: Callable[[], None] | None = None) -> None:
        self._gate, self._machine = _locks()
        self._timeout_s = timeout_s
        self._while_waiting = while_waiting

    def enter(self) -> None:
        """Waits until no measurement runs or waits, then takes the machine shared.

        Raises:
            LatencyError: after the time-out.
        """
        common = {"timeout_s": self._timeout_s, "while_waiting": self._while_waiting, "what": "training"}
        _wait(self._gate, exclusive=False, **common)  # type: ignore[arg-type]
        try:
            _wait(self._machine, exclusive=False, **common)  # type: ignore[arg-type]
        finally:
            self._gate.release()

    def leave(self) -> None:
        """Gives the machine back."""
        self._machine.release()

    def give_way(self) -> float:
        """Lets a waiting measurement pass: seconds this training stood aside, 0.0 when nobody waited.

        Costs some microseconds when nobody waits, so it can be called between any two steps.
        """
        if self._gate.try_acquire(exclusive=False):
            self._gate.release()
            return 0.0
        begun = time.monotonic()
        self.leave()
        self.enter()
        return time.monotonic() - begun


@contextlib.contextmanager
def training_presence(
    timeout_s: float | None = None, while_waiting: Callable[[], None] | None = None
) -> Iterator[TrainingPresence]:
    """Holds the machine shared while a training runs.

    Args:
        timeout_s: the longest wait for measurements to end; None waits as long as it takes.
        while_waiting: called many times a second while waiting (heartbeats; may raise to stop).
    """
    presence = TrainingPresence(timeout_s, while_waiting)
    presence.enter()
    try:
        yield presence
    finally:
        presence.leave()


@contextlib.contextmanager
def exclusive_measurement(
    timeout_s: float | None = DEFAULT_TIMEOUT_S, while_waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Holds the machine exclusively: no training and no other measurement of ours runs meanwhile.

    Args:
        timeout_s: the longest wait, for the gate and for the trainings each; None waits as long as it takes.
        while_waiting: called many times a second while waiting.

    Raises:
        LatencyError: after the time-out; names the processes that hold the machine.
    """
    gate, machine = _locks()
    _wait(gate, exclusive=True, timeout_s=timeout_s, while_waiting=while_waiting, what="measurement")
    try:
        _wait(machine, exclusive=True, timeout_s=timeout_s, while_waiting=while_waiting, what="measurement")
        yield
    finally:
        machine.release()
        gate.release()
