"""Shrinking design spaces: rules with evidence from results tables, child spaces, and their confirmation.

Tables in, rules out; no network, no database. `derive_findings` says what a table speaks for, `propose_child` cuts the
space, `confirm` compares fresh draws from both, `confirmed_findings` keeps or undoes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.shrinking.confirmation import Confirmation as Confirmation
    from nas.shrinking.confirmation import confirm as confirm
    from nas.shrinking.derive import derive_findings as derive_findings
    from nas.shrinking.propose import confirmed_findings as confirmed_findings
    from nas.shrinking.propose import propose_child as propose_child
    from nas.shrinking.settings import FAMILIES as FAMILIES
    from nas.shrinking.settings import ShrinkSettings as ShrinkSettings

_LAZY = {
    "Confirmation": "nas.shrinking.confirmation",
    "FAMILIES": "nas.shrinking.settings",
    "ShrinkSettings": "nas.shrinking.settings",
    "confirm": "nas.shrinking.confirmation",
    "confirmed_findings": "nas.shrinking.propose",
    "derive_findings": "nas.shrinking.derive",
    "propose_child": "nas.shrinking.propose",
}
__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nas.shrinking' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
