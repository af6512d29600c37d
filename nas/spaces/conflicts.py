"""Rules that cannot hold together: which ones, as few as explain it.

A set of rules is in conflict when nothing is left under it that was wanted. The reported set is minimal: without any
one of its rules something would be left. Counting under a set of rules is left to `nas.spaces.arms`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nas.errors import SpaceError
from nas.spaces.arms import make_arms
from nas.spaces.rules import BlockPreference, Rule
from nas.spaces.rules.patterns import title
from nas.spaces.space_file import SpaceFile

Impossible: TypeAlias = Callable[[Sequence[Rule]], bool]


class EmptySpaceError(SpaceError):
    """No candidate obeys all rules of a design space; `rules` are some in conflict, as few as possible."""

    def __init__(self, message: str, hint: str | None = None, rules: tuple[Rule, ...] = ()) -> None:
        super().__init__(message, hint)
        self.rules = rules

    def __reduce__(self) -> tuple[type[SpaceError], tuple[str, str | None, tuple[Rule, ...]]]:  # type: ignore[override]
        return type(self), (self.message, self.hint, self.rules)


@dataclass(frozen=True)
class Contradiction:
    """Rules, as few as possible, that leave nothing of what the sentence names."""

    rules: tuple[Rule, ...]
    sentence: str


def minimal_conflict(rules: Sequence[Rule], impossible: Impossible) -> tuple[Rule, ...]:
    """Of rules that are impossible together, as few as still are; more rules never leave more."""
    kept = list(rules)
    for rule in rules:
        without = [other for other in kept if other is not rule]
        if impossible(without):
            kept = without
    return tuple(kept)


def empty_space_error(space: SpaceFile) -> EmptySpaceError:
    """The error for a space in which no candidate is left."""
    rules = minimal_conflict([rule for rule in space.rules if rule.is_hard], lambda some: _count(space, some) == 0)
    named = "; ".join(f"{rule.sentence()} (rules[{space.rules.index(rule)}])" for rule in rules)
    text = f"design space {space.name!r} holds no candidate: these rules cannot hold together: {named}"
    if len(rules) == 1:
        text = f"design space {space.name!r} holds no candidate: this rule leaves nothing: {named}"
    return EmptySpaceError(text, "Drop or loosen one of them.", rules)


def contradictions(space: SpaceFile, rules: Sequence[Rule]) -> list[Contradiction]:
    """What a set of rules cannot say together in a space, the worst first.

    Found are: rules that leave no candidate; rules that leave no placement at all; rules that each admit a block but
    together leave it no site; preferences that go in a circle; a preference of which hard rules leave nothing.
    """
    hard = [rule for rule in rules if rule.is_hard]
    fatal = list(_nothing_left(space, hard))
    soft = [rule for rule in rules if not rule.is_hard]
    if fatal:
        return [*fatal, *_circles(rules)]
    return [*_blocks_left_out(space, hard), *_circles(rules), *_unreachable_preferences(space, hard, soft)]


def _nothing_left(space: SpaceFile, hard: Sequence[Rule]) -> Iterator[Contradiction]:
    if _count(space, hard) == 0:
        yield Contradiction(minimal_conflict(hard, lambda some: _count(space, some) == 0), "no candidate is left")
    elif not _placeable(space, hard):
        yield Contradiction(minimal_conflict(hard, lambda some: not _placeable(space, some)), "no block can be placed")


def _blocks_left_out(space: SpaceFile, hard: Sequence[Rule]) -> Iterator[Contradiction]:
    for block in sorted(_placeable(space, []) - _placeable(space, hard)):
        rules = minimal_conflict(hard, lambda some, block=block: block not in _placeable(space, some))  # type: ignore[misc]
        if len(rules) > 1:
            yield Contradiction(rules, f"together they leave no site for {title(block)}")


def _circles(rules: Sequence[Rule]) -> Iterator[Contradiction]:
    """Block preferences that lead from a block back to itself."""
    better = [rule for rule in rules if isinstance(rule, BlockPreference)]
    reported: set[frozenset[Rule]] = set()
    for rule in better:
        path = _path(better, rule.worse, rule.better)
        if path is not None and frozenset([rule, *path]) not in reported:
            reported.add(frozenset([rule, *path]))
            yield Contradiction((rule, *path), f"{title(rule.better)} would be better than itself")


def _path(rules: Sequence[BlockPreference], start: str, goal: str) -> tuple[BlockPreference, ...] | None:
    """The shortest chain of preferences from one block to another."""
    paths: dict[str, tuple[BlockPreference, ...]] = {start: ()}
    queue = [start]
    for block in queue:
        for rule in rules:
            if rule.better == block and rule.worse not in paths:
                paths[rule.worse] = (*paths[block], rule)
                queue.append(rule.worse)
    return paths.get(goal)


def _unreachable_preferences(space: SpaceFile, hard: Sequence[Rule], soft: Sequence[Rule]) -> Iterator[Contradiction]:
    for rule in soft:
        wished = rule.model_copy(update={"strength": "hard"})
        if not _placeable(space, [*hard, wished]) and _placeable(space, [wished]):
            kept = minimal_conflict(hard, lambda some, wished=wished: not _placeable(space, [*some, wished]))  # type: ignore[misc]
            yield Contradiction((*kept, rule), "the constraints leave nothing that is preferred")


def _count(space: SpaceFile, rules: Sequence[Rule]) -> int:
    return sum(sum(arm.sizes()) for arm in make_arms(space, rules))


def _placeable(space: SpaceFile, rules: Sequence[Rule]) -> set[str]:
    """Blocks that stand somewhere in at least one candidate."""
    return {
        block
        for arm in make_arms(space, rules)
        if arm.recipe.count()
        for site in arm.lattice.sites
        for block in arm.lattice.feasible_at(site.number)
    }
