"""A profile as a table: one row a network, with what each block adds at each site and how sure that is.

Sites whose tensors equal a measured one get its figures, marked as not measured themselves. Drawing is left to
`nas.reporting`; whether a placement is too slow, to `nas.latency.cost_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.latency.intervals import increment_interval
from nas.latency.prediction import AdditiveModel, Once, Part, Row, part_of
from nas.latency.record import LatencyRecord
from nas.spaces import Candidate, get_topology

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "notation",
    "role",
    "backbone",
    "n_blocks",
    "block",
    "params",
    "site",
    "channels",
    "stride",
    "median_ms",
    "p5_ms",
    "p95_ms",
    "corrected_ms",
    "batches_per_s",
    "increment_ms",
    "low_ms",
    "high_ms",
    "slowdown_percent",
    "peak_memory_mb",
    "energy_mj",
    "measured",
    "same_as",
    "isolated",
    "drift",
)


@dataclass(frozen=True)
class ShapeCheck:
    """A placement measured although an equal tensor was: how far the two figures are apart.

    Attributes:
        candidate: the placement measured again.
        same_as: the one whose figure would have stood for it.
        percent: difference of the two in percent of the network's time.
    """

    candidate: Candidate
    same_as: Candidate
    percent: float


@dataclass(frozen=True)
class PlacementTable:
    """Latencies of networks of one protocol and device, seen as placements.

    Attributes:
        records: record by architecture.
    """

    records: Mapping[Candidate, LatencyRecord]

    @property
    def baselines(self) -> dict[Candidate, LatencyRecord]:
        """Networks without blocks."""
        return {candidate: record for candidate, record in self.records.items() if not candidate.placements}

    @property
    def singles(self) -> dict[Candidate, LatencyRecord]:
        """Networks with one block, measured."""
        return {candidate: record for candidate, record in self.records.items() if len(candidate.placements) == 1}

    def filled(self) -> dict[Candidate, Candidate]:
        """Single placements never measured, each with the measured one of equal block, settings and tensor."""
        by_part: dict[Part, Candidate] = {}
        for single in sorted(self.singles, key=_first_site):
            by_part.setdefault(part_of(single, single.placements[0]), single)
        found = {}
        for part, measured in by_part.items():
            placement = measured.placements[0]
            for site in get_topology(measured.backbone, _last_stride(measured)).sites:
                if (site.channels, site.stride) == (part.channels, part.stride):
                    twin = Candidate.make(
                        measured.backbone,
                        [(site.number, placement.block, dict(placement.params))],
                        dict(measured.backbone_params),
                    )
                    if twin not in self.records:
                        found[twin] = measured
        return found

    def checks(self) -> list[ShapeCheck]:
        """Measured placements of equal tensors, each against the first of its kind."""
        first: dict[Any, Candidate] = {}
        found = []
        for candidate in sorted(self.singles, key=_first_site):
            representative = first.setdefault(part_of(candidate, candidate.placements[0]), candidate)
            if representative != candidate:
                ms, other = self.records[candidate].corrected_ms, self.records[representative].corrected_ms
                found.append(ShapeCheck(candidate, representative, 100.0 * (ms - other) / other))
        return found

    def model(self, once: Once = "none") -> AdditiveModel:
        """The additive model of everything measured, drift corrected."""
        return AdditiveModel.fit(self.rows(), once)

    def rows(self) -> list[Row]:
        """Measured networks whose baseline was measured too, with drift-corrected milliseconds."""
        known = set(self.baselines)
        return [Row(c, record.corrected_ms) for c, record in self.records.items() if c.baseline in known]

    def to_frame(self) -> pd.DataFrame:
        """One row a network, baselines first, then by block and site; columns `COLUMNS`, None where not measured."""
        import pandas as pd

        rows = sorted(self._rows(), key=_order)
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _rows(self) -> Iterator[dict[str, Any]]:
        for candidate, record in self.records.items():
            yield self._row(candidate, record, None)
        for candidate, measured in self.filled().items():
            yield self._row(candidate, self.records[measured], measured)

    def _row(self, candidate: Candidate, record: LatencyRecord, same_as: Candidate | None) -> dict[str, Any]:
        row = {
            "notation": candidate.notation,
            "role": ("baseline", "single", "several")[min(len(candidate.placements), 2)],
            "backbone": candidate.baseline.notation,
            "n_blocks": len(candidate.placements),
            "median_ms": record.median_ms,
            "p5_ms": record.p5_ms,
            "p95_ms": record.p95_ms,
            "corrected_ms": record.corrected_ms,
            "batches_per_s": record.batches_per_s,
            "peak_memory_mb": record.peak_memory_mb,
            "energy_mj": record.energy_mj,
            "measured": same_as is None,
            "same_as": None if same_as is None else same_as.notation,
            "isolated": record.isolated,
            "drift": record.drift,
        }
        return row | _place(candidate) | self._increment(candidate, record)

    def _increment(self, candidate: Candidate, record: LatencyRecord) -> dict[str, Any]:
        baseline = self.records.get(candidate.baseline)
        if baseline is None or not candidate.placements:
            return dict.fromkeys(("increment_ms", "low_ms", "high_ms", "slowdown_percent"))
        interval = increment_interval(record, baseline)
        percent = 100.0 * interval.value / baseline.corrected_ms
        return {
            "increment_ms": interval.value,
            "low_ms": interval.low,
            "high_ms": interval.high,
            "slowdown_percent": percent,
        }


def _place(candidate: Candidate) -> dict[str, Any]:
    if len(candidate.placements) != 1:
        return {"block": None, "params": "", "site": 0, "channels": None, "stride": None}
    placement = candidate.placements[0]
    part = part_of(candidate, placement)
    return {
        "block": placement.block,
        "params": ", ".join(f"{key}={value}" for key, value in placement.params),
        "site": placement.site,
        "channels": part.channels,
        "stride": part.stride,
    }


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["n_blocks"], row["backbone"], row["block"] or "", row["params"], row["site"], row["notation"]


def _first_site(candidate: Candidate) -> tuple[str, int]:
    return candidate.backbone, candidate.placements[0].site


def _last_stride(candidate: Candidate) -> int:
    return int(dict(candidate.backbone_params).get("last_stride", 1))
