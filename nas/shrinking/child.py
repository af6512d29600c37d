"""From findings to a child space, and back again when fresh draws say no.

Adopted rules must hold together: of rules that contradict each other (`nas.spaces.conflicts`), the one with the weakest
evidence falls; rules the space already has stand firm. Only adopted hard rules restrict a space, and they must leave
room for as many blocks as still pay: two good sites are a true finding, but as a constraint they would take away every
network with three blocks, though the third may well be worth having. Such a rule stays a preference: an order among
candidates, not a wall. A distance may take away numbers of blocks if crowding costs more than the further block brings.
A rejected shrink is undone by keeping the parent; its findings stay, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.errors import SpaceError
from nas.shrinking.analysis import Analysis
from nas.shrinking.confirmation import Confirmation
from nas.shrinking.families.count import increments
from nas.spaces.conflicts import Contradiction, contradictions
from nas.spaces.findings import Finding
from nas.spaces.rules import DistinctStages, MaxBlocks, MinDistance, SitesRule
from nas.spaces.space import DesignSpace

UNKNOWN_REACH = 3
"""Blocks that must stay possible while nobody knows what more than one brings: as many as the paper's best networks."""


def restricting(findings: Sequence[Finding]) -> list[Finding]:
    """The findings whose rules are constraints that hold."""
    return [finding for finding in findings if finding.adopted and finding.rule.is_hard]


def propose_child(space: DesignSpace, findings: Sequence[Finding], name: str | None = None) -> DesignSpace | None:
    """The space that adopted hard rules leave; None when there is no such rule, or it takes nothing away.

    Args:
        space: the parent.
        findings: as from `derive_findings`, which has settled contradictions between them.
        name: of the child; None: as `DesignSpace.restrict` names it.
    """
    rules = [finding.rule for finding in restricting(findings)]
    if not rules:
        return None
    child = space.restrict(rules, name=name)
    return child if child.size() < space.size() or space.continuous else None


def confirmed_findings(findings: Sequence[Finding], confirmation: Confirmation) -> list[Finding]:
    """The findings after a confirmation: each rule of the child carries it, and falls when the child does."""
    return [_after(finding, confirmation) for finding in findings]


def _after(finding: Finding, confirmation: Confirmation) -> Finding:
    if not restricting([finding]):
        return finding
    changed: dict[str, object] = {
        "evidence": finding.evidence.model_copy(update={"confirmation": confirmation.to_dict()})
    }
    if not confirmation.accepted:
        changed["verdict"] = confirmation.verdict
        changed["reason"] = f"not confirmed: {confirmation.reason}"
    return finding.model_copy(update=changed)


# -- contradictions


def settle(findings: Sequence[Finding], space: DesignSpace) -> list[Finding]:
    """The findings without contradictions: weak sides are rejected, and say what they contradict."""
    settled = list(findings)
    while (weak := _weakest_side(settled, space)) is not None:
        at, why = weak
        settled[at] = settled[at].model_copy(update={"verdict": "rejected", "reason": why})
    return settled


def clashes(findings: Sequence[Finding], space: DesignSpace) -> list[Contradiction]:
    """Contradictions between adopted rules, and with the rules of the space."""
    return contradictions(space.definition, [*space.rules, *(f.rule for f in findings if f.adopted)])


def _weakest_side(findings: Sequence[Finding], space: DesignSpace) -> tuple[int, str] | None:
    """The first contradiction's weakest adopted finding: its place, and the reason it falls."""
    for clash in clashes(findings, space):
        sides = [i for i, f in enumerate(findings) if f.adopted and f.rule in clash.rules]
        if sides:
            at = min(sides, key=lambda i: _strength(findings[i]))
            others = [repr(rule.sentence()) for rule in clash.rules if rule != findings[at].rule]
            beside = f" with {' and '.join(others)}" if others else ""
            return at, f"contradiction{beside}: {clash.sentence}"
    return None


def _strength(finding: Finding) -> tuple[bool, float, float]:
    """Constraints before preferences, then small p, then large effect."""
    evidence = finding.evidence
    p = 1.0 if evidence.p_adjusted is None else evidence.p_adjusted
    return finding.rule.is_hard, -p, abs(evidence.effect or 0.0)


# -- room for blocks


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
        walls = {
            i: len(rule.sites.numbers)
            for i, f in enumerate(kept)
            if restricting([f]) and isinstance(rule := f.rule, SitesRule)
        }
        if not walls:
            break
        at = min(walls, key=lambda i: walls[i])
        kept[at] = _as_preference(kept[at], room, wanted)
    return kept


def _spaced(kept: list[Finding], space: DesignSpace, reach: Reach, wanted: int) -> tuple[list[Finding], int]:
    """Spacing by itself: kept where a further block would cost more by crowding than it brings."""
    for at, finding in enumerate(kept):
        if not restricting([finding]) or not isinstance(finding.rule, (MinDistance, DistinctStages)):
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


def _as_preference(finding: Finding, room: int, wanted: int) -> Finding:
    rule = finding.rule.model_copy(update={"strength": "preference"})
    blocks = f"{room} block{'s' * (room != 1)}"
    why = f"{finding.reason}; a preference, as a constraint it would leave room for {blocks} where {wanted} pay"
    return finding.model_copy(update={"rule": rule, "reason": why})
