"""Which placements make a network slower than a reference: one rule, for `shrink` and for `nas latency show` alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nas.results.costs import SLOWER, Quote, Ratio, ratio
from nas.spaces import Candidate
from nas.spaces.blocks import Params
from nas.spaces.values import format_value


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
