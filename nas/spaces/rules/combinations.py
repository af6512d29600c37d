"""Rules about placements together: how many, how far apart, how mixed.

Each is written twice: as a plain look at a whole candidate, for explanations, and as an automaton over the sites, for
counting and drawing. Tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from nas.spaces.blocks import get_block_spec
from nas.spaces.candidate import Candidate
from nas.spaces.lattice import Automaton, State
from nas.spaces.rules.base import Carrier, Rule, Violation
from nas.spaces.rules.patterns import BlockPattern, pattern_name, title
from nas.spaces.sites import Site, Topology


def _counted(count: int, block: str | None) -> str:
    name = f"{title(block)} block" if block else "block"
    return f"{count} {name}{'s' * (count != 1)}"


@dataclass(frozen=True)
class _Count:
    """Counts blocks (of one type), up to one more than is of interest."""

    block: str | None
    low: int
    high: int | None
    start: int = 0

    def step(self, state: int, site: Site, block: str | None) -> State:
        if block is None or (self.block is not None and block != self.block):
            return state
        if self.high is None:
            return min(state + 1, self.low)
        return state + 1 if state < self.high else None

    def accepts(self, state: int) -> bool:
        return state >= self.low


class _OfOneType(Rule):
    """What rules that count blocks share."""

    count: int = Field(ge=0, description="number of blocks")
    block: BlockPattern | None = Field(None, description="count only this type of block")
    shorthand: ClassVar[str] = "count"

    @property
    def mentions(self) -> tuple[str, ...]:
        return (self.block,) if self.block else ()

    @model_validator(mode="after")
    def _plain_name(self) -> _OfOneType:
        if self.block is not None and self.block != pattern_name(self.block):
            raise ValueError("count a block by its name, without hyperparameters")
        return self

    def number(self, candidate: Candidate) -> int:
        """How many of the counted blocks a candidate has."""
        return sum(self.block is None or placement.block == self.block for placement in candidate.placements)


class MaxBlocks(_OfOneType):
    """No more than so many blocks.

    - max_blocks: 3
    - max_blocks: {count: 1, block: agw}
    """

    kind: Literal["max_blocks"] = "max_blocks"

    def broken(self, candidate: Candidate, topology: Topology) -> Iterator[Violation]:
        number = self.number(candidate)
        if number > self.count:
            yield Violation(self, "placements", f"{_counted(number, self.block)}, and the rule is: {self.sentence()}")

    def automaton(self, topology: Topology) -> Automaton:
        return _Count(self.block, 0, self.count)

    def as_constraint(self, topology: Topology | None) -> str:
        words = _counted(self.count, self.block)
        return f"no more than {words}" if self.count else words.replace("0", "no", 1)


class MinBlocks(_OfOneType):
    """At least so many blocks.

    - min_blocks: 1
    """

    kind: Literal["min_blocks"] = "min_blocks"

    def broken(self, candidate: Candidate, topology: Topology) -> Iterator[Violation]:
        number = self.number(candidate)
        if number < self.count:
            yield Violation(self, "placements", f"{_counted(number, self.block)}, and the rule is: {self.sentence()}")

    def automaton(self, topology: Topology) -> Automaton:
        return _Count(self.block, self.count, None)

    def as_constraint(self, topology: Topology | None) -> str:
        return f"at least {_counted(self.count, self.block)}"


@dataclass(frozen=True)
class _Distance:
    """Remembers the last block's site while it still keeps others away; 0 for none."""

    distance: int
    start: int = 0

    def step(self, state: int, site: Site, block: str | None) -> State:
        near = state > 0 and site.number - state < self.distance
        if block is not None:
            return None if near else site.number
        return state if near else 0

    def accepts(self, state: int) -> bool:
        return True


class MinDistance(Rule):
    """Blocks are so many sites apart: 1 is next to each other, 2 leaves one site between.

    - min_distance: 4
    """

    kind: Literal["min_distance"] = "min_distance"
    distance: int = Field(ge=1, description="least difference of two blocks' site numbers")
    shorthand: ClassVar[str] = "distance"

    def broken(self, candidate: Candidate, topology: Topology) -> Iterator[Violation]:
        for i, (a, b) in enumerate(pairwise(candidate.sites)):
            if b - a < self.distance:
                message = f"sites {a} and {b} are {b - a} apart, and the rule is: {self.sentence()}"
                yield Violation(self, f"placements[{i + 1}].site", message)

    def automaton(self, topology: Topology) -> Automaton:
        return _Distance(self.distance)

    @property
    def is_portable(self) -> bool:
        return False

    def carried(self, to: Carrier) -> Rule:
        return self.model_copy(update={"distance": to.distance(self.distance)})

    def as_constraint(self, topology: Topology | None) -> str:
        return f"blocks at least {self.distance} site{'s' * (self.distance > 1)} apart"


