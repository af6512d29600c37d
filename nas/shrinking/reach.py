"""Constraints must leave room for as many blocks as still pay.

Two good sites are a true finding, but as a constraint they would take away every network with three blocks, though the
third block may well be worth having. Such a rule stays a preference: an order among candidates, not a wall. A distance
may take away numbers of blocks if crowding costs more than the further block brings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.errors import SpaceError
from nas.shrinking.analysis import Analysis
from nas.shrinking.families.count import increments
from nas.shrinking.propose import restricting
from nas.spaces.findings import Finding
from nas.spaces.rules import DistinctStages, MaxBlocks, MinDistance, SitesRule
from nas.spaces.space import DesignSpace

UNKNOWN_REACH = 3
"""Blocks that must stay possible while nobody knows what more than one brings: as many as the paper's best networks."""
_SPACING = (MinDistance, DistinctStages)


@dataclass(frozen=True)
class Reach:
    """What numbers of blocks are worth.

    Attributes:
        useful: blocks up to which each further one is shown to bring more than the margin.
        brings: what the k-th block brings at typical sites, by k; where known.
        margin: mAP that counts as nothing.
    """

    useful: int
    brings: Mapping[int, float]
    margin: float


def reach_of(analysis: Analysis) -> Reach:
    """What a sample says of numbers of blocks."""
    most = max(analysis.space.size_by_blocks(), default=0)
    brings, margin = increments(analysis), analysis.settings.margin
    known = {k: d.value for k, d in brings.items()}
    if not any(k > 1 for k in brings):
        return Reach(min(most, UNKNOWN_REACH), known, margin)
    pays = [k for k, d in brings.items() if d.value > margin and d.interval()[0] > 0]
    return Reach(min(most, max(pays, default=1)), known, margin)


def keep_reach(findings: Sequence[Finding], space: DesignSpace, reach: Reach) -> list[Finding]:
    """The findings, with constraints that leave too little room turned into preferences, the narrowest sites first."""
    limits = [f.rule.count for f in restricting(findings) if isinstance(f.rule, MaxBlocks) and f.rule.block is None]
    wanted = min([reach.useful, *limits])
    kept, wanted = _spaced(list(findings), space, reach, wanted)
    while (room := _room(kept, space)) < wanted:
        walls = [i for i, f in enumerate(kept) if f in restricting(kept) and isinstance(f.rule, SitesRule)]
        if not walls:
            break
        at = min(walls, key=lambda i: _width(kept[i]))
        kept[at] = _as_preference(kept[at], room, wanted)
    return kept


def _spaced(kept: list[Finding], space: DesignSpace, reach: Reach, wanted: int) -> tuple[list[Finding], int]:
    """Spacing by itself: kept where a further block would cost more by crowding than it brings."""
    for at, finding in enumerate(kept):
        if finding not in restricting(kept) or not isinstance(finding.rule, _SPACING):
            continue
        room = _room([finding], space)
        if room >= wanted:
            continue
        if reach.brings.get(room + 1, float("inf")) - (finding.evidence.effect or 0.0) <= reach.margin:
            wanted = room
        else:
            kept[at] = _as_preference(finding, room, wanted)
    return kept, wanted


def _room(findings: Sequence[Finding], space: DesignSpace) -> int:
    """The largest number of blocks the hard rules leave."""
    try:
        return max(space.restrict([f.rule for f in restricting(findings)]).size_by_blocks(), default=0)
    except SpaceError:
        return 0


def _width(finding: Finding) -> int:
    assert isinstance(finding.rule, SitesRule)
    return len(finding.rule.sites.numbers)


def _as_preference(finding: Finding, room: int, wanted: int) -> Finding:
    rule = finding.rule.model_copy(update={"strength": "preference"})
    blocks = f"{room} block{'s' * (room != 1)}"
    why = f"{finding.reason}; a preference, as a constraint it would leave room for {blocks} where {wanted} pay"
    return finding.model_copy(update={"rule": rule, "reason": why})
