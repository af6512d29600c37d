"""Tied hyperparameters: a block has one form wherever it stands in a candidate, as the paper's candidates do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from nas.errors import SpaceError
from nas.spaces.blocks import Params, get_block_spec
from nas.spaces.candidate import Candidate
from nas.spaces.lattice import Automaton, State, block_of
from nas.spaces.rules.base import Rule, Violation
from nas.spaces.rules.patterns import title
from nas.spaces.sites import Site, Topology
from nas.spaces.values import ParamValue, format_value

Tied = tuple[ParamValue | None, ...]


@dataclass(frozen=True)
class _OneForm:
    """Remembers the form in which each tied block was seen."""

    blocks: frozenset[str]
    start: frozenset[str] = frozenset()

    def step(self, state: frozenset[str], site: Site, block: str | None) -> State:
        if block is None or block_of(block) not in self.blocks or block in state:
            return state
        return None if any(block_of(seen) == block_of(block) for seen in state) else state | {block}

    def accepts(self, state: frozenset[str]) -> bool:
        return True


class Tie(Rule):
    """Hyperparameters that have one value at all sites of a candidate.

    - tie: [cnl.norm, cnl.fuse]
    """

    kind: Literal["tie"] = "tie"
    params: tuple[str, ...] = Field(min_length=1, description="hyperparameters, each as block.name")
    shorthand: ClassVar[str] = "params"
    offender: ClassVar[str] = "params"
    reads_forms: ClassVar[bool] = True

    @field_validator("params", mode="before")
    @classmethod
    def _several(cls, written: object) -> object:
        return (written,) if isinstance(written, str) else written

    @field_validator("params")
    @classmethod
    def _known(cls, params: tuple[str, ...]) -> tuple[str, ...]:
        for text in params:
            block, dot, name = text.rpartition(".")
            if not dot:
                raise ValueError(f"a tied hyperparameter is written block.name, such as cnl.norm, not {text!r}")
            try:
                get_block_spec(block).param(name)
            except SpaceError as error:
                raise ValueError(error.message) from error
        return params

    @property
    def by_block(self) -> Mapping[str, tuple[str, ...]]:
        """The tied names of each block."""
        found: dict[str, tuple[str, ...]] = {}
        for text in self.params:
            block, _, name = text.rpartition(".")
            found[block] = (*found.get(block, ()), name)
        return found

    @property
    def mentions(self) -> tuple[str, ...]:
        return tuple(self.by_block)

    def form(self, block: str, params: Params) -> Tied:
        """The tied values of a setting of a block; empty for a block that is not tied."""
        return tuple(dict(params).get(name) for name in self.by_block.get(block, ()))

    def broken(self, candidate: Candidate, topology: Topology) -> Iterator[Violation]:
        first: dict[tuple[str, str], ParamValue | None] = {}
        for i, placement in enumerate(candidate.placements):
            for name in self.by_block.get(placement.block, ()):
                value = dict(placement.params).get(name)
                known = first.setdefault((placement.block, name), value)
                if value != known:
                    shown = ("not given" if v is None else format_value(v) for v in (known, value))
                    message = f"{name} of {placement.block} is {' and '.join(shown)}: {self.sentence()}"
                    yield Violation(self, f"placements[{i}].params.{name}", message)

    def automaton(self, topology: Topology) -> Automaton:
        return _OneForm(frozenset(self.by_block))

    def as_constraint(self, topology: Topology | None) -> str:
        parts = [f"{', '.join(names)} of {title(block)}" for block, names in self.by_block.items()]
        return f"one value at all sites: {'; '.join(parts)}"
