"""What the networks of one backbone cost, seen as placements, and which placements make a network slower than a
reference: one rule, for `shrink` and for `nas latency show` alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pandas as pd

from nas.results.additive import AdditiveModel, Row, sites_of
from nas.results.cost_tables import parse_once
from nas.results.costs import SLOWER, UNKNOWN, Quote, Ratio, ratio
from nas.spaces import Candidate
from nas.spaces.blocks import Params
from nas.spaces.values import format_value

Cell = tuple[str, int]
"""A block and a site."""


@dataclass(frozen=True)
class PlacementCosts:
    """Costs of the networks of one backbone, seen as placements: what blocks and sites add, whatever their settings.

    Attributes:
        backbone: name.
        quotes: cost of each network that was timed, ms; not all of them need be known.
        asked: the placements whose costs were wanted.
    """

    backbone: str
    quotes: Mapping[Candidate, Quote]
    asked: frozenset[Cell] = frozenset()

    @cached_property
    def known(self) -> dict[Candidate, float]:
        """Known times by architecture, ms."""
        return {candidate: quote.value for candidate, quote in self.quotes.items() if quote.value is not None}

    @cached_property
    def baseline_ms(self) -> float | None:
        """Time without blocks, ms; None when not known."""
        values = [ms for candidate, ms in self.known.items() if not candidate.placements]
        return float(np.median(values)) if values else None

    @cached_property
    def added(self) -> dict[Cell, float]:
        """What each placement adds to its baseline, ms: of single ones where known, else by the additive model."""
        bare = {candidate.baseline for candidate in self.known if not candidate.placements}
        rows = [Row(candidate, ms) for candidate, ms in self.known.items() if candidate.baseline in bare]
        modelled: dict[Cell, list[float]] = {}
        for part, ms in AdditiveModel.fit(rows).increments.items():
            for site in sites_of(part):
                modelled.setdefault((part.block, site), []).append(ms)
        own: dict[Cell, list[float]] = {}
        for candidate, ms in rows:
            if len(candidate.placements) == 1:
                placement = candidate.placements[0]
                own.setdefault((placement.block, placement.site), []).append(ms - self.known[candidate.baseline])
        return {cell: float(np.median(values)) for cell, values in {**modelled, **own}.items()}

    def site_ms(self, sites: Iterable[int], block: str | None = None) -> float | None:
        """Mean cost of placing a block (or any of the blocks) at one of the sites, ms; None unless all are known.

        A mean over those that happen to be known would hold a cheap block at some sites against a dear one at others.
        """
        chosen = set(sites)
        cells = [cell for cell in self.asked or self.added if cell[1] in chosen and block in (None, cell[0])]
        return self._mean_ms(cells)

    def block_ms(self, block: str, sites: Iterable[int]) -> float | None:
        """Mean cost of a block over sites, ms; None unless known at all of them."""
        return self._mean_ms([(block, site) for site in sites])

    def _mean_ms(self, cells: Sequence[Cell]) -> float | None:
        known = [self.added[cell] for cell in cells if cell in self.added]
        return float(np.mean(known)) if cells and len(known) == len(cells) else None

    def slowdown(self, added_ms: float) -> float | None:
        """A cost as a share of the baseline's time; None when that is not known."""
        return added_ms / self.baseline_ms if self.baseline_ms else None


Times: TypeAlias = pd.DataFrame | Mapping[str, float] | Callable[[Candidate], Quote | float | None]
"""Known times: a results table (`notation`, `latency_ms`, its interval in `latency_low_ms` and `latency_high_ms` where
it has one), a mapping from notation to ms, or a function to ask."""


def placement_costs(backbone: str, asked: Iterable[Candidate], *sources: Times | None) -> PlacementCosts:
    """Times of one backbone's architectures.

    Args:
        backbone: name.
        asked: candidates to ask for, where a source is a function.
        sources: the first one that knows an architecture is believed.
    """
    found: dict[Candidate, Quote] = {}
    wanted = {candidate.architecture for candidate in asked if candidate.backbone == backbone}
    for source in sources:
        for candidate, quote in _known(source, wanted):
            if candidate.backbone == backbone and (quote.value is not None or quote != UNKNOWN):
                found.setdefault(candidate, quote)
    cells = frozenset((p.block, p.site) for c in wanted if len(c.placements) == 1 for p in c.placements)
    return PlacementCosts(backbone, found, cells)


