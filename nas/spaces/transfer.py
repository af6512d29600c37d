"""Rules learned on one backbone, carried to another: does "C-NL at 6, 8, 14" mean anything on ResNet-101?

A site is carried by the resolution of its stage and its relative place there; a run of sites stays a run; a distance
stays the same share of the depth; costs are not carried, because they must be measured. Every step is said in a
sentence. Whether the rules hold on the other backbone is a question for a study.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nas.errors import SpaceError
from nas.spaces.rules import Cost, RecipeRange, Rule
from nas.spaces.rules.patterns import pattern_name, title
from nas.spaces.site_sets import SiteSet, runs
from nas.spaces.sites import Site, Topology, get_topology, last_strides
from nas.spaces.space import DesignSpace


@dataclass(frozen=True)
class Carried:
    """What became of one rule.

    Attributes:
        rules: what it is on the target's backbones; none when it was left out.
        sentence: what was done, for people.
    """

    source: Rule
    rules: tuple[Rule, ...]
    sentence: str


@dataclass(frozen=True)
class Application:
    """A design space under carried rules: the child space, and what became of each rule."""

    space: DesignSpace
    carried: tuple[Carried, ...]

    @property
    def sentences(self) -> list[str]:
        """What was done with each rule."""
        return [row.sentence for row in self.carried]


class SiteMap:
    """Which sites of a target backbone correspond to sites of a source backbone.

    >>> sorted(SiteMap(get_topology("resnet50"), get_topology("resnet101")).numbers([6, 8, 14]))
    [6, 8, 31]
    """

    def __init__(self, source: Topology, target: Topology) -> None:
        self.source = source
        self.target = target

    def numbers(self, numbers: Iterable[int]) -> frozenset[int]:
        """The corresponding sites; those without a counterpart are left out."""
        found: set[int] = set()
        for first, last in self._runs(numbers):
            a, b = self.number(first), self.number(last)
            if a is not None and b is not None:
                found.update(range(a, b + 1))
        return frozenset(found)

    def number(self, number: int) -> int | None:
        """The corresponding site; None when the target has none of that resolution."""
        site = self.source.site(number)
        if site.stage == 0:
            return 1
        stage = self._counterparts(site)
        if not stage:
            return None
        _, share, _ = self.source.relative(number)
        return stage[round(share * (len(stage) - 1))].number

    def distance(self, distance: int) -> int:
        """The distance that is the same share of the depth, at least 1."""
        return max(1, round(distance * (len(self.target.sites) - 1) / (len(self.source.sites) - 1)))

    def sites(self, sites: SiteSet) -> SiteSet | None:
        """The corresponding set of sites; None when nothing of it is left."""
        if sites.is_portable or self.source == self.target:
            return sites
        if not sites.numbers and self._same_stages() and not any(part.strides for part in sites.relative):
            return sites
        kept = tuple(part for part in sites.relative if part.is_portable)
        other = SiteSet(sites.numbers, tuple(part for part in sites.relative if not part.is_portable))
        numbers = tuple(sorted(self.numbers(other.resolve(self.source))))
        return SiteSet(numbers, kept) if numbers or kept else None

    def _runs(self, numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
        """Runs of consecutive sites within one stage."""
        by_stage: dict[int, list[int]] = {}
        for number in numbers:
            by_stage.setdefault(self.source.site(number).stage, []).append(number)
        for stage in by_stage.values():
            yield from runs(stage)

    def _counterparts(self, site: Site) -> Sequence[Site]:
        """The target's sites at a site's resolution; its stem only when no stage has that resolution."""
        stride = _full_stride(self.source, site)
        same = [other for other in self.target.sites if _full_stride(self.target, other) == stride]
        return [other for other in same if other.stage > 0] or same

    def _same_stages(self) -> bool:
        return _stage_strides(self.source) == _stage_strides(self.target)


def _full_stride(topology: Topology, site: Site) -> int:
    """A site's stride as the backbone was designed: in most, with the last stage at half the resolution."""
    return get_topology(topology.backbone, max(last_strides(topology.backbone))).site(site.number).stride


def _stage_strides(topology: Topology) -> dict[int, int]:
    return {site.stage: _full_stride(topology, site) for site in topology.sites}


def carry(rule: Rule, targets: Sequence[str], source: str | None = None) -> Carried:
    """A rule for other backbones.

    Args:
        source: where it was learned, for a rule that does not say.

    Raises:
        SpaceError: when a rule with site numbers does not say where it was learned, and `source` is None.
    """
    origin = rule.backbone or source
    if rule.is_portable or set(targets) == {origin}:
        kept = rule if rule.backbone is None or origin in targets else rule.model_copy(update={"backbone": None})
        return Carried(rule, (kept,), f"as it is: {kept.sentence()}")
    if isinstance(rule, Cost):
        names = ", ".join(get_topology(name).title for name in targets)
        return Carried(rule, (), f"left out: {rule.sentence()}; costs must be measured on {names}")
    if origin is None:
        hint = "Say where the rules were learned, e.g. --from resnet50."
        raise SpaceError(f"the rule {rule.sentence()!r} has site numbers of an unnamed backbone", hint)
    made = {name: _carried_to(rule, origin, name) for name in targets}
    rules = tuple(new for new in made.values() if new is not None)
    return Carried(rule, rules, _sentence(rule, origin, made))


def _carried_to(rule: Rule, source: str, target: str) -> Rule | None:
    new = rule.carried(SiteMap(get_topology(source), get_topology(target)))
    return None if new is None else new.model_copy(update={"backbone": target})


def _sentence(rule: Rule, source: str, made: dict[str, Rule | None]) -> str:
    origin = get_topology(source)
    parts = []
    for name, new in made.items():
        topology = get_topology(name)
        words = f"nothing, {topology.title} has no such resolution" if new is None else new.sentence(topology)
        parts.append(f"on {topology.title} {words}")
    return f"carried over: {rule.sentence(origin)}, on {origin.title} -> {'; '.join(parts)}"


def apply_rules(
    rules: Sequence[Rule], space: DesignSpace, source: str | None = None, name: str | None = None
) -> Application:
    """A design space under rules that may have been learned on another backbone.

    Rules on blocks and recipe values that the space does not have are left out, as are costs.

    Args:
        source: the backbone they were learned on, for rules that do not say.

    Raises:
        EmptySpaceError: when no candidate is left.
        SpaceError: when a rule with site numbers does not say where it was learned, and `source` is None.
    """
    carried = tuple(_unneeded(rule, space) or carry(rule, list(space.backbones), source) for rule in rules)
    child = space.restrict([new for row in carried for new in row.rules], name)
    return Application(child, carried)


def _unneeded(rule: Rule, space: DesignSpace) -> Carried | None:
    names = [pattern_name(block) for block in rule.mentions]
    if names and not any(name in space.blocks for name in names):
        missing = ", ".join(sorted({title(name) for name in names}))
        return Carried(rule, (), f"not needed: {rule.sentence()}; there is no {missing} in this space")
    if isinstance(rule, RecipeRange) and rule.key not in space.recipe:
        return Carried(rule, (), f"not needed: {rule.sentence()}; {rule.key} does not vary in this space")
    return None
