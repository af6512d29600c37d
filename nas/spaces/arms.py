"""One backbone of a design space, ready to be counted, numbered and drawn from.

An arm joins the lattice of placements with the settings of the recipe; a design space is a few arms side by side.
`changes` lists what is one change away from a candidate, before asking which of that is in the space.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nas.spaces.blocks import Params
from nas.spaces.candidate import Candidate, Placement
from nas.spaces.lattice import Automaton, Lattice, State, block_of, form_key
from nas.spaces.recipes import RecipeSpace
from nas.spaces.rules import Rule, Tie
from nas.spaces.sites import Site, Topology, get_topology
from nas.spaces.space_file import SpaceFile


@dataclass(frozen=True)
class Arm:
    """A backbone with one setting of its parameters, its feasible placements, and the settings of the recipe."""

    backbone: str
    params: Params
    lattice: Lattice
    recipe: RecipeSpace

    @property
    def baseline(self) -> Candidate:
        """The backbone without blocks, with the study's own recipe."""
        return Candidate(self.backbone, (), self.params)

    def sizes(self) -> list[int]:
        """Number of candidates with 0, 1, 2, ... blocks."""
        settings = self.recipe.count()
        return [count * settings for count in self.lattice.counts]

    def size(self, blocks: int) -> int:
        """Number of candidates with so many blocks."""
        counts = self.lattice.counts
        return counts[blocks] * self.recipe.count() if 0 <= blocks < len(counts) else 0

    def candidate(self, blocks: int, index: int, rng: random.Random | None = None) -> Candidate:
        """The candidate of that number among those with so many blocks; an `IndexError` when there are fewer."""
        placements, setting = divmod(index, max(self.recipe.count(), 1))
        recipe = self.recipe.at(setting, rng)
        return Candidate(self.backbone, self.lattice.unrank(blocks, placements), self.params, recipe)

    def index(self, candidate: Candidate) -> int | None:
        """The inverse of `candidate`; None when it is not feasible."""
        setting = self.recipe.index(dict(candidate.recipe))
        placements = self.lattice.rank(candidate.placements) if setting is not None else None
        return None if placements is None or setting is None else placements * self.recipe.count() + setting

    def options(self) -> dict[int, tuple[Placement, ...]]:
        """What may stand at each site, whatever stands elsewhere; defaults first."""
        return {
            site: tuple(Placement(site, block_of(key), params) for key, rows in blocks.items() for params in rows)
            for site, blocks in self.lattice.options.items()
        }


def make_arms(definition: SpaceFile, rules: Iterable[Rule]) -> tuple[Arm, ...]:
    """The arms of a space under the hard ones among some rules."""
    hard = [rule for rule in rules if rule.is_hard]
    lattices: dict[Topology, Lattice] = {}
    arms = []
    for domain in definition.backbones.values():
        own = [rule for rule in hard if rule.applies_to(domain.name)]
        recipe = _recipe(definition, own)
        for params in domain.variants():
            topology = get_topology(domain.name, int(dict(params)["last_stride"]))
            if topology not in lattices:
                lattices[topology] = _lattice(definition, topology, own)
            arms.append(Arm(domain.name, params, lattices[topology], recipe))
    return tuple(arms)


def _recipe(definition: SpaceFile, rules: Sequence[Rule]) -> RecipeSpace:
    space = RecipeSpace.ordered(definition.recipe)
    for rule in rules:
        space = space.narrowed(rule.narrowed)
    return space


def _lattice(definition: SpaceFile, topology: Topology, rules: Sequence[Rule]) -> Lattice:
    options: dict[int, dict[str, tuple[Params, ...]]] = {}
    for number in sorted(definition.sites.resolve(topology)):
        site = topology.site(number)
        variants = {name: domain.variants(site) for name, domain in definition.blocks.items()}
        admitted = {name: _admitted(name, rows, site, topology, rules) for name, rows in variants.items()}
        options[number] = {key: rows for name, found in admitted.items() for key, rows in _forms(name, found, rules)}
    automata = [
        automaton if rule.reads_forms else _ByName(automaton)
        for rule in rules
        if (automaton := rule.automaton(topology)) is not None
    ]
    return Lattice(topology.sites, options, automata)


@dataclass(frozen=True)
class _ByName:
    """An automaton that is told the name of a block, whatever its form."""

    inner: Automaton

    @property
    def start(self) -> State:
        return self.inner.start

    def step(self, state: State, site: Site, block: str | None) -> State:
        return self.inner.step(state, site, None if block is None else block_of(block))

    def accepts(self, state: State) -> bool:
        return self.inner.accepts(state)


