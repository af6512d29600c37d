"""Times one network, alone or in turns with a reference: build, lock, warm-up, batches - alike for every backend.

One network at a time; many networks with resume and a table are `nas.latency.placements`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from nas import latency
from nas.errors import LatencyError
from nas.latency.backends import get_backend
from nas.latency.backends.base import LatencyBackend, Session, reader
from nas.latency.beside import running_beside
from nas.latency.device_agent.job import ENERGY_S
from nas.latency.device_agent.machine import usable_cpus
from nas.latency.device_agent.timing import HANGING_S, time_limit, time_rounds, warm_up
from nas.latency.environment import device_name, read_environment, read_state
from nas.latency.gpu import GpuSampler, gpu_index, read_energy_mj
from nas.latency.isolation import DEFAULT_TIMEOUT_S, TrainingPresence, exclusive_measurement
from nas.latency.load import Load, LoadMeter, busiest, probe
from nas.latency.protocol import LatencyProtocol
from nas.latency.record import LatencyRecord, pooled
from nas.latency.subject import Subject, as_subject
from nas.progress import Progress, silent
from nas.spaces import Candidate

if TYPE_CHECKING:
    from torch import nn

UnderLoad = Literal["mark", "refuse"]
What = Candidate | str | Callable[[], "nn.Module"] | Subject


def measure(
    what: What,
    protocol: LatencyProtocol | None = None,
    progress: Progress | None = None,
    *,
    reference: What | None = None,
    reference_ms: float | None = None,
    under_load: UnderLoad = "mark",
    lock_timeout_s: float | None = DEFAULT_TIMEOUT_S,
    while_waiting: Callable[[str], None] | None = None,
    memory: bool = True,
    limit_s: float | None = HANGING_S,
) -> LatencyRecord:
    """Milliseconds a batch of one network.

    On a machine that others use too, a network's time moves by tens of percent within minutes, its ratio to a
    reference timed in turns with it by about one (Bulej et al., Duet Benchmarking, ICPE 2020).

    Args:
        what: a candidate, its notation, or a function that makes a network for images (B, 3, H, W).
        reference: a network to time in turns with, batch by batch, in both orders; the record then holds the ratio.
        reference_ms: the best-known time of the reference, in which the record's milliseconds are told; None: as it
            was read beside this network.
        under_load: what to do when other programs keep the machine busy: mark the record as not isolated, or refuse.
        lock_timeout_s: the longest wait for our own trainings and measurements.
        while_waiting: called many times a second during that wait, once with whom for (may raise to stop).
        memory: read the peak memory too (one more pass on a CPU).
        limit_s: seconds after which a build is given up (in the main thread).

    Raises:
        LatencyError: when the backend is not available or cannot run the network, the machine stays locked, or it is
            busy and `refuse` was asked, or the network takes longer than the limit.
    """
    protocol = protocol or LatencyProtocol()
    subject, backend = as_subject(what), get_backend(protocol.backend)
    other = None if reference is None else as_subject(reference)
    reason = backend.unavailable(protocol)
    if reason is not None:
        raise LatencyError(f"latency backend {protocol.backend!r} cannot measure on {protocol.device}: {reason}")
    run = _Run(subject, other, backend, protocol, progress or silent, under_load)
    with latency.numerics(protocol):
        try:
            run.all_builds((lock_timeout_s, while_waiting, protocol.device), memory=memory, limit_s=limit_s)
        except (RuntimeError, MemoryError, OSError) as error:  # of the libraries: out of memory, cannot compile, ...
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise LatencyError(f"{subject.name} cannot be timed in {protocol.backend}: {first}") from error
    return _record(run).beside(reference_ms)


@dataclass
class _Run:
    """The builds of one network, and what they gave."""

    subject: Subject
    other: Subject | None
    backend: LatencyBackend
    protocol: LatencyProtocol
    progress: Progress
    under_load: UnderLoad
    times: list[list[tuple[float, ...]]] = field(default_factory=list)
    build_seconds: list[float | None] = field(default_factory=list)
    memory_mb: float | None = None
    dla_layers: str | None = None
    energies: list[float] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    states: dict[str, object] = field(default_factory=dict)
    beside: dict[str, object] = field(default_factory=dict)

    def all_builds(
        self, hold: tuple[float | None, Callable[[str], None] | None, str], *, memory: bool, limit_s: float | None
    ) -> None:
        """The machine is held shared while an engine is built, like a training; alone while batches are timed."""
        for build in range(self.protocol.builds):
            with time_limit(limit_s), contextlib.ExitStack() as opened:
                with TrainingPresence(*hold):
                    sessions = self._open(build, opened, memory=memory and build == 0)
                with exclusive_measurement(*hold):
                    self._time(sessions, build)

    def _open(self, build: int, opened: contextlib.ExitStack, *, memory: bool) -> list[Session]:
        """The sessions that take turns; memory is read before the second takes its own."""
        begun = time.perf_counter()
        session = self.backend.open(self.subject, self.protocol, build)
        opened.callback(session.close)
        self.build_seconds.append(time.perf_counter() - begun)
        self.dla_layers = getattr(session, "dla_layers", None)
        if memory:
            self.memory_mb = session.peak_memory_mb()
        if self.other is None:
            return [session]
        reference = self.backend.open(self.other, self.protocol, build)
        opened.callback(reference.close)
        return [session, reference]

    def _time(self, sessions: list[Session], build: int) -> None:
        own, index = self.protocol.resolved(), gpu_index(self.protocol.device)
        if not self.loads:
            self.loads.append(_check_load(index, self.under_load))
            self.states["before"] = read_state(self.protocol)
        warm_up([session.run for session in sessions], own.warmup, own.warmup_s)
        with running_beside(self.protocol) as beside, LoadMeter(index) as meter, GpuSampler(index) as sampler:

            def between(done: int, total: int | None) -> None:
                sampler.sample()
                self._tell(build, done, total)

            settings = own.batches, own.time_budget_s, own.min_batches
            self.times.append(time_rounds([reader(session) for session in sessions], *settings, between))
        if self.protocol.load is None:
            self.loads.append(meter.load)  # else it is that of the network beside
        self.beside = beside
        self.states["during"] = sampler.summary()
        energy = None if index is None else _energy(sessions[0].run, index)
        if energy is not None:
            self.energies.append(energy)
        self.states["after"] = read_state(self.protocol)

    def _tell(self, build: int, done: int, total: int | None) -> None:
        before = build * (total or 0)
        self.progress(
            before + done, (total or 0) * self.protocol.builds, f"build {build + 1} of {self.protocol.builds}"
        )


def _energy(run: Callable[[], None], index: int) -> float | None:
    """Millijoule a batch of a network that runs alone for some seconds; None where the card does not tell."""
    before = read_energy_mj(index)
    if before is None:
        return None
    until, batches = time.monotonic() + ENERGY_S, 0
    while batches == 0 or time.monotonic() < until:
        run()
        batches += 1
    after = read_energy_mj(index)
    return (after - before) / batches if after is not None and after > before else None


def _record(run: _Run) -> LatencyRecord:
    protocol, subject = run.protocol, run.subject
    shares = [load.cpu_share for load in run.loads if load.cpu_share is not None]
    environment = read_environment(protocol, run.backend.versions())
    environment["threads"] = None if protocol.on_gpu else protocol.threads or usable_cpus()
    environment["others_cpu_share"] = max(shares, default=None)
    if run.beside:
        environment["load"] = run.beside
    if run.dla_layers is not None:
        environment["dla_layers"] = run.dla_layers
    if protocol.on_gpu:
        environment["others_gpu_share"] = max(
            (s for load in run.loads if (s := load.gpu_share) is not None), default=None
        )
        environment["cublas_workspace"] = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    return LatencyRecord(
        protocol=protocol,
        device_name=device_name(protocol),
        **pooled(run.times, run.build_seconds, None if run.other is None else run.other.name),
        peak_memory_mb=run.memory_mb,
        energy_mj=sum(run.energies) / len(run.energies) if run.energies else None,
        clocks=run.states if any(run.states.values()) else None,
        isolated=all(load.quiet for load in run.loads),
        environment=environment,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        notation=None if subject.candidate is None else subject.candidate.notation,
    )


def _check_load(index: int | None, under_load: UnderLoad) -> Load:
    load = probe(index)
    if under_load == "refuse" and not load.quiet:
        names = busiest()
        raise LatencyError(
            f"the machine is busy: {load.sentence()}{': ' if names else ''}{', '.join(names)}",
            "wait until it is quiet, or allow figures marked as not isolated (--under-load mark)",
        )
    return load
