"""Design spaces: candidates, the rules they obey, and files in which a person states both.

Nothing here loads a network. Candidates, blocks and sites come at once; spaces and rules, which need pydantic and
YAML, are loaded where they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nas.spaces.blocks import BLOCKS, BlockSpec, ParamSpec, block_names, get_block_spec
from nas.spaces.candidate import Candidate, Placement, as_candidate
from nas.spaces.sites import BACKBONES, Site, Topology, get_topology
from nas.spaces.values import ParamValue

if TYPE_CHECKING:
    from nas.spaces.conflicts import Contradiction as Contradiction
    from nas.spaces.conflicts import EmptySpaceError as EmptySpaceError
    from nas.spaces.conflicts import contradictions as contradictions
    from nas.spaces.domains import BlockDomain as BlockDomain
    from nas.spaces.domains import Domain as Domain
    from nas.spaces.findings import Evidence as Evidence
    from nas.spaces.findings import Finding as Finding
    from nas.spaces.rules import Rule as Rule
    from nas.spaces.rules import Violation as Violation
    from nas.spaces.rules import rule_from_dict as rule_from_dict
    from nas.spaces.ruleset import Admission as Admission
    from nas.spaces.ruleset import RuleSet as RuleSet
    from nas.spaces.site_sets import SiteSet as SiteSet
    from nas.spaces.space import DesignSpace as DesignSpace
    from nas.spaces.transfer import apply_rules as apply_rules

_LAZY = {
    "Admission": "nas.spaces.ruleset",
    "BlockDomain": "nas.spaces.domains",
    "Contradiction": "nas.spaces.conflicts",
    "DesignSpace": "nas.spaces.space",
    "Domain": "nas.spaces.domains",
    "EmptySpaceError": "nas.spaces.conflicts",
    "Evidence": "nas.spaces.findings",
    "Finding": "nas.spaces.findings",
    "Rule": "nas.spaces.rules",
    "RuleSet": "nas.spaces.ruleset",
    "SiteSet": "nas.spaces.site_sets",
    "Violation": "nas.spaces.rules",
    "apply_rules": "nas.spaces.transfer",
    "contradictions": "nas.spaces.conflicts",
    "rule_from_dict": "nas.spaces.rules",
}

__all__ = [
    "BACKBONES",
    "BLOCKS",
    "BlockSpec",
    "Candidate",
    "ParamSpec",
    "ParamValue",
    "Placement",
    "Site",
    "Topology",
    "as_candidate",
    "block_names",
    "get_block_spec",
    "get_topology",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nas.spaces' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
