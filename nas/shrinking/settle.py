"""Adopted rules must hold together: of rules that contradict each other, the one with the weakest evidence falls.

What a contradiction is, is known to `nas.spaces.conflicts`; rules the space already has stand firm.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas.spaces.conflicts import Contradiction, contradictions
from nas.spaces.findings import Finding
from nas.spaces.space import DesignSpace


def settle(findings: Sequence[Finding], space: DesignSpace) -> list[Finding]:
    """The findings without contradictions: weak sides are rejected, and say what they contradict."""
    settled = list(findings)
    while True:
        weak = _weakest_side(settled, space)
        if weak is None:
            return settled
        at, why = weak
        settled[at] = settled[at].model_copy(update={"verdict": "rejected", "reason": why})


def clashes(findings: Sequence[Finding], space: DesignSpace) -> list[Contradiction]:
    """Contradictions between adopted rules, and with the rules of the space."""
    adopted = [finding.rule for finding in findings if finding.verdict == "adopted"]
    return contradictions(space.definition, [*space.rules, *adopted])


def _weakest_side(findings: Sequence[Finding], space: DesignSpace) -> tuple[int, str] | None:
    """The first contradiction's weakest adopted finding: its place, and the reason it falls."""
    for clash in clashes(findings, space):
        sides = [i for i, f in enumerate(findings) if f.verdict == "adopted" and f.rule in clash.rules]
        if sides:
            at = min(sides, key=lambda i: _strength(findings[i]))
            others = [rule.sentence() for rule in clash.rules if rule != findings[at].rule]
            beside = f" with {' and '.join(repr(other) for other in others)}" if others else ""
            return at, f"contradiction{beside}: {clash.sentence}"
    return None


def _strength(finding: Finding) -> tuple[bool, float, float]:
    """Constraints before preferences, then small p, then large effect."""
    evidence = finding.evidence
    p = 1.0 if evidence.p_adjusted is None else evidence.p_adjusted
    return finding.rule.is_hard, -p, abs(evidence.effect or 0.0)
