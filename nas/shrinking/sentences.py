"""Findings as a roboticist reads them: the rule, what it brings with its interval, what it costs, and the verdict.

The rule's own words are `nas.spaces.rules`; here each family says its numbers in its own way: what the next block
adds, what near pairs lose, what a preference costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nas.spaces.findings import Evidence, Finding
from nas.spaces.rules import (
    BlockPreference,
    Cost,
    DistinctStages,
    MaxBlocks,
    MinDistance,
    Mix,
    Rule,
    SitesRule,
)
from nas.spaces.sites import Topology


def finding_sentence(finding: Finding, topology: Topology | None = None) -> str:
    """The finding in one sentence.

    >>> from nas.spaces.rules import MaxBlocks
    >>> evidence = Evidence(effect=0.0001, low=-0.0006, high=0.0008, trainings=96)
    >>> finding_sentence(Finding(rule=MaxBlocks(count=3), evidence=evidence))
    'no more than 3 blocks: the 4th adds +0.0001 [-0.0006, +0.0008] mAP (96 trainings)'

    Args:
        finding: with its evidence and verdict.
        topology: the backbone spoken of, to say of how many sites.
    """
    tail = _TAILS.get(type(finding.rule), _gain)(finding)
    head = finding.rule.sentence(topology)
    support = f" ({finding.evidence.trainings} trainings)" if finding.evidence.trainings else ""
    verdict = "" if finding.adopted else f"; {finding.verdict}: {finding.reason}"
    return f"{head}{f': {tail}' if tail else ''}{support}{verdict}"


def amount(evidence: Evidence, sign: float = 1.0) -> str:
    """An effect with its interval, "+0.0011 [+0.0004, +0.0018] mAP"; empty when not known."""
    if evidence.effect is None:
        return ""
    if evidence.low is None or evidence.high is None:
        return f"{sign * evidence.effect:+.4f} mAP"
    ends = sorted((sign * evidence.low, sign * evidence.high))
    return f"{sign * evidence.effect:+.4f} [{ends[0]:+.4f}, {ends[1]:+.4f}] mAP"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ...

    >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    suffix = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _gain(finding: Finding) -> str:
    return ", at ".join(part for part in (amount(finding.evidence), _cost(finding.evidence)) if part)


def _cost(evidence: Evidence) -> str:
    return "" if evidence.latency_ms is None else f"{evidence.latency_ms:+.1f} ms"


def _over_others(finding: Finding) -> str:
    return " ".join(part for part in (amount(finding.evidence), "over the other positions") if amount(finding.evidence))


def _next_block(finding: Finding) -> str:
    assert isinstance(finding.rule, MaxBlocks)
    text = amount(finding.evidence)
    return f"the {ordinal(finding.rule.count + 1)} adds {text}" if text else ""


def _near_pairs(finding: Finding) -> str:
    text = amount(finding.evidence, -1.0)
    return f"each nearer pair brings {text}" if text else ""


def _stage_pairs(finding: Finding) -> str:
    text = amount(finding.evidence, -1.0)
    return f"each such pair brings {text}" if text else ""


def _slower(finding: Finding) -> str:
    time = "" if finding.evidence.latency_ms is None else f"{finding.evidence.latency_ms:+.1f} ms on average"
    score = amount(finding.evidence)
    return ", ".join(part for part in (time, f"the best of them {score}" if score else "") if part)


_TAILS: Mapping[type[Rule], Callable[[Finding], str]] = {
    SitesRule: _over_others,
    MaxBlocks: _next_block,
    MinDistance: _near_pairs,
    DistinctStages: _stage_pairs,
    Mix: _gain,
    BlockPreference: _gain,
    Cost: _slower,
}
