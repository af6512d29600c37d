"""Keeps trainings and measurements of one machine apart, with locks that die with their holder.

Trainings hold the machine *shared*, a measurement holds it *exclusive*. A measurement that waits closes a gate, and
each training, asked between its steps (`give_way`), steps outside until the gate opens again. A GPU has a gate and a
lock of its own: a measurement on one card keeps that card to itself and the trainings on the others go on; a
measurement on the CPU waits for all. Locks are the kernel's (`flock`), so a killed holder leaves nothing behind. Load
from programs that are not ours is `nas.latency.load`'s.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import stat
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from nas.errors import LatencyError
from nas.latency.gpu import gpu_index, gpu_name_of_lock

log = logging.getLogger("nas.latency")

POLL_S = 0.02
DEFAULT_TIMEOUT_S = 600.0
TELL_AFTER_S = 10.0  # a wait of one measurement is ordinary; longer ones say whom they wait for


def lock_folder() -> Path:
    """The folder of the machine's lock files: `NAS_LOCKS` if set, else one under the system's temporary folder.

    Several people on one machine share it. It is made for all of them with the sticky bit, so that nobody removes or
    replaces another's file; a link, or a folder that someone else could tamper with, is not used.

    Raises:
        LatencyError: when it cannot be used; names it and says what to do.
    """
    given = os.environ.get("NAS_LOCKS")
    folder = Path(given or Path(tempfile.gettempdir()) / "nas-locks")
    try:
        folder.mkdir(parents=bool(given))
        folder.chmod(0o1777)
    except FileExistsError:
        pass
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from error
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _unusable(folder, "it is a link or a file, not a folder")
    writable_by_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if writable_by_others and not found.st_mode & stat.S_ISVTX:
        raise _unusable(folder, "others may replace files in it (no sticky bit)")
    return folder


def _unusable(folder: Path, why: str) -> LatencyError:
    return LatencyError(
        f"the folder of the machine's locks, {folder}, cannot be used: {why}",
        "remove it, or name another one in NAS_LOCKS (the same for everybody who measures on this machine)",
    )


class FileLock:
    """One `flock` on one file; shared or exclusive, not inherited by child processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def try_acquire(self, *, exclusive: bool) -> bool:
        """Takes the lock if it is free at once; tells whether it did. A file that cannot be one is a `LatencyError`."""
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
        # A file of another user must not be opened for creation in a sticky folder, and reading is enough to lock.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            try:
                descriptor = os.open(self.path, flags)
            except FileNotFoundError:
                descriptor = os.open(self.path, flags | os.O_CREAT, 0o644)
                with contextlib.suppress(PermissionError):
                    os.fchmod(descriptor, 0o644)  # whatever the umask: other users lock it by reading
        except OSError as error:
            raise _unusable(self.path.parent, f"{self.path.name}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _unusable(self.path.parent, f"{self.path.name} is no file")
        return descriptor

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


def _locks(device: str) -> list[tuple[FileLock, FileLock]]:
    """Gate and lock of what a device's work takes up: the machine, and before it the card where it is one."""
    folder, index = lock_folder(), gpu_index(device)
    machine = FileLock(folder / "gate"), FileLock(folder / "machine")
    if index is None:
        return [machine]
    card = re.sub(r"[^\w.-]", "_", gpu_name_of_lock(index))
    return [(FileLock(folder / f"gate-{card}"), FileLock(folder / f"machine-{card}")), machine]


class _Wait:
    """A wait for locks: as long as it may take, said whom for."""

    def __init__(self, timeout_s: float | None, while_waiting: Callable[[str], None] | None, what: str) -> None:
        self._timeout_s, self._while_waiting, self._what = timeout_s, while_waiting, what

    def for_lock(self, lock: FileLock, *, exclusive: bool) -> None:
        begun, told = time.monotonic(), False
        while not lock.try_acquire(exclusive=exclusive):
            waited = time.monotonic() - begun
            if self._timeout_s is not None and waited >= self._timeout_s:
                raise LatencyError(
                    f"{self._what}: the machine stayed busy for {self._timeout_s:g} s ({held_by(lock)})",
                    "wait for the training or measurement that runs there, or stop it",
                )
            words = ""
            if not told and waited >= TELL_AFTER_S:
                told = True
                words = f"{self._what}: waiting for the machine, {held_by(lock)}"
                log.warning(words)
            if self._while_waiting is not None:
                self._while_waiting(words)
            time.sleep(POLL_S)


def held_by(lock: FileLock) -> str:
    """Who holds a lock, for a message: `held by process 4711 since 12:03:10`."""
    parts = []
    for pid in lock.holders():
        with contextlib.suppress(psutil.Error):
            begun = time.strftime("%H:%M:%S", time.localtime(psutil.Process(pid).create_time()))
            parts.append(f"process {pid}, which runs since {begun}")
            continue
        parts.append(f"process {pid}")
    return f"held by {' and '.join(parts) or 'a process that the system does not name'}"


class TrainingPresence:
    """Holds the machine, and a training's card, shared inside a `with` block; call `give_way` between steps.

    Args:
        timeout_s: the longest wait for measurements to end; None waits as long as it takes.
        while_waiting: called many times a second while waiting, once with whom for (may raise to stop).
        device: where it trains, `cpu`, `cuda` or `cuda:N`.
    """

    def __init__(
        self, timeout_s: float | None = None, while_waiting: Callable[[str], None] | None = None, device: str = "cpu"
    ) -> None:
        self._locks, self._device = _locks(device), device
        self._wait = _Wait(timeout_s, while_waiting, "training")

    def __enter__(self) -> TrainingPresence:
        """Takes the machine shared once no measurement runs or waits; `LatencyError` after the time-out."""
        try:
            for gate, machine in self._locks:
                self._wait.for_lock(gate, exclusive=False)
                try:
                    self._wait.for_lock(machine, exclusive=False)
                finally:
                    gate.release()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Gives the machine back."""
        for _gate, machine in self._locks:
            machine.release()

    def give_way(self) -> float:
        """Lets a waiting measurement pass: seconds this training stood aside, 0.0 when nobody waited.

        Costs some microseconds when nobody waits, so it can be called between any two steps.
        """
        if all(self._open(gate) for gate, _ in self._locks):
            return 0.0
        begun = time.monotonic()
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self._device)  # steps are still queued on the card
        self.__exit__()
        self.__enter__()
        return time.monotonic() - begun

    def _open(self, gate: FileLock) -> bool:
        free = gate.try_acquire(exclusive=False)
        gate.release()
        return free


@contextlib.contextmanager
def exclusive_measurement(
    timeout_s: float | None = DEFAULT_TIMEOUT_S, while_waiting: Callable[[str], None] | None = None, device: str = "cpu"
) -> Iterator[None]:
    """Holds a device exclusively: no training and no other measurement of ours runs on it meanwhile.

    Takes what `TrainingPresence` takes. `cpu` is the whole machine; beside a GPU's measurement trainings on other cards
    go on.

    Raises:
        LatencyError: after the time-out; names the processes that hold the machine.
    """
    (gate, own), *beside = _locks(device)
    wait = _Wait(timeout_s, while_waiting, "measurement")
    with contextlib.ExitStack() as held:
        # Of a card's measurement the machine is held shared: one on the CPU must not run beside.
        for lock, exclusive in ((gate, True), (own, True), *((machine, False) for _, machine in beside)):
            wait.for_lock(lock, exclusive=exclusive)
            held.callback(lock.release)
        yield
