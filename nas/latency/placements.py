"""The placement table: what every block costs at every site of a space, against the baseline and the references.

Sites whose tensors are equal are measured once, checked on a sample. The plan is a pure function of the space, the
records live in a store, so a profile that was stopped goes on where it was.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from nas.errors import NasError
from nas.latency.drift import DriftMonitor
from nas.latency.environment import device_name
from nas.latency.measuring import UnderLoad, measure
from nas.latency.prediction import Part, part_of
from nas.latency.protocol import LatencyProtocol
from nas.latency.record import LatencyRecord
from nas.latency.store import LatencyStore, Records
from nas.progress import Progress, silent
from nas.spaces import Candidate, as_candidate

Role = Literal["baseline", "reference", "single", "check", "several"]
DRIFT_EVERY = 8
CHECKS = 2
_DRAWS = 8


class Space(Protocol):
    """What a profile needs of a design space."""

    def baselines(self) -> list[Candidate]:
        """Networks without blocks, one a backbone."""

    def singles(self) -> list[Candidate]:
        """Every single placement."""

    def sample(self, n: int, rng: random.Random) -> list[Candidate]:
        """Random networks, all different."""

    def size(self) -> int:
        """How many networks there are."""


class Planned(NamedTuple):
    """A network to measure and why."""

    candidate: Candidate
    role: Role


def plan_profile(
    space: Space,
    references: Sequence[str | Candidate] = ("resnet101",),
    checks: int = CHECKS,
    seed: int = 0,
    several: int = 0,
) -> list[Planned]:
    """The networks of a profile: baselines, references, one single placement a distinct shape, and checks.

    Args:
        space: its baselines and single placements are measured.
        references: networks a good placement must beat.
        checks: single placements measured although an equal tensor is measured already.
        seed: draws the checks and the order of the singles, so that a drift of the machine does not follow the sites.
        several: random networks with two blocks or more, to see (and to fit) what a sum of increments misses.
    """
    baselines = [candidate.architecture for candidate in space.baselines()]
    first: dict[Part, Candidate] = {}
    others: list[Candidate] = []
    for single in dict.fromkeys(candidate.architecture for candidate in space.singles()):
        part = part_of(single, single.placements[0])
        if part in first:
            others.append(single)
        else:
            first[part] = single
    rng = random.Random(seed)
    singles = rng.sample(list(first.values()), len(first))
    repeated = rng.sample(others, min(checks, len(others)))
    planned = [
        *(Planned(candidate, "baseline") for candidate in baselines),
        *(Planned(as_candidate(reference).architecture, "reference") for reference in references),
        *(Planned(candidate, "single") for candidate in singles),
        *(Planned(candidate, "check") for candidate in repeated),
        *(Planned(candidate, "several") for candidate in _several(space, several, rng)),
    ]
    return list({planned_.candidate: planned_ for planned_ in reversed(planned)}.values())[::-1]


def _several(space: Space, wanted: int, rng: random.Random) -> list[Candidate]:
    """Random networks with two blocks or more; a space that hardly has any gives fewer."""
    found: dict[Candidate, None] = {}
    for _ in range(_DRAWS if wanted else 0):
        drawn = space.sample(min(wanted, space.size()), rng)
        found |= {c.architecture: None for c in drawn if len(c.placements) > 1}
        if len(found) >= wanted:
            break
    return list(found)[:wanted]


@dataclass
class Profile:
    """The outcome of a profile.

    Attributes:
        protocol: how it was measured.
        device: on what.
        planned: what was to be measured, in order.
        records: what was measured, by architecture.
        failures: why some were not, by architecture.
        warnings: sentences about drift.
    """

    protocol: LatencyProtocol
    device: str
    planned: list[Planned]
    records: Records = field(default_factory=dict)
    failures: dict[Candidate, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


Measure = Callable[[Candidate, LatencyProtocol], LatencyRecord]


def profile(
    planned: Sequence[Planned],
    protocol: LatencyProtocol,
    store: LatencyStore,
    progress: Progress | None = None,
    *,
    drift_every: int = DRIFT_EVERY,
    under_load: UnderLoad = "mark",
    should_stop: Callable[[], bool] | None = None,
    measure_one: Measure | None = None,
    device: str | None = None,
) -> Profile:
    """Measures what the store does not have yet; the reference for drift is the first planned network.

    Args:
        planned: of `plan_profile`.
        protocol: how to measure.
        store: where records are found and kept.
        progress: told the networks done.
        drift_every: networks between two timings of the reference; 0 never times it again.
        under_load: see `nas.latency.measure`.
        should_stop: asked between networks; True ends the profile early, with what is there.
        measure_one: measures one network (tests, other devices); default `nas.latency.measure`.
        device: name records are kept under; default this machine's.
    """
    one = measure_one or (lambda candidate, how: measure(candidate, how, under_load=under_load))
    result = Profile(protocol, device or device_name(protocol), list(planned))
    result.records = store.find([item.candidate for item in planned], protocol, result.device)
    todo = [item.candidate for item in planned if item.candidate not in result.records]
    if todo:
        _Session(result, store, one, drift_every, progress or silent).run(todo, should_stop or (lambda: False))
    return result


class _Session:
    """One run of a profile: measures, times the reference in between, stores with the drift known by then."""

    def __init__(
        self, result: Profile, store: LatencyStore, one: Measure, drift_every: int, progress: Progress
    ) -> None:
        self.result, self.store, self.one, self.progress = result, store, one, progress
        self.reference = result.planned[0].candidate
        known = result.records.get(self.reference)
        self.monitor = DriftMonitor(self._time_reference, drift_every, None if known is None else known.median_ms)
        # Records wait here until the reference was timed again: their drift is known only then.
        self.waiting: list[tuple[float, Candidate, LatencyRecord]] = []

    def run(self, todo: Sequence[Candidate], should_stop: Callable[[], bool]) -> None:
        done, total = len(self.result.records), len(self.result.planned)
        try:
            self._start()
            for count, candidate in enumerate(todo):
                if should_stop():
                    return
                self.progress(done + count, total, candidate.notation)
                if candidate not in self.result.records:
                    self._measure(candidate)
                self._settle(self.monitor.every)
            self._settle(1)
            for candidate in self._disturbed(todo):
                if should_stop():
                    return
                self.progress(total, total, f"{candidate.notation}, once more")
                self._measure(candidate)
            self._settle(1)
            self.progress(total, total, "")
        finally:
            self._flush()
            if (warning := self.monitor.warning()) is not None:
                self.result.warnings.append(warning)

    def _start(self) -> None:
        if self.monitor.every or self.reference not in self.result.records:
            self.monitor.read()

    def _settle(self, enough: int) -> None:
        """Times the reference and stores what waits for that, once enough waits."""
        if self.monitor.every and len(self.waiting) >= enough:
            self.monitor.read()
            self._flush()

    def _disturbed(self, todo: Sequence[Candidate]) -> list[Candidate]:
        """What was measured while others kept the machine busy: worth a second try, when they may be gone."""
        found = {**self.result.records, **{candidate: record for _, candidate, record in self.waiting}}
        return [c for c in todo if c != self.reference and c in found and found[c].isolated is False]

    def _time_reference(self) -> float:
        record = self.one(self.reference, self.result.protocol)
        if self.reference not in self.result.records:
            self._keep(self.reference, record.with_drift(0.0 if self.monitor.every else None))
        return record.median_ms

    def _measure(self, candidate: Candidate) -> None:
        begun = time.monotonic()
        try:
            record = self.one(candidate, self.result.protocol)
        except NasError as error:
            self.result.failures[candidate] = error.message
        else:
            self.waiting.append(((begun + time.monotonic()) / 2.0, candidate, record))

    def _flush(self) -> None:
        for moment, candidate, record in self.waiting:
            self._keep(candidate, record.with_drift(self.monitor.at(moment) if self.monitor.every else None))
        self.waiting.clear()

    def _keep(self, candidate: Candidate, record: LatencyRecord) -> None:
        self.result.records[candidate] = record
        self.store.save(candidate, record)
