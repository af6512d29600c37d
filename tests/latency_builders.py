"""Made-up latencies for tests: records without a measurement, a device whose costs are planted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nas.latency import LatencyProtocol, LatencyRecord
from nas.latency.record import pooled
from nas.latency.store import RepositoryStore
from nas.spaces import Candidate, DesignSpace, get_topology
from nas.storage import Repository, open_database

PROTOCOL = LatencyProtocol(batch=2, input=(32, 16), batches=4)
DEVICE = "planted device"


def make_record(
    ms: float | Sequence[Sequence[float]],
    notation: str | None = None,
    *,
    isolated: bool = True,
    drift: float | None = 0.0,
) -> LatencyRecord:
    """A record of a steady time, or of given batches a build."""
    builds = [[(ms,)] * 4] if isinstance(ms, (int, float)) else [[(batch,) for batch in build] for build in ms]
    return LatencyRecord(
        protocol=PROTOCOL,
        device_name=DEVICE,
        **pooled(builds, [None] * len(builds)),
        isolated=isolated,
        drift=drift,
        environment={},
        measured_at="2026-01-01T00:00:00+00:00",
        notation=notation,
    )


def make_pair(
    builds: Sequence[Sequence[tuple[float, float]]], notation: str = "resnet50+se@8", reference: str = "resnet50"
) -> LatencyRecord:
    """A record of given pairs (network, reference) a build, milliseconds as read."""
    return LatencyRecord(
        protocol=PROTOCOL,
        device_name=DEVICE,
        **pooled(builds, [None] * len(builds), reference),
        isolated=True,
        environment={},
        measured_at="2026-01-01T00:00:00+00:00",
        notation=notation,
    )


@dataclass
class PlantedDevice:
    """A device on which a network costs a baseline and something a block and tensor.

    Attributes:
        baselines: milliseconds by backbone.
        blocks: milliseconds of a block on one channel; a block on C channels costs C times as much.
        slowness: factor on everything, a function of how many networks were measured.
        measured: what was measured, in order.
    """

    baselines: dict[str, float] = field(default_factory=lambda: {"resnet50": 30.0, "resnet101": 50.0})
    blocks: dict[str, float] = field(default_factory=lambda: {"se": 0.001, "cnl": 0.002, "raga": 0.03})
    slowness: Callable[[int], float] = lambda count: 1.0
    measured: list[str] = field(default_factory=list)

    def ms(self, candidate: Candidate) -> float:
        """The planted time of a network."""
        topology = get_topology(candidate.backbone)
        cost = sum(self.blocks[p.block] * topology.site(p.site).channels for p in candidate.placements)
        return self.baselines[candidate.backbone] + cost

    def __call__(
        self,
        candidate: Candidate,
        protocol: LatencyProtocol,
        reference: Candidate | None = None,
        reference_ms: float | None = None,
    ) -> LatencyRecord:
        """Measures a network, in turns with its reference: as slow as the device is by now."""
        slowness = self.slowness(len(self.measured))
        self.measured.append(candidate.notation)
        if reference is None:
            return make_record(self.ms(candidate) * slowness, candidate.notation, drift=None)
        pairs = [[(self.ms(candidate) * slowness, self.ms(reference) * slowness)] * 4]
        return make_pair(pairs, candidate.notation, reference.notation).beside(reference_ms)


def small_space(*blocks: str) -> DesignSpace:
    """Single placements of some blocks (se and cnl) at all sites of ResNet-50."""
    given = {"name": "small", "backbones": ["resnet50"], "sites": "1-17", "blocks": list(blocks or ("se", "cnl"))}
    return DesignSpace.from_dict({**given, "rules": [{"max_blocks": 1}]})


def memory_store() -> RepositoryStore:
    """A database of its own that is gone with it."""
    return RepositoryStore(Repository(open_database("sqlite://")))
