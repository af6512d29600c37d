"""A profile as a table: one row a network, with what each block adds at each site and how sure that is.

Sites whose tensors equal a measured one get its figures, marked as not measured themselves. What the figures mean is
told by `nas.results`; drawing is left to `nas.reporting`, whether a placement is too slow to `nas.latency.cost_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from nas.latency.record import LatencyRecord
from nas.results.additive import AdditiveModel, Once, Part, Row, part_of, twins
from nas.results.costs import Quote, ratio, read_times
from nas.spaces import Candidate

COLUMNS = (
    *("notation", "role", "backbone", "n_blocks", "block", "params", "site", "channels", "stride"),
    *("median_ms", "p5_ms", "p95_ms", "corrected_ms", "batches_per_s"),
    *("increment_ms", "low_ms", "high_ms", "slowdown_percent"),
    *("peak_memory_mb", "energy_mj", "measured", "same_as", "isolated", "drift", "unknown"),
)
"""`corrected_ms` is the time as it may be compared, None where it is not known; `unknown` says why. `low_ms` and
`high_ms` are the 95 % interval of `increment_ms`."""


@dataclass(frozen=True)
class ShapeCheck:
    """A placement measured although an equal tensor was (of `same_as`): how far the two are apart, in percent."""

    candidate: Candidate
    same_as: Candidate
    percent: float


@dataclass(frozen=True)
class PlacementTable:
    """Latencies of networks of one protocol and device by architecture, seen as placements."""

    records: Mapping[Candidate, LatencyRecord]

    @cached_property
    def times(self) -> dict[Candidate, Quote]:
        """Time of every network as it may be compared, ms; single placements of equal tensors share theirs."""
        read = read_times({candidate.notation: record.to_dict() for candidate, record in self.records.items()})
        own = {candidate: read[candidate.notation] for candidate in self.records}
        return own | {twin: own[measured] for twin, measured in twins(own).items()}

    @property
    def baselines(self) -> dict[Candidate, LatencyRecord]:
        """Networks without blocks."""
        return {candidate: record for candidate, record in self.records.items() if not candidate.placements}

    @property
    def singles(self) -> dict[Candidate, LatencyRecord]:
        """Networks with one block, measured."""
        return {candidate: record for candidate, record in self.records.items() if len(candidate.placements) == 1}

    def checks(self) -> list[ShapeCheck]:
        """Measured placements of equal tensors, each against the first of its kind."""
        first: dict[Part, Candidate] = {}
        found = []
        for candidate in sorted(self.singles, key=_first_site):
            representative = first.setdefault(part_of(candidate, candidate.placements[0]), candidate)
            over = ratio(self.times[candidate], self.times[representative])
            if representative != candidate and over is not None:
                found.append(ShapeCheck(candidate, representative, 100.0 * (over.value - 1.0)))
        return found

    def model(self, once: Once = "none") -> AdditiveModel:
        """The additive model of everything measured whose time is known."""
        return AdditiveModel.fit(self.rows(), once)

    def rows(self) -> list[Row]:
        """Measured networks whose time is known, with it, where their baseline's is known too."""
        known = {c: ms for c in self.records if (ms := self.times[c].value) is not None}
        return [Row(c, ms) for c, ms in known.items() if c.baseline in known]

    def to_frame(self) -> pd.DataFrame:
        """One row a network, baselines first, then by block and site; columns `COLUMNS`, None where not measured."""
        rows = sorted(self._rows(), key=_order)
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _rows(self) -> Iterator[dict[str, object]]:
        for candidate, record in self.records.items():
            yield self._row(candidate, record, None)
        for candidate, measured in twins(self.records).items():
            yield self._row(candidate, self.records[measured], measured)

    def _row(self, candidate: Candidate, record: LatencyRecord, same_as: Candidate | None) -> dict[str, object]:
        row = {
            "notation": candidate.notation,
            "role": ("baseline", "single", "several")[min(len(candidate.placements), 2)],
            "backbone": candidate.baseline.notation,
            "n_blocks": len(candidate.placements),
            "median_ms": record.median_ms,
            "p5_ms": record.p5_ms,
            "p95_ms": record.p95_ms,
            "corrected_ms": self.times[candidate].value,
            "batches_per_s": record.batches_per_s,
            "peak_memory_mb": record.peak_memory_mb,
            "energy_mj": record.energy_mj,
            "measured": same_as is None,
            "same_as": None if same_as is None else same_as.notation,
            "isolated": record.isolated,
            "drift": record.drift,
            "unknown": self.times[candidate].why or None,
        }
        return row | _place(candidate) | self._increment(candidate)

    def _increment(self, candidate: Candidate) -> dict[str, object]:
        base = self.times.get(candidate.baseline)
        over = ratio(self.times[candidate], base) if base is not None and candidate.placements else None
        if base is None or base.value is None or over is None:
            return dict.fromkeys(("increment_ms", "low_ms", "high_ms", "slowdown_percent"))
        low, value, high = (None if r is None else base.value * (r - 1.0) for r in (over.low, over.value, over.high))
        percent = 100.0 * (over.value - 1.0)
        return {"increment_ms": value, "low_ms": low, "high_ms": high, "slowdown_percent": percent}


def _place(candidate: Candidate) -> dict[str, object]:
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
