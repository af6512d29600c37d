"""Findings as rows: the rule, its sentence with the numbers, effect with interval, support, time, verdict and why.

A finding arrives as plain data; its words are the rule's own (`nas.spaces`) unless this version cannot read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nas.errors import NasError
from nas.spaces.findings import Finding

VERDICTS: dict[str, str] = {"adopted": "good", "rejected": "bad", "not enough data": "quiet"}
"""Verdict -> tone, in the order they are shown."""

FINDING_COLUMNS = (
    *("rule", "sentence", "kind", "strength", "effect", "low", "high", "p", "p_adjusted", "trainings", "training_ids"),
    *("latency_ms", "stage", "confirmation", "method", "verdict", "reason"),
)


def finding_sentence(finding: Mapping[str, Any]) -> str:
    """The rule in words, with the band of costs that it was found in; as stored when this version cannot read it.

    >>> finding_sentence({"rule": {"max_blocks": 3}, "evidence": {"within": {"latency_ms": 12.0}}})
    'no more than 3 blocks (among networks of at most 12 ms per batch)'
    """
    rule = dict(finding.get("rule") or {})
    try:
        within = (finding.get("evidence") or {}).get("within") or {}
        return Finding.from_dict({"rule": rule, "evidence": {"within": within}}).rule_words()
    except NasError:
        return str(finding.get("sentence") or ", ".join(f"{key}: {value}" for key, value in rule.items()))


def finding_claim(finding: Mapping[str, Any]) -> str:
    """The rule in words with its numbers; as `finding_sentence` when this version cannot read them."""
    try:
        return Finding.from_dict({"rule": finding.get("rule"), "evidence": finding.get("evidence") or {}}).claim()
    except NasError:
        return finding_sentence(finding)


def finding_table(findings: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a finding: adopted first, then rejected, then those without enough data; strongest effect first."""
    rows = [_row(finding) for finding in findings]
    table = pd.DataFrame(rows, columns=list(FINDING_COLUMNS))
    order = {verdict: i for i, verdict in enumerate(VERDICTS)}
    keys = table["verdict"].map(lambda verdict: order.get(verdict, len(order)))
    strength = -pd.to_numeric(table["effect"], errors="coerce").abs().fillna(0)
    return table.assign(_o=keys, _s=strength).sort_values(["_o", "_s"], kind="stable").drop(columns=["_o", "_s"])


def _row(finding: Mapping[str, Any]) -> dict[str, Any]:
    evidence = finding.get("evidence") or {}
    kind, strength = kind_and_strength(finding.get("rule") or {})
    return {
        **{key: evidence.get(key) for key in ("effect", "low", "high", "p", "p_adjusted", "latency_ms")},
        "stage": evidence.get("stage") or finding.get("stage"),
        "rule": finding_sentence(finding),
        "sentence": finding_claim(finding),
        "kind": kind,
        "strength": strength,
        "trainings": evidence.get("trainings", 0),
        "training_ids": tuple(evidence.get("training_ids") or ()),
        "confirmation": evidence.get("confirmation"),
        "method": evidence.get("method", ""),
        "verdict": finding.get("verdict", "not enough data"),
        "reason": finding.get("reason", ""),
    }


def kind_and_strength(rule: Mapping[str, Any]) -> tuple[str, str]:
    """Kind and strength of a rule as files write it.

    >>> kind_and_strength({"max_blocks": 3}), kind_and_strength({"stage_ends": True, "strength": "preference"})
    (('max_blocks', 'hard'), ('stage_ends', 'preference'))
    """
    kinds = [str(key) for key in rule if key not in ("strength", "backbone")]
    return (kinds[0] if kinds else ""), str(rule.get("strength", "hard"))


def rule_words(rule: Any) -> str:
    """A rule of a space in words, given as a sentence or as data."""
    if isinstance(rule, str):
        return rule
    if isinstance(rule, Mapping):
        return finding_sentence({"rule": rule})
    return str(rule)
