"""What a measurement found: one frozen value that holds the protocol, the figures and how they came about.

None means not read, never 0. Each build keeps the medians of consecutive blocks of its batches: enough for intervals
that respect both the noise between builds and the slow drift within one, without keeping ten thousand samples.

A network timed in turns with a reference (a pair a batch) has a ratio: what it needs of the reference's time, whatever
the machine does meanwhile. Its milliseconds are then that ratio times the best-known time of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import stdev
from typing import Any

from nas.errors import LatencyError
from nas.latency.device_agent.statistics import pool_builds, pool_pairs
from nas.latency.protocol import LatencyProtocol
from nas.results.costs import without_drift


@dataclass(frozen=True)
class BuildTiming:
    """The timing of one build (one engine, one compilation).

    Attributes:
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

    def scaled(self, factor: float) -> BuildTiming:
        """The same timing on a machine that is slower by a factor."""
        return replace(
            self,
            median_ms=self.median_ms * factor,
            mean_ms=self.mean_ms * factor,
            sd_ms=None if self.sd_ms is None else self.sd_ms * factor,
            block_medians_ms=tuple(ms * factor for ms in self.block_medians_ms),
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BuildTiming:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**data, "block_medians_ms": tuple(data["block_medians_ms"])})


@dataclass(frozen=True)
class LatencyRecord:
    """One latency and how it was measured.

    Attributes:
        device_name: what it was measured on; with the protocol's id, what makes two figures comparable.
        median_ms: milliseconds a batch: of a pair, `ratio` times `reference_ms`; else the median of all timed batches,
            drift not corrected.
        mean_ms, p5_ms, p95_ms: of all timed batches; of a pair, by the factor that brings their median to `median_ms`
            (so the medians of `builds` too).
        sd_ms: standard deviation over batches; None for a single batch.
        batches: batches timed, all builds together.
        peak_memory_mb: memory the network needs while it runs, in MB (10^6 bytes): weights and activations.
        energy_mj: energy a batch in millijoule, the whole device's.
        clocks: clocks (MHz), temperatures (deg C) and throttling as the device reports them.
        isolated: whether the machine was ours alone: lock held, and others' load below the threshold.
        drift: in records made before networks were timed in pairs, how much slower the reference network ran around
            this time than at the session's start (0.01 = 1 %); None since.
        environment: machine, libraries, driver, threads, governor, load.
        measured_at: UTC time, ISO 8601.
        reference: notation of the network timed in turns with this one; None when it was timed alone.
        ratio: median over the pairs of this network's time over the reference's.
        ratio_low, ratio_high: its 95 % interval, from blocks of pairs or from builds; None with too few.
        pairs: pairs timed, all builds together.
        reference_ms: the best-known time of the reference, in which the milliseconds above are told.
        reference_read_ms: median of the reference's batches in these pairs; beside `reference_ms` it says how fast the
            machine was.
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
    clocks: dict[str, object] | None = None
    isolated: bool = False
    drift: float | None = None
    environment: dict[str, object] | None = None
    measured_at: str | None = None
    notation: str | None = None
    reference: str | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    pairs: int | None = None
    reference_ms: float | None = None
    reference_read_ms: float | None = None

    @property
    def batches_per_s(self) -> float:
        """Batches a second at the median time."""
        return 1000.0 / self.median_ms

    @property
    def images_per_s(self) -> float:
        """Images a second at the median time."""
        return self.protocol.batch * self.batches_per_s

    @property
    def build_sd_ms(self) -> float | None:
        """Standard deviation between the medians of the builds; None with a single build."""
        return stdev(build.median_ms for build in self.builds) if len(self.builds) > 1 else None

    @property
    def corrected_ms(self) -> float:
        """The median as it would have been without the machine's drift, where that was read."""
        return without_drift(self.median_ms, self.drift)

    def beside(self, reference_ms: float | None) -> LatencyRecord:
        """The same record with its milliseconds told in a time of the reference; unchanged when it is no pair.

        `reference_ms` is the best-known time of the reference; None stands for what was read in these pairs.
        """
        if self.ratio is None:
            return self
        best = reference_ms or self.reference_read_ms
        assert best is not None
        factor = self.ratio * best / self.median_ms
        builds = tuple(build.scaled(factor) for build in self.builds)
        times = {name: getattr(self, name) * factor for name in ("mean_ms", "p5_ms", "p95_ms")}
        sd = None if self.sd_ms is None else self.sd_ms * factor
        return replace(self, **times, median_ms=self.ratio * best, sd_ms=sd, builds=builds, reference_ms=best)

    def to_dict(self) -> dict[str, object]:
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
        """The inverse of `to_dict`, of records of earlier versions too; a `LatencyError` where the data is none."""
        derived = {"batches_per_s", "protocol_id"}
        try:
            values = {key: value for key, value in data.items() if key not in derived}
            values["protocol"] = LatencyProtocol.from_record(data["protocol"])
            values["builds"] = tuple(BuildTiming.from_dict(build) for build in data["builds"])
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise LatencyError(f"this is not a latency record: {error}") from error

    def check(self) -> LatencyRecord:
        """The record itself, when its figures can be those of a measurement; for records from elsewhere.

        Raises:
            LatencyError: names the first figure that cannot be.
        """
        for name in ("median_ms", "mean_ms", "p5_ms", "p95_ms"):
            _positive(name, getattr(self, name))
        for name in ("sd_ms", "peak_memory_mb", "energy_mj"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name), zero=True)
        if not self.p5_ms <= self.median_ms <= self.p95_ms:
            raise LatencyError("its percentiles are not in order")
        if not self.builds or self.batches != sum(_counted(build) for build in self.builds):
            raise LatencyError("its builds do not hold the batches it counts")
        if not isinstance(self.isolated, bool) or not isinstance(self.environment, (dict, type(None))):
            raise LatencyError("isolated or environment is not of its type")
        if self.drift is not None:
            _positive("1 + drift", 1.0 + _number("drift", self.drift))
        self._check_pair()
        return self

    def _check_pair(self) -> None:
        if self.ratio is None:
            if any(getattr(self, name) is not None for name in _PAIRED):
                raise LatencyError("it has parts of a pair and no ratio")
            return
        for name in ("ratio", "reference_read_ms"):
            _positive(name, getattr(self, name))
        if not isinstance(self.reference, str) or self.pairs != self.batches:
            raise LatencyError("its reference is not named, or its pairs are not its batches")
        bounds = self.ratio_low, self.ratio_high
        if None not in bounds:
            low, high = (_positive("the interval of its ratio", bound) for bound in bounds)
            if low <= self.ratio <= high:
                return
        elif bounds == (None, None):
            return
        raise LatencyError("the interval of its ratio does not hold the ratio")


