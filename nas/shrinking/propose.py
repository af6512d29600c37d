"""From findings to a child space, and back again when fresh draws say no.

Only adopted hard rules restrict a space; preferences order what is left and change nothing. A rejected shrink is
undone by keeping the parent; its findings stay, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas.shrinking.confirmation import Confirmation
from nas.spaces.findings import Finding
from nas.spaces.space import DesignSpace


def restricting(findings: Sequence[Finding]) -> list[Finding]:
    """The findings whose rules are constraints that hold."""
    return [finding for finding in findings if finding.verdict == "adopted" and finding.rule.is_hard]


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
    if finding.verdict != "adopted" or not finding.rule.is_hard:
        return finding
    evidence = finding.evidence.model_copy(update={"confirmation": confirmation.to_dict()})
    if confirmation.accepted:
        return finding.model_copy(update={"evidence": evidence})
    verdict = "rejected" if confirmation.verdict == "rejected" else "not enough data"
    reason = f"not confirmed: {confirmation.reason}"
    return finding.model_copy(update={"evidence": evidence, "verdict": verdict, "reason": reason})
