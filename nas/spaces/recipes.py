"""The part of a design space that varies the recipe: named domains, some of which exist only beside others.

Finite domains are counted and numbered; continuous ones are drawn. Which fields a recipe has is left to the floor
that trains.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from nas.errors import SpaceError, unknown_name
from nas.spaces.blocks import Params
from nas.spaces.domains import Domain
from nas.spaces.values import ParamValue, format_value, same_value

Values = dict[str, ParamValue]


@dataclass(frozen=True)
class RecipeSpace:
    """All settings of the recipe's hyperparameters that vary; a dependent one comes after what it depends on."""

    domains: tuple[tuple[str, Domain], ...] = ()

    @classmethod
    def ordered(cls, domains: Mapping[str, Domain]) -> RecipeSpace:
        """The space of some domains, conditions first.

        Raises:
            SpaceError: when a condition names an unknown hyperparameter, a continuous one, or itself in a circle.
        """
        _check_conditions(domains)
        done: dict[str, Domain] = {}
        while len(done) < len(domains):
            ready = [key for key in domains if key not in done and all(k in done for k, _ in domains[key].when)]
            if not ready:
                raise SpaceError(f"the conditions of {', '.join(k for k in domains if k not in done)} go in a circle")
            done |= {key: domains[key] for key in ready}
        return cls(tuple(done.items()))

    def __getitem__(self, key: str) -> Domain:
        return dict(self.domains)[key]

    def __iter__(self) -> Iterator[str]:
        return iter(key for key, _ in self.domains)

    def __len__(self) -> int:
        return len(self.domains)

    @property
    def continuous(self) -> tuple[str, ...]:
        """Names of the hyperparameters that are drawn, not counted."""
        return tuple(key for key, domain in self.domains if not domain.is_finite)

    def count(self) -> int:
        """Number of settings of the finite domains."""
        return self._count(0, ())

    def at(self, index: int, rng: random.Random | None = None) -> Params:
        """The setting of that number; continuous hyperparameters are drawn, and left out without `rng`."""
        if not 0 <= index < self.count():
            raise IndexError(index)
        values: Values = {}
        for i, (key, domain) in enumerate(self.domains):
            if not domain.is_active(values):
                continue
            if not domain.is_finite:
                if rng is not None:
                    values[key] = domain.draw(rng)
                continue
            for value in domain.values:
                ways = self._count(i + 1, self._relevant(i + 1, {**values, key: value}))
                if index < ways:
                    values[key] = value
                    break
                index -= ways
        return tuple(sorted(values.items()))

    def index(self, recipe: Mapping[str, ParamValue]) -> int | None:
        """The inverse of `at` (continuous values are not looked at, only that they are inside); None when outside."""
        if next(self.problems(recipe), None) is not None:
            return None
        index, values = 0, {}
        for i, (key, domain) in enumerate(self.domains):
            if key not in recipe:
                continue
            values[key] = recipe[key]
            for value in domain.values:
                if same_value(value, recipe[key]):
                    break
                index += self._count(i + 1, self._relevant(i + 1, {**values, key: value}))
        return index

    def problems(self, recipe: Mapping[str, ParamValue]) -> Iterator[tuple[str, str]]:
        """What keeps a setting outside: names and sentences."""
        for key in recipe:
            if key not in self:
                yield key, f"{unknown_name('recipe value', key, self)} in this space"
        for key, domain in self.domains:
            if not domain.is_active(recipe):
                if key in recipe:
                    yield key, f"{key} exists only {domain.sentence().split(', ')[-1]}"
            elif key not in recipe:
                yield key, f"{key} is missing: it varies in this space ({domain.sentence()})"
            elif recipe[key] not in domain:
                yield key, f"{key} is {format_value(recipe[key])}; legal here: {domain.sentence()}"

    def narrowed(self, narrow: Callable[[str, Domain], Domain]) -> RecipeSpace:
        """The same hyperparameters with other domains."""
        return RecipeSpace(tuple((key, narrow(key, domain)) for key, domain in self.domains))

    def neighbours(self, recipe: Mapping[str, ParamValue]) -> Iterator[Params]:
        """Settings with one value changed; what the change activates takes its first value, or the middle."""
        for key, domain in self.domains:
            if key in recipe:
                for value in domain.near(recipe[key]):
                    yield self.completed({**recipe, key: value})

    def completed(self, recipe: Mapping[str, ParamValue]) -> Params:
        """A setting with what is inactive left out and what is missing filled with the first value, or the middle."""
        values: Values = {}
        for key, domain in self.domains:
            if domain.is_active(values) and not domain.is_empty:
                values[key] = recipe[key] if key in recipe and recipe[key] in domain else domain.first
        return tuple(sorted(values.items()))

    @cached_property
    def _parents(self) -> tuple[frozenset[str], ...]:
        """For each position: the names that conditions from there on look at."""
        wanted = [frozenset(key for _, domain in self.domains[i:] for key, _ in domain.when) for i in range(len(self))]
        return (*wanted, frozenset())

    def _relevant(self, i: int, values: Mapping[str, ParamValue]) -> Params:
        return tuple((key, values[key]) for key in sorted(self._parents[i]) if key in values)

    @cached_property
    def _memo(self) -> dict[tuple[int, str], int]:
        return {}

    def _count(self, i: int, known: Params) -> int:
        """Settings of the domains from position `i`, given the values that their conditions look at."""
        if i == len(self.domains):
            return 1
        # The text keeps 1 and true apart, which are equal as keys of a dictionary.
        memo = (i, repr(known))
        if memo not in self._memo:
            self._memo[memo] = self._count_from(i, dict(known))
        return self._memo[memo]

    def _count_from(self, i: int, values: Values) -> int:
        key, domain = self.domains[i]
        if not domain.is_active(values) or not domain.is_finite:
            return self._count(i + 1, self._relevant(i + 1, values))
        return sum(self._count(i + 1, self._relevant(i + 1, {**values, key: value})) for value in domain.values)


def _check_conditions(domains: Mapping[str, Domain]) -> None:
    for key, domain in domains.items():
        for other, values in domain.when:
            if other not in domains:
                raise SpaceError(f"the condition of {key}: {unknown_name('recipe value', other, domains)}")
            if not domains[other].is_finite:
                raise SpaceError(f"the condition of {key} looks at {other}, which is continuous; give it points")
            for value in values:
                if value not in domains[other]:
                    raise SpaceError(f"the condition of {key}: {other} is never {format_value(value)}")