_PAIRED = tuple(field.name for field in fields(LatencyRecord) if field.name.startswith(("ratio", "reference", "pairs")))


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise LatencyError(f"its {name} is {value!r}, not a number")
    return float(value)


def _positive(name: str, value: object, *, zero: bool = False) -> float:
    number = _number(name, value)
    if number < 0 or (number == 0 and not zero):
        raise LatencyError(f"its {name} is {value!r}")
    return number


def _counted(build: BuildTiming) -> int:
    """The batches of a build whose figures can be."""
    for ms in (build.median_ms, build.mean_ms, *build.block_medians_ms):
        _positive("build", ms)
    if isinstance(build.batches, bool) or not isinstance(build.batches, int) or not build.block_medians_ms:
        raise LatencyError("a build counts no batches")
    return build.batches


def pooled(
    builds: Sequence[Sequence[tuple[float, ...]]], build_seconds: Sequence[float | None], reference: str | None = None
) -> dict[str, Any]:
    """The figures of a record from the times of each build, milliseconds as read.

    Args:
        builds: milliseconds of every timed batch, a sequence a build: (network,) or (network, reference).

    Returns:
        The fields median_ms, mean_ms, p5_ms, p95_ms, sd_ms, batches and builds of a `LatencyRecord`, and of a pair
        reference, ratio, ratio_low, ratio_high, pairs and reference_read_ms.
    """
    figures = pool_builds([[times[0] for times in build] for build in builds], build_seconds)
    figures |= {"builds": tuple(BuildTiming.from_dict(build) for build in figures["builds"])}
    if reference is None:
        return figures
    pairs = [[(own, other) for own, other in build] for build in builds]
    return figures | pool_pairs(pairs) | {"reference": reference}
