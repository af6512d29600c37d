"""Rule families, a module for those that ask alike: which questions a family asks of a sample, which rules follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nas.shrinking.analysis import Analysis, FamilyTests
from nas.shrinking.families.cost import cost
from nas.shrinking.families.count import count, count_per_type
from nas.shrinking.families.hyperparameters import hyperparameters
from nas.shrinking.families.kinds import block_preference, mix
from nas.shrinking.families.nearness import distance, distinct_stages
from nas.shrinking.families.sites import sites
from nas.shrinking.families.stage_ends import stage_ends
from nas.shrinking.settings import RuleFamily

FAMILY_TESTS: Mapping[RuleFamily, Callable[[Analysis], FamilyTests]] = MappingProxyType(
    {
        "cost": cost,
        "sites": sites,
        "stage_ends": stage_ends,
        "block_preference": block_preference,
        "distance": distance,
        "distinct_stages": distinct_stages,
        "mix": mix,
        "count": count,
        "count_per_type": count_per_type,
        "hyperparameters": hyperparameters,
    }
)
"""How each family is derived."""
