"""What a measurement found: one frozen value that holds the protocol, the figures and how they came about.

None means not read, never 0. Each build keeps the medians of consecutive blocks of its batches: enough for intervals
that respect both the noise between builds and the slow drift within one, without keeping ten thousand samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import stdev
from typing import Any

from nas.errors import LatencyError
from nas.latency.device_agent import pool_builds
from nas.latency.protocol import LatencyProtocol


@dataclass(frozen=True)
class BuildTiming:
    """The timing of one build (one engine, one compilation).

    Attributes:
        batches: batches timed.
        median_ms, mean_ms, sd_ms: of the batches, in milliseconds; the sd is None for a single batch.
        block_medians_ms: medians of up to 20 consecutive blocks of batches, in the order timed.
        build_s: seconds the build took, export included; None when not read.
    """

    batches: int
    median_ms: float
    mean_ms: float
    sd_ms: float | None
    block_medians_ms: tuple[float, ...]
    build_s: float | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BuildTiming:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**data, "block_medians_ms": tuple(data["block_medians_ms"])})


@dataclass(frozen=True)
class LatencyRecord:
    """One latency and how it was measured.

    Attributes:
        protocol: how it was measured.
        device_name: what it was measured on; with the protocol's id, what makes two figures comparable.
        median_ms, mean_ms, p5_ms, p95_ms: of all timed batches, milliseconds a batch, drift not corrected.
        sd_ms: standard deviation over batches; None for a single batch.
        batches: batches timed, all builds together.
        builds: each build by itself.
        peak_memory_mb: memory the network needs while it runs, in MB (10^6 bytes): weights and activations.
        energy_mj: energy a batch in millijoule, the whole device's.
        clocks: clocks (MHz), temperatures (deg C) and throttling as the device reports them.
        isolated: whether the machine was ours alone: lock held, and others' load below the threshold.
        drift: how much slower the reference network ran around this time than at the session's start (0.01 = 1 %).
        environment: machine, libraries, driver, threads, governor, load.
        measured_at: UTC time, ISO 8601.
        notation: the candidate, when it was one.
    """

    protocol: LatencyProtocol
    device_name: str
    median_ms: float
    mean_ms: float
    p5_ms: float
    p95_ms: float
    sd_ms: float | None
    batches: int
    builds: tuple[BuildTiming, ...]
    peak_memory_mb: float | None = None
    energy_mj: float | None = None
    clocks: dict[str, Any] | None = None
    isolated: bool = False
    drift: float | None = None
    environment: dict[str, Any] | None = None
    measured_at: str | None = None
    notation: str | None = None

    @property
    def batches_per_s(self) -> float:
        """Batches a second at the median time."""
        return 1000.0 / self.median_ms

    @property
    def images_per_s(self) -> float:
        """Images a second at the median time."""
        return self.protocol.batch * self.batches_per_s

    @property
    def relative_spread(self) -> float:
        """(p95 - p5) / median: how wide the batches scatter."""
        return (self.p95_ms - self.p5_ms) / self.median_ms

    @property
    def build_sd_ms(self) -> float | None:
        """Standard deviation between the medians of the builds; None with a single build."""
        return stdev(build.median_ms for build in self.builds) if len(self.builds) > 1 else None

    @property
    def corrected_ms(self) -> float:
        """The median as it would be at the session's start: divided by 1 + drift where drift was read."""
        return self.median_ms / (1.0 + (self.drift or 0.0))

    def with_drift(self, drift: float | None) -> LatencyRecord:
        """The same record with the drift of its time written in."""
        return replace(self, drift=drift)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: the fields, `batches_per_s` and `protocol_id`; `from_dict` reads it back."""
        return {
            **asdict(self),
            "protocol": self.protocol.to_dict(),
            "builds": [asdict(build) | {"block_medians_ms": list(build.block_medians_ms)} for build in self.builds],
            "batches_per_s": self.batches_per_s,
            "protocol_id": self.protocol.id,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LatencyRecord:
        """The inverse of `to_dict`.

        Raises:
            LatencyError: when the data is not a latency record.
        """
        derived = {"batches_per_s", "protocol_id"}
        try:
            values = {key: value for key, value in data.items() if key not in derived}
            values["protocol"] = LatencyProtocol.from_dict(data["protocol"])
            values["builds"] = tuple(BuildTiming.from_dict(build) for build in data["builds"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise LatencyError(f"this is not a latency record: {error}") from error


def pooled(builds: Sequence[Sequence[float]], build_seconds: Sequence[float | None]) -> dict[str, Any]:
    """The figures of a record from the times of each build.

    Args:
        builds: milliseconds of every timed batch, a sequence a build.
        build_seconds: how long each build took.

    Returns:
        The fields median_ms, mean_ms, p5_ms, p95_ms, sd_ms, batches and builds of a `LatencyRecord`.
    """
    figures = pool_builds(builds, build_seconds)
    return figures | {"builds": tuple(BuildTiming.from_dict(build) for build in figures["builds"])}
