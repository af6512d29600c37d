"""Rules about single placements: which block may stand where.

Each can be decided for one placement without looking at the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, WithJsonSchema, field_serializer, field_validator, model_validator

from nas.errors import SpaceError
from nas.spaces.candidate import Placement
from nas.spaces.rules.base import Carrier, Rule
from nas.spaces.rules.patterns import BlockPattern, BlockPatterns, matches, matches_any, title
from nas.spaces.site_sets import SITES_SCHEMA, Sites, SiteSet, join_words
from nas.spaces.sites import Site, Topology, get_topology


def _of_all(topology: Topology | None) -> str:
    return f" (of {len(topology.sites)})" if topology else ""


class SitesRule(Rule):
    """Blocks (or one type of block) stand only at some sites.

    - sites: {block: cnl, sites: [6, 8, 14]}
    - sites: {stages: [2, 3], place: last}
    """

    kind: Literal["sites"] = "sites"
    block: BlockPattern | None = Field(None, description="the block meant; every block when left out")
    sites: Sites = Field(description="where it may stand")
    shorthand: ClassVar[str] = "sites"

    def admits_placement(self, site: Site, placement: Placement, topology: Topology) -> bool:
        other = self.block is not None and not matches(self.block, placement.block, placement.params)
        return other or site.number in self.sites.resolve(topology)

    @property
    def places(self) -> tuple[SiteSet, ...]:
        return (self.sites,)

    @property
    def mentions(self) -> tuple[str, ...]:
        return (self.block,) if self.block else ()

    def carried(self, to: Carrier) -> Rule | None:
        sites = to.sites(self.sites)
        return None if sites is None else self.model_copy(update={"sites": sites})

    def as_constraint(self, topology: Topology | None) -> str:
        of_all = _of_all(topology) if self.sites.numbers else ""
        anywhere = "blocks at" if self.sites.everything else "blocks only at"
        return f"{f'{title(self.block)}:' if self.block else anywhere} {self.sites.sentence()}{of_all}"

    def as_preference(self, topology: Topology | None) -> str:
        return f"prefer {self.sites.sentence()}" + (f" for {title(self.block)}" if self.block else "")


class ForbidRule(Rule):
    """Some blocks (or all) do not stand at some sites.

    - forbid: {blocks: [agw], sites: 1-4}
    """

    kind: Literal["forbid"] = "forbid"
    blocks: BlockPatterns | None = Field(None, description="the blocks meant; every block when left out")
    sites: Sites = Field(SiteSet(everything=True), description="where they may not stand; nowhere when left out")

    @model_validator(mode="after")
    def _something(self) -> ForbidRule:
        if self.blocks is None and self.sites.everything:
            raise ValueError("name the blocks, the sites, or both")
        return self

    def admits_placement(self, site: Site, placement: Placement, topology: Topology) -> bool:
        meant = self.blocks is None or matches_any(self.blocks, placement.block, placement.params)
        return not meant or site.number not in self.sites.resolve(topology)

    @property
    def places(self) -> tuple[SiteSet, ...]:
        return (self.sites,)

    @property
    def mentions(self) -> tuple[str, ...]:
        return self.blocks or ()

    def carried(self, to: Carrier) -> Rule | None:
        sites = to.sites(self.sites)
        return None if sites is None else self.model_copy(update={"sites": sites})

    def as_constraint(self, topology: Topology | None) -> str:
        where = "" if self.sites.everything else f" at {self.sites.sentence()}"
        return f"no {join_words([title(block) for block in self.blocks], 'or') if self.blocks else 'block'}{where}"

    def as_preference(self, topology: Topology | None) -> str:
        return f"better {self.as_constraint(topology)}"


class AllowedBlocks(Rule):
    """Only these blocks are used.

    - blocks: [cnl, hac]
    """

    kind: Literal["blocks"] = "blocks"
    allowed: BlockPatterns = Field(description="the blocks that may be used")
    shorthand: ClassVar[str] = "allowed"
    offender: ClassVar[str] = "block"

    def admits_placement(self, site: Site, placement: Placement, topology: Topology) -> bool:
        return matches_any(self.allowed, placement.block, placement.params)

    def as_constraint(self, topology: Topology | None) -> str:
        return f"only {join_words([title(block) for block in self.allowed])}"

    def as_preference(self, topology: Topology | None) -> str:
        return f"prefer {join_words([title(block) for block in self.allowed], 'or')}"


class StageEnds(Rule):
    """Blocks stand at the last site of a stage.

    - stage_ends: true
      strength: preference
    """

    kind: Literal["stage_ends"] = "stage_ends"
    block: BlockPattern | None = Field(None, description="the block meant; every block when left out")

    @property
    def mentions(self) -> tuple[str, ...]:
        return (self.block,) if self.block else ()

    def admits_placement(self, site: Site, placement: Placement, topology: Topology) -> bool:
        return site.is_stage_end or (
            self.block is not None and not matches(self.block, placement.block, placement.params)
        )

    def as_constraint(self, topology: Topology | None) -> str:
        return f"{title(self.block) if self.block else 'blocks'} only at the last site of a stage"

    def as_preference(self, topology: Topology | None) -> str:
        return "prefer the last site of a stage" + (f" for {title(self.block)}" if self.block else "")


class BlockPreference(Rule):
    """One type of block over another at equal positions. As a hard rule: the worse one is not used.

    - block_preference: {better: cnl, worse: hac}
      strength: preference
    """

    kind: Literal["block_preference"] = "block_preference"
    better: BlockPattern = Field(description="the block to take")
    worse: BlockPattern = Field(description="the block to leave")
    offender: ClassVar[str] = "block"

    @property
    def mentions(self) -> tuple[str, ...]:
        return (self.worse,)

    @model_validator(mode="after")
    def _two(self) -> BlockPreference:
        if self.better == self.worse:
            raise ValueError("better and worse must be two different blocks")
        return self

    def admits_placement(self, site: Site, placement: Placement, topology: Topology) -> bool:
        return not matches(self.worse, placement.block, placement.params)

    def as_constraint(self, topology: Topology | None) -> str:
        return f"{title(self.better)} instead of {title(self.worse)}"

    def as_preference(self, topology: Topology | None) -> str:
        return f"{title(self.better)} over {title(self.worse)} at equal positions"


_COST_SCHEMA = {
    "anyOf": [
        {"type": "object", "additionalProperties": SITES_SCHEMA},
        {"type": "array", "items": {"type": "array", "minItems": 2, "maxItems": 2}},
    ]
}


_MORE = {
    "latency": "is slower",
    "params": "has more parameters",
    "macs": "needs more multiply-accumulates",
    "activations": "has more activations",
}


class Cost(Rule):
    """No block where it makes the network slower than a reference, as measured; or larger, as counted.

    - cost: {reference: resnet101, placements: {raga: 1-8, "agw(inner=half)": 1-4}}
    - cost: {reference: resnet101, measure: params, placements: {cnl: 15-17}}
    """

    kind: Literal["cost"] = "cost"
    reference: str = Field("the reference", description="the network that must not be slower")
    measure: Literal["latency", "params", "macs", "activations"] = Field(
        "latency", description="what must not be more than the reference's"
    )
    placements: Annotated[tuple[tuple[BlockPattern, Sites], ...], WithJsonSchema(_COST_SCHEMA)] = Field(
        description="blocks, and the sites where they cost more"
    )
    offender: ClassVar[str] = "site"

    @field_validator("placements", mode="before")
    @classmethod
    def _joined(cls, value: object) -> object:
        """Pairs and mappings alike, joined to one set of sites a block."""
        pairs = list(value.items()) if isinstance(value, Mapping) else value
        if not isinstance(pairs, (list, tuple)) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
            raise ValueError("give the sites by block, like {agw: 1-4}")
        sites: dict[str, list[object]] = {}
        for block, where in pairs:
            sites.setdefault(str(block), []).extend(where if isinstance(where, list) else [where])
        return tuple((block, parts) for block, parts in sorted(sites.items()))

    @field_serializer("placements")
    def _plain(self, placements: tuple[tuple[str, SiteSet], ...]) -> dict[str, object]:
        return {block: sites.to_data() for block, sites in placements}

    def admits_placement(self, site: Site, placement: Placement, topology: Topology) -> bool:
        return not any(
            matches(block, placement.block, placement.params) and site.number in sites.resolve(topology)
            for block, sites in self.placements
        )

    @property
    def places(self) -> tuple[SiteSet, ...]:
        return tuple(sites for _, sites in self.placements)

    @property
    def is_portable(self) -> bool:
        return False

    @property
    def mentions(self) -> tuple[str, ...]:
        return tuple(block for block, _ in self.placements)

    def carried(self, to: Carrier) -> Rule | None:
        # What a block costs is a fact of one network on one device; it cannot be translated, only measured.
        return None

    def as_constraint(self, topology: Topology | None) -> str:
        named = topology_title(self.reference)
        where = "; ".join(f"{title(block)} not at {sites.sentence()}" for block, sites in self.placements)
        return f"no block whose network {_MORE[self.measure]} than {named}: {where}"

    def as_preference(self, topology: Topology | None) -> str:
        return f"better {self.as_constraint(topology)}"


def topology_title(name: str) -> str:
    """A backbone's name for people; any other name as it is."""
    try:
        return get_topology(name).title
    except SpaceError:
        return name
