"""Shrinking design spaces: rules with evidence from results tables, child spaces, and their confirmation.

Tables in, rules out; no network, no database. `derive_findings` says what a table speaks for, `propose_child` cuts the
space, `confirm` compares fresh draws from both, `confirmed_findings` keeps or undoes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.shrinking.auto import AutoSettings as AutoSettings
    from nas.shrinking.auto import AutoStep as AutoStep
    from nas.shrinking.auto import RoundOutcome as RoundOutcome
    from nas.shrinking.auto import next_step as next_step
    from nas.shrinking.confirmation import Confirmation as Confirmation
    from nas.shrinking.confirmation import confirm as confirm
    from nas.shrinking.derive import derive_findings as derive_findings
    from nas.shrinking.edges import Reopening as Reopening
    from nas.shrinking.edges import reopen as reopen
    from nas.shrinking.edges import reopened_space as reopened_space
    from nas.shrinking.propose import confirmed_findings as confirmed_findings
    from nas.shrinking.propose import propose_child as propose_child
    from nas.shrinking.sentences import finding_sentence as finding_sentence
    from nas.shrinking.settings import FAMILIES as FAMILIES
    from nas.shrinking.settings import ShrinkSettings as ShrinkSettings

_LAZY = {
    "AutoSettings": "nas.shrinking.auto",
    "AutoStep": "nas.shrinking.auto",
    "Confirmation": "nas.shrinking.confirmation",
    "FAMILIES": "nas.shrinking.settings",
    "Reopening": "nas.shrinking.edges",
    "RoundOutcome": "nas.shrinking.auto",
    "ShrinkSettings": "nas.shrinking.settings",
    "confirm": "nas.shrinking.confirmation",
    "confirmed_findings": "nas.shrinking.propose",
    "derive_findings": "nas.shrinking.derive",
    "finding_sentence": "nas.shrinking.sentences",
    "next_step": "nas.shrinking.auto",
    "propose_child": "nas.shrinking.propose",
    "reopen": "nas.shrinking.edges",
    "reopened_space": "nas.shrinking.edges",
}
__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nas.shrinking' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