@dataclass(frozen=True)
class _OnePerStage:
    """Remembers the stage of the last block while that stage goes on; -1 for none."""

    start: int = -1

    def step(self, state: int, site: Site, block: str | None) -> State:
        if block is not None:
            return None if state == site.stage else site.stage
        return state if state == site.stage else -1

    def accepts(self, state: int) -> bool:
        return True


class DistinctStages(Rule):
    """No two blocks in one stage; the stem counts as a stage.

    - distinct_stages: true
    """

    kind: Literal["distinct_stages"] = "distinct_stages"

    def broken(self, candidate: Candidate, topology: Topology) -> Iterator[Violation]:
        first: dict[int, int] = {}
        for i, site in enumerate(candidate.sites):
            stage = topology.site(site).stage
            if stage in first:
                message = f"sites {first[stage]} and {site} are both in stage {stage}: {self.sentence()}"
                yield Violation(self, f"placements[{i}].site", message)
            first.setdefault(stage, site)

    def automaton(self, topology: Topology) -> Automaton:
        return _OnePerStage()

    def as_constraint(self, topology: Topology | None) -> str:
        return "no two blocks in one stage"


@dataclass(frozen=True)
class _Kinds:
    """Remembers which kinds of block were seen, and how many blocks as far as that matters."""

    by_family: bool
    most: int | None
    least: int
    start: tuple[frozenset[str], int] = (frozenset(), 0)

    def step(self, state: tuple[frozenset[str], int], site: Site, block: str | None) -> State:
        if block is None:
            return state
        seen, number = state
        kinds = seen | {get_block_spec(block).family if self.by_family else block}
        if self.most is not None and len(kinds) > self.most:
            return None
        return kinds, min(number + 1, self.least)

    def accepts(self, state: tuple[frozenset[str], int]) -> bool:
        seen, number = state
        return len(seen) >= min(self.least, number)


_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}


class Mix(Rule):
    """How many types or families (channel-wise, non-local, mixed) of block one candidate has.

    A least number applies as far as there are blocks: `min_families: 2` asks nothing of a single block.

        - mix: {max_types: 1}
        - mix: {min_families: 2}
    """

    kind: Literal["mix"] = "mix"
    max_types: int | None = Field(None, ge=1, description="most types of block")
    min_types: int | None = Field(None, ge=1, description="least types of block, where there are as many blocks")
    max_families: int | None = Field(None, ge=1, description="most families of block")
    min_families: int | None = Field(None, ge=1, description="least families, where there are as many blocks")
    offender: ClassVar[str] = "block"

    @model_validator(mode="after")
    def _one_kind(self) -> Mix:
        given = [self.max_types, self.min_types, self.max_families, self.min_families]
        if sum(value is not None for value in given) != 1:
            raise ValueError("give exactly one of max_types, min_types, max_families and min_families")
        return self

    @property
    def by_family(self) -> bool:
        """Whether families are counted, not types."""
        return self.max_families is not None or self.min_families is not None

    @property
    def most(self) -> int | None:
        """The upper limit, if this rule has one."""
        return self.max_types if self.max_types is not None else self.max_families

    @property
    def least(self) -> int:
        """The lower limit; 0 if this rule has none."""
        return self.min_types or self.min_families or 0

    def broken(self, candidate: Candidate, topology: Topology) -> Iterator[Violation]:
        kinds = sorted({p.family if self.by_family else p.block for p in candidate.placements})
        wanted = min(self.least, len(candidate.placements))
        if len(kinds) < wanted or (self.most is not None and len(kinds) > self.most):
            noun = "family" if self.by_family else "type"
            message = f"{len(kinds)} {self._plural(noun, len(kinds))} ({', '.join(kinds)}): {self.sentence()}"
            yield Violation(self, "placements", message)

    def automaton(self, topology: Topology) -> Automaton:
        return _Kinds(self.by_family, self.most, self.least)

    def as_constraint(self, topology: Topology | None) -> str:
        noun = "family" if self.by_family else "type"
        if self.most is not None:
            number = _NUMBERS.get(self.most, str(self.most))
            return f"no more than {number} {self._plural(noun, self.most)} of block"
        number = _NUMBERS.get(self.least, str(self.least))
        return f"at least {number} {self._plural(noun, self.least)} of block"

    def as_preference(self, topology: Topology | None) -> str:
        noun = "family" if self.by_family else "type"
        if self.least == 2:
            return f"two {self._plural(noun, 2)} of block rather than one"
        return f"one {noun} of block rather than several" if self.most == 1 else super().as_preference(topology)

    @staticmethod
    def _plural(noun: str, number: int) -> str:
        return noun if number == 1 else {"family": "families", "type": "types"}[noun]
