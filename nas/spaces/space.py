"""The design space: which candidates there are, how many, and how to draw, list and look at them.

A space is what a file says (`nas.spaces.space_file`) plus everything that follows from it. Candidates are numbered:
by number of blocks first, then backbone, placements and recipe; so counting, uniform draws, lazy lists and
membership are the same arithmetic. Writing files, proposing and shrinking are left to others.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Protocol, TypeAlias

from pydantic import ValidationError

from nas.errors import SpaceError
from nas.files.hashes import hash_of_data
from nas.files.model_errors import sentence_for
from nas.files.yaml_source import dump_yaml, in_data, load_yaml, validate
from nas.spaces import conflicts, explanations, own_code
from nas.spaces.arms import Arm, changes, make_arms
from nas.spaces.blocks import BLOCKS
from nas.spaces.candidate import Candidate, Placement, as_candidate
from nas.spaces.domains import BlockDomain, Domain
from nas.spaces.plugins import code_names
from nas.spaces.randomness import as_random, distinct_numbers, shares
from nas.spaces.rules import Rule, Violation, rule_from_dict
from nas.spaces.site_sets import SiteSet
from nas.spaces.sites import BACKBONES
from nas.spaces.space_file import BackboneDomain, Parent, SpaceFile


def _checked(data: Mapping[str, object]) -> SpaceFile:
    try:
        return SpaceFile.model_validate(data)
    except ValidationError as problem:
        raise SpaceError(f"design space: {sentence_for(problem, SpaceFile, in_data(data))[0]}") from None


class ByteSource(Protocol):
    """What is needed of a NumPy generator."""

    def bytes(self, length: int) -> bytes: ...


Randomness: TypeAlias = random.Random | ByteSource | int
"""A `random.Random`, a NumPy `Generator`, or a seed."""


class DesignSpace:
    """Backbones x blocks at sites x recipe values, under rules.

    >>> space = DesignSpace.from_dict({"name": "pairs", "backbones": ["resnet50"], "blocks": ["cnl"],
    ...                                "rules": [{"max_blocks": 2}, {"min_distance": 4}]})
    >>> space.size_by_blocks()
    {0: 1, 1: 17, 2: 91}
    >>> [str(candidate) for candidate in space.sample(2, rng=1, blocks=2)]
    ['resnet50+cnl@8,14', 'resnet50+cnl@2,10']

    Args:
        definition: the checked content of a space file; None: the keys are given.
        keys: of a space file: `name`, `backbones`, `sites`, `blocks`, `recipe`, `rules`, `description`.

    Raises:
        SpaceError: a key or value is not valid; names its place.
        EmptySpaceError: when no candidate obeys all rules; it names rules in conflict.
    """

    def __init__(self, definition: SpaceFile | None = None, **keys: object) -> None:
        self.definition = _checked(keys) if definition is None else definition
        if self.size() == 0:
            raise conflicts.empty_space_error(self.definition)

    @classmethod
    def from_yaml(cls, path: str | Path) -> DesignSpace:
        """Reads a space file.

        Raises:
            SpaceError: with file, line and column, when something is wrong with it.
        """
        source = load_yaml(path)
        own_code.trust(own_code.named_in(source.data))  # a person gave this file: the classes it names are theirs
        return cls(validate(SpaceFile, source))

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> DesignSpace:
        """A space from plain data: the content of a file, or `to_dict`.

        Raises:
            SpaceError: when something is wrong with it.
        """
        return cls(_checked(data))

    def to_dict(self) -> dict[str, object]:
        """Plain data for files and databases; `from_dict` reads it back."""
        return self.definition.model_dump(mode="json", exclude_defaults=True)

    def to_yaml(self) -> str:
        """The text of a space file."""
        return dump_yaml(self.to_dict())

    @staticmethod
    def json_schema() -> dict[str, object]:
        """The JSON schema of a space file, for editors and other programs."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **SpaceFile.model_json_schema()}

    # What it consists of ---------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the space."""
        return self.definition.name

    @property
    def description(self) -> str:
        """What the space is for."""
        return self.definition.description

    @property
    def backbones(self) -> Mapping[str, BackboneDomain]:
        """The backbones by name."""
        return self.definition.backbones

    @property
    def blocks(self) -> Mapping[str, BlockDomain]:
        """The block types by name."""
        return self.definition.blocks

    @property
    def own_code(self) -> frozenset[str]:
        """As of a candidate: what its backbones and blocks run that does not ship with this package."""
        return code_names("backbone", self.backbones, BACKBONES) | code_names("block", self.blocks, BLOCKS)

    @property
    def sites(self) -> SiteSet:
        """Where blocks may stand, before rules; see `site_numbers`."""
        return self.definition.sites

    @property
    def recipe(self) -> Mapping[str, Domain]:
        """Values of the recipe that vary, by name."""
        return self.definition.recipe

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Constraints and preferences."""
        return self.definition.rules

    @property
    def parent(self) -> Parent | None:
        """The space this one was cut from, and how."""
        return self.definition.parent

    @property
    def parent_id(self) -> str | None:
        """The id of the space this one was cut from."""
        return self.definition.parent.id if self.definition.parent else None

    @property
    def continuous(self) -> tuple[str, ...]:
        """Recipe values that are drawn from an interval; sizes count the rest only."""
        return tuple(key for key, domain in sorted(self.recipe.items()) if not domain.is_finite)

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits: equal ids mean the same candidates with the same numbers, whatever the name."""
        topologies = [topology for domain in self.backbones.values() for topology in domain.topologies()]
        sites = self.definition.sites_of(self.backbones.values())
        content = {
            "backbones": {name: domain.variants() for name, domain in self.backbones.items()},
            "sites": [sorted(self.sites.resolve(topology)) for topology in topologies],
            "blocks": {
                name: [domain.variants(site) for site in sites] if domain.derived else domain.variants()
                for name, domain in self.blocks.items()
            },
            "recipe": {key: domain.to_data() for key, domain in self.recipe.items()},
            "rules": sorted(json.dumps(rule.to_dict(), sort_keys=True) for rule in self.rules),
        }
        return hash_of_data(content)

    def site_numbers(self, backbone: str | None = None) -> tuple[int, ...]:
        """Numbers of the sites of a backbone (the first, when left out) where blocks may stand, before rules."""
        domain = self.backbones[backbone or next(iter(self.backbones))]
        return tuple(sorted(frozenset().union(*(self.sites.resolve(topology) for topology in domain.topologies()))))

    def options(self, backbone: str | None = None) -> dict[int, tuple[Placement, ...]]:
        """For each site of a backbone, what may stand there as far as rules on single placements say."""
        arm = next(arm for arm in self.arms if backbone in (None, arm.backbone))
        return arm.options()

    # How many --------------------------------------------------------------------------------------------------------

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The backbones one by one, with each setting of their parameters, under all hard rules."""
        return make_arms(self.definition, self.rules)

    @cached_property
    def _sizes(self) -> dict[int, int]:
        most = max(len(arm.lattice.counts) for arm in self.arms)
        sizes = {blocks: sum(arm.size(blocks) for arm in self.arms) for blocks in range(most)}
        return {blocks: size for blocks, size in sizes.items() if size}

    def size(self) -> int:
        """Exact number of candidates; values from continuous domains (`continuous`) are not counted."""
        return sum(self._sizes.values())

    def size_by_blocks(self) -> dict[int, int]:
        """Exact number of candidates by number of blocks; numbers of blocks that do not occur are left out."""
        return dict(self._sizes)

    # Which -----------------------------------------------------------------------------------------------------------

    def sample(self, n: int, rng: Randomness, blocks: int | None = None, distinct: bool = True) -> list[Candidate]:
        """Exactly uniform draws among all candidates, or among those with so many blocks.

        Values from continuous domains are drawn uniformly on their scale.

        Args:
            n: number of draws.
            rng: `random.Random`, a NumPy generator, or a seed.
            blocks: number of blocks of every drawn candidate.
            distinct: draw without replacement.

        Raises:
            SpaceError: when there are no candidates with so many blocks, or fewer than n distinct ones.
        """
        source = as_random(rng)
        size = self._size_of(blocks)
        if self.continuous:
            return self._sample_continuous(n, source, blocks, size, distinct)
        if not distinct:
            return [self.candidate(source.randrange(size), blocks) for _ in range(n)]
        if n > size:
            raise SpaceError(f"design space {self.name!r} has {size} candidates{_with(blocks)}, fewer than {n}")
        return [self.candidate(index, blocks) for index in distinct_numbers(n, size, source)]

    def stratified(self, n: int, rng: Randomness, blocks: Sequence[int] | None = None) -> list[Candidate]:
        """Uniform distinct draws, the same number for each number of blocks as far as there are candidates.

        Args:
            n: number of draws in all; the smaller strata come whole when their share is larger.
            rng: `random.Random`, a NumPy generator, or a seed.
            blocks: the numbers of blocks; all that occur when left out.

        Raises:
            SpaceError: when there are fewer candidates than asked for.
        """
        source = as_random(rng)
        wanted = {number: self._size_of(number) for number in (self._sizes if blocks is None else sorted(set(blocks)))}
        if n > sum(wanted.values()) and not self.continuous:
            raise SpaceError(f"design space {self.name!r} has {sum(wanted.values())} such candidates, fewer than {n}")
        share = shares(n, wanted if not self.continuous else dict.fromkeys(wanted, n))
        return [candidate for number, k in share.items() for candidate in self.sample(k, source, blocks=number)]

    def enumerate(self, blocks: int | None = None) -> Iterator[Candidate]:
        """All candidates (with so many blocks), one by one: fewer blocks first, earlier sites first.

        Raises:
            SpaceError: when a recipe value is continuous, or no candidate has so many blocks.
        """
        if self.continuous:
            keys = ", ".join(self.continuous)
            raise SpaceError(f"design space {self.name!r} cannot be listed: {keys} is continuous", "Give it points.")
        return (self.candidate(index, blocks) for index in range(self._size_of(blocks)))

    def candidate(self, index: int, blocks: int | None = None, rng: random.Random | None = None) -> Candidate:
        """The candidate of a number (among those with so many blocks).

        Raises:
            IndexError: when the number is not below the size.
        """
        for number in self._sizes if blocks is None else (blocks,):
            for arm in self.arms:
                size = arm.size(number)
                if 0 <= index < size:
                    return arm.candidate(number, index, rng)
                index -= size
        raise IndexError("no candidate of that number")

    def index(self, candidate: Candidate | str) -> int | None:
        """The number of a candidate among all; None when it is outside."""
        wanted = as_candidate(candidate)
        number, before = len(wanted.placements), 0
        before = sum(size for blocks, size in self._sizes.items() if blocks < number)
        for arm in self.arms:
            if (arm.backbone, arm.params) == (wanted.backbone, wanted.backbone_params):
                index = arm.index(wanted)
                return None if index is None else before + index
            before += arm.size(number)
        return None

    def contains(self, candidate: Candidate | str) -> bool:
        """Whether a candidate is in the space."""
        return self.index(candidate) is not None

    __contains__ = contains

    def explain(self, candidate: Candidate | str) -> list[Violation]:
        """Why a candidate is outside: each offending value, its path, and the rule if it is one; empty when inside."""
        return list(explanations.violations(self.definition, as_candidate(candidate)))

    def baselines(self) -> list[Candidate]:
        """The backbones without blocks, with the study's own recipe. They need not be in the space."""
        return [arm.baseline for arm in self.arms]

    def singles(self) -> list[Candidate]:
        """Every single placement as an architecture; those with a block's first setting come first.

        What costs a block at a site is asked before anything is trained, so rules on numbers of blocks do not count.
        """
        placed = [(arm, i, p) for arm in self.arms for row in arm.options().values() for i, p in _numbered(row)]
        return [Candidate(arm.backbone, (p,), arm.params) for arm, _, p in sorted(placed, key=lambda item: item[1] > 0)]

    def neighbours(self, candidate: Candidate | str) -> list[Candidate]:
        """Candidates one change away: a block added, removed, moved, exchanged, set differently; or a value changed."""
        start = as_candidate(candidate)
        changed = changes(self.definition, self.arms, start)
        return [other for other in dict.fromkeys(changed) if other != start and self.contains(other)]

    def repair(self, candidate: Candidate | str) -> Candidate:
        """The candidate itself when it is inside; else one inside that differs at as few sites as possible.

        A backbone that is not in the space is replaced by the space's first; recipe values outside by legal ones.
        """
        wanted = as_candidate(candidate)
        if self.contains(wanted):
            return wanted
        key = (wanted.backbone, wanted.backbone_params)
        usable = [arm for arm in self.arms if any(arm.sizes())]
        arm = min(usable, key=lambda arm: ((arm.backbone, arm.params) != key, arm.backbone != wanted.backbone))
        placements = arm.lattice.nearest({placement.site: placement for placement in wanted.placements}) or ()
        return Candidate(arm.backbone, placements, arm.params, arm.recipe.completed(dict(wanted.recipe)))

    # Child spaces ----------------------------------------------------------------------------------------------------

    def restrict(self, rules: Iterable[Rule | Mapping[str, object]], name: str | None = None) -> DesignSpace:
        """The child space under more rules; it remembers this one, its size and the rules that were added.

        Raises:
            EmptySpaceError: when no candidate is left; it names rules in conflict.
            SpaceError: when a rule means nothing on a backbone of the space.
        """
        added = [rule_from_dict(rule) for rule in rules]
        new = tuple(rule for rule in dict.fromkeys(added) if rule not in self.rules)
        parent = {"id": self.id, "name": self.name, "size": self.size(), "rules": [rule.to_dict() for rule in new]}
        data = {**self.to_dict(), "name": name or f"{self.name}/child", "parent": parent}
        return DesignSpace.from_dict({**data, "rules": [rule.to_dict() for rule in (*self.rules, *new)]})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DesignSpace) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"DesignSpace({self.name!r}, {self.size()} candidates)"

    def _repr_html_(self) -> str:
        cut = f", cut from {escape(self.parent.name)} ({self.parent.size:,})" if self.parent else ""
        head = f"<p><strong>{escape(self.name)}</strong>: {self.size():,} candidates{cut}</p>"
        sizes = "".join(f"<tr><td>{blocks}</td><td>{size:,}</td></tr>" for blocks, size in self._sizes.items())
        rules = "".join(f"<li>{escape(rule.sentence())}</li>" for rule in self.rules)
        table = f"<table><tr><th>blocks</th><th>candidates</th></tr>{sizes}</table>"
        return head + table + (f"<ul>{rules}</ul>" if rules else "")

    def _size_of(self, blocks: int | None) -> int:
        if blocks is None:
            return self.size()
        if blocks not in self._sizes:
            known = ", ".join(str(number) for number in self._sizes)
            raise SpaceError(f"design space {self.name!r} has no candidate with {blocks} blocks; it has: {known}")
        return self._sizes[blocks]

    def _sample_continuous(
        self, n: int, rng: random.Random, blocks: int | None, size: int, distinct: bool
    ) -> list[Candidate]:
        """Draws where repeats are possible only among candidates without a continuous value."""
        drawn: list[Candidate] = []
        seen: set[Candidate] = set()
        for _ in range(100 * n + 1000):
            if len(drawn) == n:
                break
            candidate = self.candidate(rng.randrange(size), blocks, rng)
            if not distinct or candidate not in seen:
                drawn.append(candidate)
                seen.add(candidate)
        if len(drawn) < n:
            raise SpaceError(f"design space {self.name!r} hardly has {n} distinct candidates{_with(blocks)}")
        return drawn


def _with(blocks: int | None) -> str:
    return "" if blocks is None else f" with {blocks} block{'s' * (blocks != 1)}"


def _numbered(row: Sequence[Placement]) -> Iterator[tuple[int, Placement]]:
    """Placements at one site with a running number for each block."""
    seen: dict[str, int] = {}
    for placement in row:
        seen[placement.block] = seen.get(placement.block, -1) + 1
        yield seen[placement.block], placement
