"""Counting, numbering and searching the placements of one backbone under all rules at once, without listing them.

Sites are read from first to last. Each rule that looks at more than one placement brings a small automaton; the
states they can be in together form the layers of a graph, whose paths from start to end are exactly the feasible
placements. Counting paths backwards (in whole numbers of any size) gives sizes by number of blocks; walking forwards
by these counts turns a number into a placement and back, which makes uniform draws exact and listings lazy.
What rules mean is left to `nas.spaces.rules`; recipes and several backbones to `nas.spaces.space`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from nas.spaces.blocks import Params
from nas.spaces.candidate import Placement
from nas.spaces.sites import Site

State: TypeAlias = Any
"""What an automaton remembers: any hashable value but None. Each automaton knows the type of its own."""

Options: TypeAlias = Mapping[int, Mapping[str, Sequence[Params]]]
"""For each site number: which blocks (or forms of them) may stand there, with which hyperparameters."""

Wanted: TypeAlias = Mapping[int, Placement]


FORM = "|"
"""Between a block and its form: where hyperparameters are tied, each of their values is a choice of its own."""


def form_key(block: str, form: Sequence[object]) -> str:
    """What stands for a block in one form; for a block that is not tied, its name."""
    return f"{block}{FORM}{form}" if form else block


def block_of(key: str) -> str:
    """The block behind such a key."""
    return key.partition(FORM)[0]


class Automaton(Protocol):
    """How a rule reads placements from the first site to the last.

    A state must hold all the rule needs of what it has read, and as little more as possible: counting takes time in
    proportion to the number of states that can occur.
    """

    @property
    def start(self) -> State:
        """The state before the first site."""

    def step(self, state: State, site: Site, block: str | None) -> State:
        """The state after a site with a block, or without one; None when the rule is broken for good."""

    def accepts(self, state: State) -> bool:
        """Whether the rule holds when no site is left."""


class Edge(NamedTuple):
    """A choice at a site: a block or none, and the states of all automata after it."""

    block: str | None
    target: tuple[State, ...]


Layer: TypeAlias = dict[tuple[State, ...], list[Edge]]


class Lattice:
    """All feasible placements of one backbone.

    Placements are numbered from 0 within each number of blocks; earlier sites and earlier blocks come first. Such a
    number is read like one whose digits have bases of their own: at each site the placements that are still possible
    stand in groups, one an edge, in the order of the edges. A group holds `rest * len(variants)` numbers: `rest` ways
    to finish after the edge, for each choice of hyperparameters. `unrank` takes away the groups that it passes and
    splits what is left in its own, `variant * rest + number among the ways to finish`; `rank` adds the same.
    """

    def __init__(self, sites: Sequence[Site], options: Options, automata: Sequence[Automaton]) -> None:
        self.sites = tuple(site for site in sites if options.get(site.number))
        self.options = options
        self.automata = tuple(automata)
        self.start = tuple(automaton.start for automaton in automata)
        self.layers, last = self._forward()
        self.ways = self._backward(last)

    @property
    def counts(self) -> list[int]:
        """Number of feasible placements with 0, 1, 2, ... blocks; empty when there are none."""
        return self.ways[0].get(self.start, [])

    def unrank(self, blocks: int, index: int) -> tuple[Placement, ...]:
        """The placements with that many blocks and that number in the order; an `IndexError` when there are fewer."""
        if not 0 <= index < _at(self.counts, blocks):
            raise IndexError(index)
        placed: list[Placement] = []
        state = self.start
        for i, site in enumerate(self.sites):
            if len(placed) == blocks:  # the rest is empty
                break
            for edge in self.layers[i][state]:
                rest = self._completions(i, edge, blocks - len(placed))
                variants = self._variants(site, edge.block)
                if index < rest * len(variants):
                    break
                index -= rest * len(variants)
            if edge.block is not None:
                variant, index = divmod(index, rest)
                placed.append(Placement(site.number, block_of(edge.block), variants[variant]))
            state = edge.target
        return tuple(placed)

    def rank(self, placements: Sequence[Placement]) -> int | None:
        """The inverse of `unrank`; None when the placements are not feasible."""
        at = {placement.site: placement for placement in placements}
        if len(at) != len(placements) or not at.keys() <= {site.number for site in self.sites}:
            return None
        left, index, state = len(at), 0, self.start
        for i, site in enumerate(self.sites):
            if not left:
                return index if _at(self.ways[i].get(state, []), 0) else None
            wanted = at.get(site.number)
            chosen = None if wanted is None else self._key(site, wanted)
            for edge in self.layers[i].get(state, ()):
                rest = self._completions(i, edge, left)
                variants = self._variants(site, edge.block)
                if edge.block == chosen:
                    break
                index += rest * len(variants)
            else:
                return None
            if wanted is not None:
                if wanted.params not in variants:
                    return None
                index += rest * list(variants).index(wanted.params)
                left -= 1
            state = edge.target
        return index

    def nearest(self, wanted: Wanted) -> tuple[Placement, ...] | None:
        """Feasible placements that differ from the wanted ones at as few sites as possible; None when there are none.

        Keeping the block with other hyperparameters counts as half a difference. Among equals, a block that has to be
        added is of a wanted type and close to a wanted site.
        """
        best: dict[tuple[State, ...], tuple[float, tuple[Placement, ...]]] = dict.fromkeys(self.ways[-1], (0.0, ()))
        for i in range(len(self.sites) - 1, -1, -1):
            best = {
                state: min((self._joined(i, edge, wanted, best) for edge in edges), key=lambda found: found[0])
                for state, edges in self.layers[i].items()
            }
        return best[self.start][1] if self.start in best else None

    def feasible_at(self, site: int) -> frozenset[str]:
        """Blocks that stand at a site in at least one feasible placement."""
        for i, row in enumerate(self.sites):
            if row.number == site:
                return frozenset(block_of(e.block) for edges in self.layers[i].values() for e in edges if e.block)
        return frozenset()

    def _joined(
        self, i: int, edge: Edge, wanted: Wanted, best: Mapping[tuple[State, ...], tuple[float, tuple[Placement, ...]]]
    ) -> tuple[float, tuple[Placement, ...]]:
        cost, placed = best[edge.target]
        aim = wanted.get(self.sites[i].number)
        if edge.block is None:
            return cost + (aim is not None), placed
        variants, block = self._variants(self.sites[i], edge.block), block_of(edge.block)
        if aim is None or aim.block != block:
            strange = _strangeness(self.sites[i].number, block, wanted)
            return cost + 1 + strange, (Placement(self.sites[i].number, block, variants[0]), *placed)
        params = aim.params if aim.params in variants else min(variants, key=lambda row: _differences(row, aim.params))
        return cost + 0.5 * (params != aim.params), (Placement(aim.site, aim.block, params), *placed)

    def _key(self, site: Site, placement: Placement) -> str:
        """The choice at a site that a placement is; its block where it is none."""
        rows = self.options[site.number].items()
        found = (key for key, variants in rows if block_of(key) == placement.block and placement.params in variants)
        return next(found, placement.block)

    def _variants(self, site: Site, block: str | None) -> Sequence[Params]:
        return ((),) if block is None else self.options[site.number][block]

    def _completions(self, i: int, edge: Edge, left: int) -> int:
        """Ways to finish after an edge of layer `i` with `left` blocks to place, the edge's own included."""
        return _at(self.ways[i + 1].get(edge.target, []), left - (edge.block is not None))

    def _forward(self) -> tuple[list[Layer], set[tuple[State, ...]]]:
        """Every state that can be reached before each site, with the choices that break no rule at once."""
        layers: list[Layer] = []
        reached = {self.start}
        for site in self.sites:
            layer = {state: list(self._edges(state, site)) for state in reached}
            layers.append(layer)
            reached = {edge.target for edges in layer.values() for edge in edges}
        return layers, reached

    def _edges(self, state: tuple[State, ...], site: Site) -> Iterator[Edge]:
        for block in (*self.options[site.number], None):
            target = []
            for automaton, part in zip(self.automata, state, strict=True):
                after = automaton.step(part, site, block)
                if after is None:
                    break
                target.append(after)
            else:
                yield Edge(block, tuple(target))

    def _backward(self, last: set[tuple[State, ...]]) -> list[dict[tuple[State, ...], list[int]]]:
        """For each layer and state: ways to finish, by number of blocks still placed. Dead ends are cut off."""
        ways = [{state: [1] for state in last if self._accepts(state)}]
        for i in range(len(self.sites) - 1, -1, -1):
            after = ways[0]
            layer = {state: [edge for edge in edges if edge.target in after] for state, edges in self.layers[i].items()}
            self.layers[i] = {state: edges for state, edges in layer.items() if edges}
            ways.insert(0, {state: self._sum(i, edges, after) for state, edges in self.layers[i].items()})
        return ways

    def _accepts(self, state: tuple[State, ...]) -> bool:
        return all(automaton.accepts(part) for automaton, part in zip(self.automata, state, strict=True))

    def _sum(self, i: int, edges: list[Edge], after: Mapping[tuple[State, ...], list[int]]) -> list[int]:
        total: list[int] = []
        for edge in edges:
            rest = after[edge.target]
            shift = edge.block is not None
            total += [0] * (len(rest) + shift - len(total))
            weight = len(self._variants(self.sites[i], edge.block))
            for blocks, ways in enumerate(rest):
                total[blocks + shift] += weight * ways
        return total


def _at(counts: Sequence[int], index: int) -> int:
    return counts[index] if 0 <= index < len(counts) else 0


def _strangeness(site: int, block: str, wanted: Wanted) -> float:
    """How unlike anything wanted an added block is; too little to outweigh half a difference."""
    nearest = min((abs(site - other) for other in wanted), default=0)
    return 0.001 * min(nearest, 10) + 0.0001 * (block not in {placement.block for placement in wanted.values()})


def _differences(a: Params, b: Params) -> int:
    return len(set(a) ^ set(b))
