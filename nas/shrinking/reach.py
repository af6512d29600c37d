"""Constraints must leave room for as many blocks as still pay.

Two good sites are a true finding, but as a constraint they would take away every network with three blocks, though the
third block may well be worth having. Such a rule stays a preference: an order among candidates, not a wall.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas.errors import SpaceError
from nas.shrinking.analysis import Analysis
from nas.shrinking.families.count import increments
from nas.shrinking.propose import restricting
from nas.spaces.findings import Finding
from nas.spaces.rules import DistinctStages, MaxBlocks, MinDistance, SitesRule
from nas.spaces.space import DesignSpace

UNKNOWN_REACH = 3
"""Blocks that must stay possible while nobody knows what more than one brings."""


def useful_blocks(analysis: Analysis) -> int:
    """The number of blocks up to which each further one is shown to bring more than the margin."""
    most = max(analysis.space.size_by_blocks(), default=0)
    brings = increments(analysis)
    if not any(k > 1 for k in brings):
        return min(most, UNKNOWN_REACH)
    pays = [k for k, d in brings.items() if d.effect > analysis.settings.margin and d.interval()[0] > 0]
    return min(most, max(pays, default=1))


def keep_reach(findings: Sequence[Finding], space: DesignSpace, useful: int) -> list[Finding]:
    """The findings, with constraints that leave too little room turned into preferences, the narrowest sites first."""
    kept = list(findings)
    limits = [f.rule.count for f in restricting(kept) if isinstance(f.rule, MaxBlocks) and f.rule.block is None]
    wanted = min([useful, *limits])
    while (room := _room(kept, space)) < wanted:
        walls = [i for i, f in enumerate(kept) if f in restricting(kept) and isinstance(f.rule, _WALLS)]
        if not walls:
            break
        at = min(walls, key=lambda i: _width(kept[i]))
        kept[at] = _as_preference(kept[at], room, wanted)
    return kept


_WALLS = (SitesRule, MinDistance, DistinctStages)


def _room(findings: Sequence[Finding], space: DesignSpace) -> int:
    """The largest number of blocks the hard rules leave."""
    try:
        return max(space.restrict([f.rule for f in restricting(findings)]).size_by_blocks(), default=0)
    except SpaceError:
        return 0


def _width(finding: Finding) -> tuple[int, int]:
    rule = finding.rule
    if isinstance(rule, SitesRule):
        return 0, len(rule.sites.numbers)
    return 1, -rule.distance if isinstance(rule, MinDistance) else 0


def _as_preference(finding: Finding, room: int, wanted: int) -> Finding:
    rule = finding.rule.model_copy(update={"strength": "preference"})
    blocks = f"{room} block{'s' * (room != 1)}"
    why = f"{finding.reason}; a preference, as a constraint it would leave room for {blocks} where {wanted} pay"
    return finding.model_copy(update={"rule": rule, "reason": why})
