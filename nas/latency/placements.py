"""The placement table: what every block costs at every site of a space, against the baseline and the references.

Sites whose tensors are equal are measured once, checked on a sample. The plan is a pure function of the space, the
records live in a store, so a profile that was stopped goes on where it was. Every network is timed in turns with the
plain network of its backbone, whose own time is read once: milliseconds are the pair's ratio times that time, so that
networks timed in different hours compare.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from nas.errors import NasError
from nas.latency.environment import device_name
from nas.latency.measuring import measure
from nas.latency.protocol import LatencyProtocol
from nas.latency.record import LatencyRecord
from nas.latency.store import RepositoryStore
from nas.progress import Progress, silent
from nas.results.additive import Part, part_of
from nas.spaces import Candidate, DesignSpace, as_candidate

CHECKS = 2  # equal shapes timed again: one would not tell a wrong shape from a disturbed figure
UNSURE = 0.02  # a ratio known to no better than this is worth a word: the cheapest blocks cost about 2 %
_DRAWS = 8  # tries to find networks with several blocks that are new; small spaces have no more


def plan_profile(
    space: DesignSpace,
    references: Sequence[str | Candidate] = ("resnet101",),
    checks: int = CHECKS,
    seed: int = 0,
    several: int = 0,
    blocks: Collection[str] | None = None,
) -> list[Candidate]:
    """The networks of a profile: baselines, references, one single placement a distinct shape, and checks.

    Args:
        references: networks a good placement must beat.
        checks: single placements measured although an equal tensor is measured already.
        seed: draws the checks and the order of the singles, so that a drift of the machine does not follow the sites.
        several: random networks with two blocks or more, to see (and to fit) what a sum of increments misses.
    """
    first: dict[Part, Candidate] = {}
    others: list[Candidate] = []
    for single in dict.fromkeys(candidate.architecture for candidate in space.singles()):
        if blocks is not None and single.placements[0].block not in blocks:
            continue
        if single != first.setdefault(part_of(single, single.placements[0]), single):
            others.append(single)
    rng = random.Random(seed)
    singles = rng.sample(list(first.values()), len(first))
    repeated = rng.sample(others, min(checks, len(others)))
    plain = [*space.baselines(), *(as_candidate(reference) for reference in references)]
    planned = [*(candidate.architecture for candidate in plain), *singles, *repeated]
    return list(dict.fromkeys([*planned, *_several(space, several, rng)]))


def _several(space: DesignSpace, wanted: int, rng: random.Random) -> list[Candidate]:
    """Random networks with two blocks or more; a space that hardly has any gives fewer."""
    found: dict[Candidate, None] = {}
    for _ in range(_DRAWS if wanted else 0):
        drawn = space.sample(min(wanted, space.size()), rng)
        found |= {c.architecture: None for c in drawn if len(c.placements) > 1}
        if len(found) >= wanted:
            break
    return list(found)[:wanted]


def reference_of(candidate: Candidate, plain: Candidate) -> Candidate | None:
    """The network that a candidate is timed in turns with.

    Args:
        plain: the first plain network of a study, which all plain networks are compared with; itself has none.

    >>> reference_of(Candidate.parse("resnet50+se@8"), Candidate.parse("resnet18")).notation
    'resnet50'
    """
    own = candidate.architecture
    reference = own.baseline if own.placements else plain.architecture
    return None if reference == own else reference


@dataclass
class ProfileOutcome:
    """How a profile was measured and on what, its records, and why some failed, both by architecture."""

    protocol: LatencyProtocol
    device: str
    records: dict[Candidate, LatencyRecord] = field(default_factory=dict)
    failures: dict[Candidate, str] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """Sentences about figures that are not sure."""
        halves = [
            (record.ratio_high - record.ratio_low) / 2.0
            for record in self.records.values()
            if record.ratio_low is not None and record.ratio_high is not None
        ]
        unsure = [half for half in halves if half > UNSURE]
        if not unsure:
            return []
        return [
            f"{len(unsure)} of {len(halves)} networks are known to no better than {UNSURE:.0%} of the reference's time "
            f"(the worst to {max(unsure):.0%}): measure them on a quieter machine, or longer"
        ]


def profile(
    networks: Sequence[Candidate],
    protocol: LatencyProtocol,
    store: RepositoryStore,
    progress: Progress | None = None,
    *,
    plain: Candidate | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    measure_one: Callable[..., LatencyRecord] = measure,
    device: str | None = None,
) -> ProfileOutcome:
    """Measures what the store does not have yet, and the references that takes.

    Args:
        store: where records are found and kept.
        plain: the network that plain networks are timed in turns with; default: the first of `networks`.
        measure_one: as `nas.latency.measure`, told candidate, protocol, reference and its best-known time.
        device: name records are kept under; default this machine's.
    """
    result = ProfileOutcome(protocol, device or device_name(protocol))
    _Session(result, store, measure_one, plain or networks[0], progress or silent).run(networks, should_stop)
    return result


@dataclass(frozen=True)
class _Session:
    """One run of a profile: measures and stores, one network after the other."""

    result: ProfileOutcome
    store: RepositoryStore
    one: Callable[..., LatencyRecord]
    plain: Candidate
    progress: Progress

    def run(self, wanted: Sequence[Candidate], should_stop: Callable[[], bool]) -> None:
        self._recall({*wanted, *(r for c in wanted if (r := reference_of(c, self.plain)) is not None), self.plain})
        todo, total = [c for c in wanted if c not in self.result.records], len(wanted)
        before = total - len(todo)
        for count, candidate in enumerate(todo):
            if should_stop():
                return
            self.progress(before + count, total, candidate.notation)
            self._measure(candidate)
        for candidate in self._disturbed(todo):
            if should_stop():
                return
            self.progress(total, total, f"{candidate.notation}, once more")
            self._measure(candidate)
        self.progress(total, total, "")

    def _recall(self, candidates: Iterable[Candidate]) -> None:
        self.result.records |= self.store.find(list(candidates), self.result.protocol, self.result.device)

    def _disturbed(self, todo: Sequence[Candidate]) -> list[Candidate]:
        """What was measured while others kept the machine busy: worth a second try, when they may be gone.

        Not what others are told in: their milliseconds rest on the time that was read first.
        """
        found = self.result.records
        told_in = {record.reference for record in found.values()}
        return [c for c in todo if c in found and found[c].isolated is False and c.notation not in told_in]

    def _measure(self, candidate: Candidate) -> None:
        reference = reference_of(candidate, self.plain)
        if reference is not None and reference not in self.result.records:
            self._measure(reference)
        known = None if reference is None else self.result.records.get(reference)
        try:
            ms = None if known is None else known.corrected_ms
            record = self.one(candidate, self.result.protocol, reference=reference, reference_ms=ms)
        except NasError as error:
            self.result.failures[candidate] = error.message
            return
        self.result.records[candidate] = record
        self.store.save(candidate, record)
