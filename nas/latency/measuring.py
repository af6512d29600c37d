"""Times one network: lock, build, warm-up, single batches, readings - the same for every backend.

One network at a time; many networks with drift, resume and a table are `nas.latency.placements`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from nas.errors import LatencyError
from nas.latency.backends import get_backend
from nas.latency.backends.base import LatencyBackend
from nas.latency.device_agent import time_batches, usable_cpus
from nas.latency.environment import device_name, read_environment, read_state
from nas.latency.gpu import gpu_index, read_energy_mj
from nas.latency.isolation import DEFAULT_TIMEOUT_S, exclusive_measurement
from nas.latency.load import Load, LoadMeter, busiest, probe
from nas.latency.protocol import LatencyProtocol
from nas.latency.record import LatencyRecord, pooled
from nas.latency.subject import Subject, as_subject
from nas.progress import Progress, silent
from nas.spaces import Candidate

if TYPE_CHECKING:
    from torch import nn

UnderLoad = Literal["mark", "refuse"]


def measure(
    what: Candidate | str | Callable[[], nn.Module] | Subject,
    protocol: LatencyProtocol | None = None,
    progress: Progress | None = None,
    *,
    under_load: UnderLoad = "mark",
    lock_timeout_s: float | None = DEFAULT_TIMEOUT_S,
    memory: bool = True,
) -> LatencyRecord:
    """Milliseconds a batch of one network.

    Args:
        what: a candidate, its notation, or a function that makes a network for images (B, 3, H, W).
        protocol: how to measure; the default is PyTorch on the CPU.
        progress: told the batches done of all builds (total 0 while unknown).
        under_load: what to do when other programs keep the machine busy: mark the record as not isolated, or refuse.
        lock_timeout_s: the longest wait for our own trainings and measurements.
        memory: read the peak memory too (one more pass on a CPU).

    Raises:
        LatencyError: when the backend is not available or cannot run the network, the machine stays locked, or it is
            busy and `refuse` was asked.
    """
    protocol = protocol or LatencyProtocol()
    subject, backend = as_subject(what), get_backend(protocol.backend)
    reason = backend.unavailable(protocol)
    if reason is not None:
        raise LatencyError(f"latency backend {protocol.backend!r} cannot measure on {protocol.device}: {reason}")
    with exclusive_measurement(lock_timeout_s), _threads(protocol):
        before = _check_load(protocol, under_load)
        try:
            run = _time_builds(subject, backend, protocol, progress or silent, memory=memory)
        except (RuntimeError, MemoryError, OSError) as error:  # of the libraries: out of memory, cannot compile, ...
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise LatencyError(f"{subject.name} cannot be timed in {protocol.backend}: {first}") from error
    return _record(subject, backend, protocol, run, before)


@dataclass
class _Run:
    """What the builds of one network gave."""

    times: list[list[float]]
    build_seconds: list[float | None]
    memory_mb: float | None
    energy_mj: float | None
    loads: list[Load]
    state_before: dict[str, Any] | None
    state_after: dict[str, Any] | None


def _time_builds(
    subject: Subject, backend: LatencyBackend, protocol: LatencyProtocol, progress: Progress, *, memory: bool
) -> _Run:
    run = _Run([], [], None, None, [], read_state(protocol), None)
    energies: list[float | None] = []
    for build in range(protocol.builds):
        begun = time.perf_counter()
        session = backend.open(subject, protocol, build)
        try:
            run.build_seconds.append(time.perf_counter() - begun)
            times, energy, load = _time_session(session.run, protocol, _per_build(progress, build, protocol))
            if memory and run.memory_mb is None:
                run.memory_mb = session.peak_memory_mb()
        finally:
            session.close()
        run.times.append(times)
        run.loads.append(load)
        energies.append(energy)
    run.state_after = read_state(protocol)
    known = [energy for energy in energies if energy is not None]
    run.energy_mj = sum(known) / len(known) if known else None
    return run


def _time_session(
    step: Callable[[], None], protocol: LatencyProtocol, on_batch: Callable[[int, int | None], None]
) -> tuple[list[float], float | None, Load]:
    own, index = protocol.resolved(), gpu_index(protocol.device)
    for _ in range(own.warmup or 0):
        step()
    energy_before = None if index is None else read_energy_mj(index)
    with LoadMeter(index) as meter:
        times = time_batches(step, 0, own.batches, own.time_budget_s, own.min_batches, on_batch)
    energy_after = None if index is None else read_energy_mj(index)
    energy = None
    if energy_before is not None and energy_after is not None and energy_after > energy_before:
        energy = (energy_after - energy_before) / len(times)
    return times, energy, meter.load


def _per_build(progress: Progress, build: int, protocol: LatencyProtocol) -> Callable[[int, int | None], None]:
    def tell(done: int, total: int | None) -> None:
        before = build * (total or 0)
        progress(before + done, (total or 0) * protocol.builds, f"build {build + 1} of {protocol.builds}")

    return tell


def _record(
    subject: Subject, backend: LatencyBackend, protocol: LatencyProtocol, run: _Run, before: Load
) -> LatencyRecord:
    shares = [load.cpu_share for load in [before, *run.loads] if load.cpu_share is not None]
    environment = read_environment(protocol, backend.versions())
    environment["threads"] = None if protocol.on_gpu else protocol.threads or usable_cpus()
    environment["others_cpu_share"] = max(shares, default=None)
    environment["others_gpu_processes"] = before.gpu_processes
    states = {"before": run.state_before, "after": run.state_after}
    return LatencyRecord(
        protocol=protocol,
        device_name=device_name(protocol),
        **pooled(run.times, run.build_seconds),
        peak_memory_mb=run.memory_mb,
        energy_mj=run.energy_mj,
        clocks=states if any(states.values()) else None,
        isolated=all(load.quiet for load in [before, *run.loads]),
        environment=environment,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        notation=None if subject.candidate is None else subject.candidate.notation,
    )


def _check_load(protocol: LatencyProtocol, under_load: UnderLoad) -> Load:
    load = probe(gpu_index(protocol.device))
    if under_load == "refuse" and not load.quiet:
        names = busiest()
        raise LatencyError(
            f"the machine is busy: {load.sentence()}{': ' if names else ''}{', '.join(names)}",
            "wait until it is quiet, or allow figures marked as not isolated (--under-load mark)",
        )
    return load


@contextlib.contextmanager
def _threads(protocol: LatencyProtocol) -> Iterator[None]:
    """PyTorch's threads set to the protocol's while it measures on a CPU, and set back."""
    if protocol.on_gpu:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(protocol.threads or usable_cpus())
    try:
        yield
    finally:
        torch.set_num_threads(before)
