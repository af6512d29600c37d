"""The numbers of a finding in words: what the next block adds, what near pairs lose, what those left out take.

Evidence holds the effect of *following* a rule; a sentence may speak of those that do not, with the sign turned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nas.spaces.evidence import Evidence
from nas.spaces.rules import Cost, DistinctStages, MaxBlocks, MinDistance, Rule, SitesRule


def numbers_of(rule: Rule, evidence: Evidence) -> str:
    """What the rule brings and costs, in the words of its family; empty when nothing is known.

    Args:
        rule: whose numbers they are.
        evidence: of the rule.
    """
    return _FAMILIES.get(type(rule), _gain)(rule, evidence)


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ...

    >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    suffix = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _gain(rule: Rule, evidence: Evidence) -> str:
    return _joined(evidence.effect_words(), evidence.time_words())


def _over_others(rule: Rule, evidence: Evidence) -> str:
    gain = evidence.effect_words()
    return _joined(f"{gain} over the other positions" if gain else "", evidence.time_words())


def _next_block(rule: Rule, evidence: Evidence) -> str:
    assert isinstance(rule, MaxBlocks)
    added = _joined(evidence.effect_words(-1.0), evidence.time_words(-1.0))
    return f"the {ordinal(rule.count + 1)} adds {added}" if added else ""


def _near_pairs(rule: Rule, evidence: Evidence) -> str:
    lost = evidence.effect_words(-1.0)
    return f"each nearer pair brings {lost}" if lost else ""


def _stage_pairs(rule: Rule, evidence: Evidence) -> str:
    lost = evidence.effect_words(-1.0)
    return f"each such pair brings {lost}" if lost else ""


def _left_out(rule: Rule, evidence: Evidence) -> str:
    time, best = evidence.time_words(-1.0), evidence.effect_words(-1.0)
    said = _joined(f"{time} on average" if time else "", f"the best of them {best}" if best else "")
    return f"those left out {said}" if said else ""


_FAMILIES: Mapping[type[Rule], Callable[[Rule, Evidence], str]] = MappingProxyType(
    {
        SitesRule: _over_others,
        MaxBlocks: _next_block,
        MinDistance: _near_pairs,
        DistinctStages: _stage_pairs,
        Cost: _left_out,
    }
)
"""How each family says its numbers; every other one says what following it brings."""