def time_of(candidate: Candidate, *sources: Times | None) -> Quote | None:
    """The time of one network; None when no source knows it."""
    return placement_costs(candidate.backbone, [candidate], *sources).quotes.get(candidate.architecture)


def _known(source: Times | None, wanted: set[Candidate]) -> Iterator[tuple[Candidate, Quote]]:
    if isinstance(source, pd.DataFrame):
        if "latency_ms" in source:
            columns = ["latency_ms", *(c for c in ("latency_low_ms", "latency_high_ms") if c in source)]
            known = source[["notation", *columns]].dropna(subset=["latency_ms"]).groupby("notation").median()
            for text, ms, *ends in known.itertuples():
                yield parse_once(str(text)).architecture, _quoted(ms, ends)
    elif isinstance(source, Mapping):
        yield from ((parse_once(text).architecture, Quote.exactly(float(ms))) for text, ms in source.items())
    elif source is not None:
        yield from ((candidate, _answered(source(candidate))) for candidate in wanted)


def _answered(told: Quote | float | None) -> Quote:
    if isinstance(told, Quote):
        return told
    return UNKNOWN if told is None else Quote.exactly(float(told))


def _quoted(ms: float, ends: Sequence[float]) -> Quote:
    """A table's time: with its interval where it tells one, unsure where that is empty, exact where it has no such
    columns (a landscape, somebody's own table)."""
    if len(ends) < 2:
        return Quote.exactly(float(ms))
    low, high = (None if end != end else float(end) for end in ends)
    return Quote(float(ms), low, high, "measured")


# -- slower than a reference


@dataclass(frozen=True)
class Beside:
    """A block with its settings at one site, beside the reference.

    Attributes:
        network: the network with that block alone.
        pattern: how a rule names the block: without settings unless several were timed.
        site: where the block is.
        quote: the network's time.
        ratio: over the reference's; None where one of the two is not known.
        slower: whether it is slower by the rule; None where that is not known.
    """

    network: Candidate
    pattern: str
    site: int
    quote: Quote
    ratio: Ratio | None
    slower: bool | None


def beside_reference(quotes: Mapping[Candidate, Quote], reference: Quote, margin: float = SLOWER) -> list[Beside]:
    """Every single placement that was timed, or shares the time of one of equal tensors, beside the reference.

    Args:
        quotes: times by architecture, unknown ones too; predictions are not judged.
        reference: the time of the network that a placement must not be slower than.
        margin: share of the reference's time up to which two count as equally fast.
    """
    singles = [c for c, quote in quotes.items() if len(c.placements) == 1 and (quote.how != "predicted" or quote.why)]
    patterns = _patterns(singles)
    found = []
    for single in sorted(singles, key=lambda c: (c.baseline.notation, c.placements[0].site, c.notation)):
        placement, quote = single.placements[0], quotes[single]
        over = None if quote.why else ratio(quote, reference)
        pattern = patterns[placement.block, placement.params]
        slower = None if over is None else over.slower(margin)
        found.append(Beside(single, pattern, placement.site, quote, over, slower))
    return found


def _patterns(singles: list[Candidate]) -> Mapping[tuple[str, Params], str]:
    """How a rule names each block setting: by the block alone unless several settings were timed."""
    settings = {(c.placements[0].block, c.placements[0].params) for c in singles}
    found = {}
    for block, params in settings:
        others = [dict(other) for name, other in settings if name == block and other != params]
        varying = {key for other in others for key, value in params if other.get(key) != value}
        # Written in full, defaults too: a pattern without a hyperparameter would mean every value of it.
        shown = ", ".join(f"{key}={format_value(value)}" for key, value in params if key in varying)
        found[block, params] = f"{block}({shown})" if shown else block
    return found
