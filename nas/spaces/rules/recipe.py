"""Rules about the recipe: a hyperparameter keeps to some values or to a range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from nas.spaces.candidate import Candidate
from nas.spaces.domains import Domain
from nas.spaces.rules.base import Rule, Violation
from nas.spaces.rules.placements import Values, check_bounds, range_words, within
from nas.spaces.sites import Topology
from nas.spaces.values import format_value


class RecipeRange(Rule):
    """A hyperparameter of the recipe keeps to some values or to a range.

    A candidate that leaves the hyperparameter to the study's recipe is not looked at.

        - recipe_range: {key: base_lr, low: 2e-4, high: 5e-4}
        - recipe_range: {key: loss, values: [circle]}
    """

    kind: Literal["recipe_range"] = "recipe_range"
    key: str = Field(description="the recipe's hyperparameter")
    values: Values | None = Field(None, description="the values it may have")
    low: int | float | None = Field(None, description="the lowest value it may have")
    high: int | float | None = Field(None, description="the highest value it may have")

    @model_validator(mode="after")
    def _bounds(self) -> RecipeRange:
        check_bounds(self.values, self.low, self.high)
        return self

    def broken(self, candidate: Candidate, topology: Topology) -> Iterator[Violation]:
        value = dict(candidate.recipe).get(self.key)
        if value is not None and not within(value, self.values, self.low, self.high):
            message = f"{self.key} is {format_value(value)}, and the rule is: {self.sentence()}"
            yield Violation(self, f"recipe.{self.key}", message)

    def narrowed(self, key: str, domain: Domain) -> Domain:
        if key != self.key:
            return domain
        return domain.only(self.values) if self.values is not None else domain.narrowed(self.low, self.high)

    def as_constraint(self, topology: Topology | None) -> str:
        return f"{self.key} {range_words(self.values, self.low, self.high)}"

    def as_preference(self, topology: Topology | None) -> str:
        return f"prefer {self.as_constraint(topology)}"
