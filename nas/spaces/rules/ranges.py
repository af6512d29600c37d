"""Rules about hyperparameters of blocks and of the recipe: each keeps to some values or to a range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from nas.spaces.blocks import IDENTITY, PUBLISHED, START, UNIT_GATE, get_block_spec
from nas.spaces.candidate import Candidate, Placement
from nas.spaces.domains import Domain
from nas.spaces.rules.base import Rule, Violation
from nas.spaces.rules.patterns import check_block, title
from nas.spaces.site_sets import join_words
from nas.spaces.sites import Site, Topology
from nas.spaces.values import ParamValue, canonical_value, format_value, same_value

Values = Annotated[tuple[ParamValue, ...], AfterValidator(lambda values: tuple(map(canonical_value, values)))]
"""Values of a hyperparameter, each in its one form, as a field."""
_START_WORDS = {IDENTITY: "as the identity", PUBLISHED: "as published", UNIT_GATE: "with gates at 1"}


class ParamsRule(Rule):
    """A block's hyperparameter keeps to some values or to a range.

    - params: {block: cnl, param: width, values: [full, half]}
    - params: {block: se, param: reduction, low: 1, high: 2}
    """

    kind: Literal["params"] = "params"
    block: str = Field(description="the block meant")
    param: str = Field(description="its hyperparameter")
    values: Values | None = Field(None, description="the values it may have")
    low: int | float | None = Field(None, description="the lowest value it may have")
    high: int | float | None = Field(None, description="the highest value it may have")

    @model_validator(mode="after")
    def _known(self) -> ParamsRule:
        check_bounds(self.values, self.low, self.high)
        check_block(self.block)
        if ":" not in self.block:
            spec = get_block_spec(self.block).param(self.param)
            for value in self.values or ():
                spec.choose(value, self.block)
        return self

    @property
    def mentions(self) -> tuple[str, ...]:
        return (self.block,)

    def admits_placement(self, site: Site, placement: Placement, topology: Topology) -> bool:
        value = placement.value(self.param)
        return placement.block != self.block or value is None or within(value, self.values, self.low, self.high)

    def broken(self, candidate: Candidate, topology: Topology) -> Iterator[Violation]:
        for violation in super().broken(candidate, topology):
            yield Violation(self, violation.path.replace(".site", f".params.{self.param}"), violation.message)

    def as_constraint(self, topology: Topology | None) -> str:
        return f"{title(self.block)}: {self._words()}"

    def as_preference(self, topology: Topology | None) -> str:
        if self.param == START and self.values:
            return f"prefer {title(self.block)} {self._words()}"
        return f"prefer {self._words()} for {title(self.block)}"

    def _words(self) -> str:
        if self.param == START and self.values:
            return f"put in {' or '.join(_START_WORDS[str(value)] for value in self.values)}"
        return f"{self.param} {range_words(self.values, self.low, self.high)}"


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


def check_bounds(values: tuple[ParamValue, ...] | None, low: float | None, high: float | None) -> None:
    """Refuses what is neither values nor one or two bounds in order, with a `ValueError`."""
    bounds = low is not None or high is not None
    if (values is not None) == bounds or values == ():
        raise ValueError("give either values, or low, high or both")
    if low is not None and high is not None and low > high:
        raise ValueError(f"low {low:g} is above high {high:g}")


def within(value: ParamValue, values: tuple[ParamValue, ...] | None, low: float | None, high: float | None) -> bool:
    """Whether a value is one of the values, or a number between the bounds."""
    if values is not None:
        return any(same_value(value, known) for known in values)
    if isinstance(value, (bool, str)):
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def range_words(values: tuple[ParamValue, ...] | None, low: float | None, high: float | None) -> str:
    """Values or a range as a person says it."""
    if values is not None:
        return join_words([format_value(value) for value in values], "or")
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