def _forms(block: str, variants: Sequence[Params], rules: Sequence[Rule]) -> list[tuple[str, tuple[Params, ...]]]:
    """The settings of a block by the values of its tied hyperparameters."""
    found: dict[str, tuple[Params, ...]] = {}
    ties = [rule for rule in rules if isinstance(rule, Tie)]
    for params in variants:
        key = form_key(block, tuple(value for tie in ties for value in tie.form(block, params)))
        found[key] = (*found.get(key, ()), params)
    return list(found.items())


def _admitted(
    block: str, variants: Sequence[Params], site: Site, topology: Topology, rules: Sequence[Rule]
) -> tuple[Params, ...]:
    """The settings with which a block may stand at a site, as far as rules on single placements say."""
    placements = (Placement(site.number, block, params) for params in variants)
    return tuple(p.params for p in placements if all(rule.admits_placement(site, p, topology) for rule in rules))


# -- one change away


def changes(space: SpaceFile, arms: Sequence[Arm], start: Candidate) -> Iterator[Candidate]:
    """Blocks added, removed, moved, exchanged or set differently; recipe values and the backbone changed."""
    for arm in arms:
        if (arm.backbone, arm.params) == (start.backbone, start.backbone_params):
            for placements in (*_placements(space, arm, start.placements), *_tied(space, arm, start.placements)):
                yield Candidate(start.backbone, placements, start.backbone_params, start.recipe)
            for recipe in arm.recipe.neighbours(dict(start.recipe)):
                yield Candidate(start.backbone, start.placements, start.backbone_params, recipe)
        else:
            moved = [_moved(space, arm, placement, placement.site) for placement in start.placements]
            kept = tuple(placement for placement in moved if placement is not None)
            if len(kept) == len(moved):
                yield Candidate(arm.backbone, kept, arm.params, start.recipe)


def _moved(space: SpaceFile, arm: Arm, placement: Placement, site: int) -> Placement | None:
    """A block at another site, or at that of another backbone; what is derived from the site follows it."""
    domain, sites = space.blocks.get(placement.block), arm.lattice.sites
    if domain is None or not domain.derived:
        return Placement(site, placement.block, placement.params)
    found = next((domain.moved(placement.params, place) for place in sites if place.number == site), None)
    return None if found is None else Placement(site, placement.block, found)


def _placements(space: SpaceFile, arm: Arm, placed: tuple[Placement, ...]) -> Iterator[tuple[Placement, ...]]:
    options = arm.options()
    occupied = {placement.site for placement in placed}
    free = [site for site in options if site not in occupied]
    yield from (_beside(placed, option) for site in free for option in options[site])
    for placement in placed:
        rest = tuple(other for other in placed if other != placement)
        yield rest
        yield from (_beside(rest, option) for option in options.get(placement.site, ()))
        moved = (_moved(space, arm, placement, site) for site in free)
        yield from (_beside(rest, option) for option in moved if option is not None)


def _tied(space: SpaceFile, arm: Arm, placed: tuple[Placement, ...]) -> Iterator[tuple[Placement, ...]]:
    """Another form of a tied block, at all its sites at once; what else is set there stays as far as it can."""
    ties = [rule for rule in space.rules if isinstance(rule, Tie) and rule.is_hard and rule.applies_to(arm.backbone)]
    options = arm.options()

    def form(placement: Placement) -> tuple[object, ...]:
        return tuple(value for tie in ties for value in tie.form(placement.block, placement.params))

    for block in dict.fromkeys(p.block for p in placed if form(p)):
        sites = {p.site: p for p in placed if p.block == block}
        for wanted in dict.fromkeys(
            form(option) for site in sites for option in options[site] if option.block == block
        ):
            rows = {site: [o for o in options[site] if o.block == block and form(o) == wanted] for site in sites}
            if all(rows.values()):
                changed = [_nearest(rows[site], placement) for site, placement in sites.items()]
                yield tuple(sorted((*(p for p in placed if p.block != block), *changed)))


def _nearest(options: Sequence[Placement], placement: Placement) -> Placement:
    """The option that differs from a placement in the fewest hyperparameters."""
    return min(options, key=lambda option: len(set(option.params) ^ set(placement.params)))


def _beside(placed: tuple[Placement, ...], new: Placement) -> tuple[Placement, ...]:
    return tuple(sorted((*placed, new)))
