"""What placements cost in time, read from measured latencies; nothing here is measured or guessed.

A placement's own cost is its network's latency beside the baseline's. Where a placement was never measured alone, a
least-squares split of the measured multi-block networks stands in (latencies do not quite add up, so this is used
only to say which of two choices is cheaper, never to report a network's latency).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pandas as pd

from nas.shrinking.sample import parse_once
from nas.spaces.candidate import Candidate

Cell = tuple[str, int]


@dataclass(frozen=True)
class Costs:
    """Measured latencies of the architectures of one backbone.

    Attributes:
        backbone: name.
        measured: latency of each architecture, ms.
    """

    backbone: str
    measured: Mapping[Candidate, float]

    @cached_property
    def baseline_ms(self) -> float | None:
        """Latency without blocks, ms; None when not measured."""
        values = [ms for candidate, ms in self.measured.items() if not candidate.placements]
        return float(np.median(values)) if values else None

    @cached_property
    def singles(self) -> dict[Cell, float]:
        """Latency of each network with one block, by (block, site), ms; the median over hyperparameters."""
        found: dict[Cell, list[float]] = {}
        for candidate, ms in self.measured.items():
            if len(candidate.placements) == 1:
                placement = candidate.placements[0]
                found.setdefault((placement.block, placement.site), []).append(ms)
        return {cell: float(np.median(values)) for cell, values in found.items()}

    @cached_property
    def added(self) -> dict[Cell, float]:
        """What each placement adds to the baseline, ms; from singles where measured, else split from larger ones."""
        if self.baseline_ms is None:
            return {}
        split = _split(self.measured, self.baseline_ms)
        return {**split, **{cell: ms - self.baseline_ms for cell, ms in self.singles.items()}}

    def site_ms(self, sites: Iterable[int], block: str | None = None) -> float | None:
        """Mean cost of placing a block (or any of the blocks) at one of the sites, ms; None when not known."""
        chosen = set(sites)
        values = [ms for (name, site), ms in self.added.items() if site in chosen and block in (None, name)]
        return float(np.mean(values)) if values else None

    def block_ms(self, block: str, sites: Iterable[int]) -> float | None:
        """Mean cost of a block over sites, ms; None unless known at all of them."""
        values = [self.added.get((block, site)) for site in sites]
        return float(np.mean([v for v in values if v is not None])) if values and None not in values else None

    def slowdown(self, added_ms: float) -> float | None:
        """A cost as a share of the baseline's latency; None when that is not known."""
        return added_ms / self.baseline_ms if self.baseline_ms else None


Latencies: TypeAlias = pd.DataFrame | Mapping[str, float] | Callable[[Candidate], float | None]
"""Measured latencies: a table (`notation`, `latency_ms`), a mapping from notation to ms, or a function to ask."""


def read_costs(backbone: str, asked: Iterable[Candidate], *sources: Latencies | None) -> Costs:
    """Latencies of one backbone's architectures.

    Args:
        backbone: name.
        asked: candidates to ask for, where a source is a function.
        sources: the first one that knows an architecture is believed.
    """
    measured: dict[Candidate, float] = {}
    wanted = {candidate.architecture for candidate in asked if candidate.backbone == backbone}
    for source in sources:
        for candidate, ms in _known(source, wanted):
            if candidate.backbone == backbone and np.isfinite(ms):
                measured.setdefault(candidate, float(ms))
    return Costs(backbone, measured)


def latency_of(candidate: Candidate, *sources: Latencies | None) -> float | None:
    """The measured latency of one network, ms; None when no source knows it."""
    return read_costs(candidate.backbone, [candidate], *sources).measured.get(candidate.architecture)


def _known(source: Latencies | None, wanted: set[Candidate]) -> Iterator[tuple[Candidate, float]]:
    if isinstance(source, pd.DataFrame):
        if "latency_ms" in source:
            known = source[["notation", "latency_ms"]].dropna().groupby("notation")["latency_ms"].median()
            yield from ((parse_once(str(text)).architecture, float(ms)) for text, ms in known.items())
    elif isinstance(source, Mapping):
        yield from ((parse_once(text).architecture, float(ms)) for text, ms in source.items())
    elif source is not None:
        for candidate in wanted:
            ms = source(candidate)
            if ms is not None:
                yield candidate, float(ms)


def _split(measured: Mapping[Candidate, float], baseline_ms: float) -> dict[Cell, float]:
    cells = sorted({(p.block, p.site) for candidate in measured for p in candidate.placements})
    index = {cell: number for number, cell in enumerate(cells)}
    rows = [(candidate, ms) for candidate, ms in measured.items() if candidate.placements]
    if not rows:
        return {}
    matrix = np.zeros((len(rows), len(cells)))
    for row, (candidate, _) in enumerate(rows):
        for placement in candidate.placements:
            matrix[row, index[placement.block, placement.site]] += 1
    added = np.linalg.lstsq(matrix, np.array([ms for _, ms in rows]) - baseline_ms, rcond=None)[0]
    return {cell: float(ms) for cell, ms in zip(cells, added, strict=True)}
