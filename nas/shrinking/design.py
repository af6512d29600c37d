"""The regression's design: which numbers describe a candidate, so that every rule family is a contrast of them.

mAP is described by how many blocks there are, which blocks, at which sites, how far apart, in which stages, of how
many families, and by hyperparameters. Blocks, sites and values are coded to sum to zero, so that the terms of
the count speak of typical blocks at typical sites. Fitting is left to `nas.shrinking.effects`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.results.intervals import Floats
from nas.shrinking.sample import Flags, Ints, Sample
from nas.spaces.blocks import get_block_spec
from nas.spaces.candidate import BACKBONE_DEFAULTS
from nas.spaces.values import ParamValue

Term = tuple[ParamValue, ...]
SEEDS: Term = ("seed",)
"""The factor of the seeds and starts that trainings were made in."""


@dataclass(frozen=True)
class Factor:
    """Levels whose effects sum to zero, and where their columns are.

    Attributes:
        levels: names, in order.
        first: column of the first level; the last level has none (it is minus the sum of the others).
    """

    levels: tuple[ParamValue, ...]
    first: int


@dataclass(frozen=True)
class Design:
    """A matrix with named columns.

    Attributes:
        terms: name of each column, e.g. ("count", 2) or ("site", 8).
        matrix: (candidates, columns).
        factors: sum-to-zero factors by name.
    """

    terms: tuple[Term, ...]
    matrix: Floats
    factors: dict[Term, Factor] = field(default_factory=dict)

    @cached_property
    def _index(self) -> dict[Term, int]:
        return {term: number for number, term in enumerate(self.terms)}

    def has(self, term: Term) -> bool:
        """Whether there is a column of that name."""
        return term in self._index

    def unit(self, term: Term) -> Floats:
        """(columns,) the contrast that reads one column."""
        contrast = np.zeros(len(self.terms))
        contrast[self._index[term]] = 1.0
        return contrast

    def levels(self, factor: Term) -> Floats:
        """(levels, columns) contrasts that read the effect of every level of a factor."""
        entry = self.factors[factor]
        size = len(entry.levels)
        contrasts = np.zeros((size, len(self.terms)))
        columns = slice(entry.first, entry.first + size - 1)
        contrasts[: size - 1, columns] = np.eye(size - 1)
        contrasts[size - 1, columns] = -1.0
        return contrasts


@dataclass(frozen=True)
class DesignChoice:
    """Which groups of columns a design has.

    Attributes:
        nearest: largest distance of a pair with a column of its own; 0 for none.
        sites: `all`: one effect a site; `cells`: one a block and site; `stages`: one a stage and one for stage ends.
        pairs: whether pairs in one stage have a column.
        mix: whether mixing families (or types, where there is one family) has a column.
        params: whether hyperparameters of blocks and recipe have columns.
    """

    nearest: int = 6
    sites: str = "all"
    pairs: bool = True
    mix: bool = True
    params: bool = True


class _Columns:
    """Collects columns; constant ones beside the intercept carry nothing and are left out."""

    def __init__(self, size: int) -> None:
        self.terms: list[Term] = [("base",)]
        self.columns: list[Floats] = [np.ones(size)]
        self.factors: dict[Term, Factor] = {}

    def add(self, term: Term, column: npt.NDArray[np.generic]) -> None:
        values = column.astype(np.float64)
        if len(values) and np.ptp(values) > 0:
            self.terms.append(term)
            self.columns.append(values)

    def add_factor(self, name: Term, levels: Sequence[ParamValue], indicators: Floats) -> None:
        """A sum-to-zero factor; `indicators` (candidates, levels) may count (a block placed twice counts 2)."""
        if len(levels) < 2:
            return
        self.factors[name] = Factor(tuple(levels), len(self.terms))
        for level, column in zip(levels[:-1], (indicators[:, :-1] - indicators[:, -1:]).T, strict=True):
            self.terms.append((*name, level))
            self.columns.append(column.astype(np.float64))

    def design(self) -> Design:
        return Design(tuple(self.terms), np.stack(self.columns, axis=1), self.factors)


def build_design(sample: Sample, choice: DesignChoice) -> Design:
    """The design of a sample with the chosen groups of columns."""
    columns = _Columns(len(sample))
    for count in range(1, int(sample.counts.max(initial=0)) + 1):
        columns.add(("count", count), sample.counts >= count)
    _add_seeds(columns, sample)
    _add_backbone(columns, sample)
    _add_blocks(columns, sample)
    _SITE_CODINGS[choice.sites](columns, sample)
    for apart in range(1, choice.nearest + 1):
        columns.add(("near", apart), pairs_apart(sample, apart))
    if choice.pairs:
        columns.add(("same stage",), pairs_in_one_stage(sample))
    if choice.mix:
        columns.add(("mix",), mixed(sample))
    if choice.params:
        _add_block_params(columns, sample)
        _add_recipe(columns, sample)
    return columns.design()


def pairs_apart(sample: Sample, apart: int) -> Ints:
    """(candidates,) pairs of blocks exactly `apart` sites from each other."""
    on = (sample.placed > 0).astype(np.int64)
    return np.asarray((on[:, apart:] * on[:, :-apart]).sum(axis=1))


def pairs_in_one_stage(sample: Sample) -> Ints:
    """(candidates,) pairs of blocks in one stage."""
    on = (sample.placed > 0).astype(np.int64)
    inside = [on[:, [s.number - 1 for s in sample.topology.of_stage(k)]].sum(axis=1) for k in sample.topology.stages]
    return np.asarray(sum(n * (n - 1) // 2 for n in inside))


def families_of(sample: Sample) -> Ints:
    """(candidates,) number of different block families."""
    family = [get_block_spec(block).family for block in sample.blocks]
    kinds = sorted(set(family))
    present = [np.isin(sample.placed, [i for i, f in enumerate(family, 1) if f == kind]).any(axis=1) for kind in kinds]
    return np.asarray(np.sum(present, axis=0)) if present else np.zeros(len(sample), dtype=np.int64)


def mixed(sample: Sample) -> Flags:
    """(candidates,) whether blocks of several families are placed; of several types, when there is but one family."""
    families = families_of(sample)
    return np.asarray((families if families.max(initial=0) > 1 else types_of(sample)) > 1)


def types_of(sample: Sample) -> Ints:
    """(candidates,) number of different block types."""
    present = [(sample.placed == i).any(axis=1) for i in range(1, len(sample.blocks) + 1)]
    return np.asarray(np.sum(present, axis=0)) if present else np.zeros(len(sample), dtype=np.int64)


def used_sites(sample: Sample) -> tuple[int, ...]:
    """Numbers of the sites that hold a block in some candidate."""
    return tuple(int(i) + 1 for i in np.flatnonzero((sample.placed > 0).any(axis=0)))


_CHANNELS = " channels"  # no hyperparameter has this name


def block_params(sample: Sample) -> Iterator[tuple[str, str, tuple[ParamValue, ...], Floats]]:
    """Hyperparameters with two or more values: (block, name, values, (candidates, values) placements with each).

    One that follows from an earlier one (a default that depends on it) is no question of its own and is left out; so is
    one that follows from the channels of its site (a derived one): it could not be told from the site.
    """
    for block in sample.blocks:
        placed = [(i, p) for i, c in enumerate(sample.candidates) for p in c.placements if p.block == block]
        settings = get_block_spec(block).settings
        rows = [
            (
                i,
                {
                    _CHANNELS: sample.topology.site(p.site).channels,
                    **{s.name: v for s in settings if (v := p.value(s.name)) is not None},
                },
            )
            for i, p in placed
        ]
        told = [_CHANNELS]
        for spec in settings:
            values = tuple(sorted({row[spec.name] for _, row in rows if spec.name in row}, key=_value_key))
            if len(values) > 1 and not any(_follows(spec.name, name, [row for _, row in rows]) for name in told):
                told.append(spec.name)
                yield block, spec.name, values, _placements_with(spec.name, values, rows, len(sample))


def _follows(name: str, earlier: str, rows: Sequence[Mapping[str, object]]) -> bool:
    """Whether each value of the earlier hyperparameter goes with one value of this one."""
    pairs = {(repr(row.get(earlier)), repr(row[name])) for row in rows if name in row}
    return len(pairs) == len({before for before, _ in pairs})


def _placements_with(
    name: str, values: tuple[object, ...], rows: Sequence[tuple[int, Mapping[str, object]]], n: int
) -> Floats:
    counts = np.zeros((n, len(values)))
    for i, row in rows:
        if name in row:
            counts[i, values.index(row[name])] += 1
    return counts


def recipe_values(sample: Sample) -> Iterator[tuple[str, npt.NDArray[np.object_]]]:
    """Recipe fields that vary: (field, (candidates,) values, None where a candidate does not set it)."""
    names = sorted({name for candidate in sample.candidates for name, _ in candidate.recipe})
    for name in names:
        column = np.empty(len(sample), dtype=object)
        column[:] = [dict(candidate.recipe).get(name) for candidate in sample.candidates]
        if len({repr(value) for value in column if value is not None}) > 1:
            yield name, column


def is_range(values: Sequence[object]) -> bool:
    """Whether a recipe field is a range of numbers rather than a few categories."""
    given = [v for v in values if v is not None]
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in given)
    return numbers and len(set(given)) > 6


def range_position(values: npt.NDArray[np.object_]) -> Floats:
    """(candidates,) rank of a number among the values, from -1 to 1: shape-free, so log or linear does not matter."""
    numbers = np.array([np.nan if v is None else float(v) for v in values])
    known = ~np.isnan(numbers)
    _, rank = np.unique(numbers[known], return_inverse=True)
    position = np.zeros(len(values))
    position[known] = 2 * rank / max(1, int(rank.max())) - 1
    return position


def _value_key(value: ParamValue) -> tuple[int, float, str]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (0, float(value), "") if number else (1, 0.0, str(value))


def _add_seeds(columns: _Columns, sample: Sample) -> None:
    """Seeds and starts as blocks: how much of a candidate's mean comes from each; nothing where all have them alike."""
    shares = sample.block_shares
    if len(shares) and np.ptp(shares, axis=0).max(initial=0.0) > 0:
        columns.add_factor(SEEDS, tuple(range(shares.shape[1])), shares)


def _add_backbone(columns: _Columns, sample: Sample) -> None:
    """Width, last stride and stem, where they vary: no rule is made of them, but they must not blur the others."""
    for name in sorted({key for candidate in sample.candidates for key, _ in candidate.backbone_params}):
        values = [dict(c.backbone_params).get(name, BACKBONE_DEFAULTS[name]) for c in sample.candidates]
        levels = sorted(set(values), key=_value_key)
        columns.add_factor(
            ("backbone", name), levels, np.array([[v == level for level in levels] for v in values], float)
        )


def _add_blocks(columns: _Columns, sample: Sample) -> None:
    counts = [(sample.placed == number).sum(axis=1) for number in range(1, len(sample.blocks) + 1)]
    if counts:
        columns.add_factor(("block",), sample.blocks, np.stack(counts, axis=1).astype(float))


def _add_sites(columns: _Columns, sample: Sample) -> None:
    sites = used_sites(sample)
    columns.add_factor(("site",), sites, (sample.placed[:, [s - 1 for s in sites]] > 0).astype(float))


def _add_cells(columns: _Columns, sample: Sample) -> None:
    for number, block in enumerate(sample.blocks, 1):
        here = sample.placed == number
        sites = tuple(int(i) + 1 for i in np.flatnonzero(here.any(axis=0)))
        columns.add_factor(("cell", block), sites, here[:, [s - 1 for s in sites]].astype(float))


def _add_stages(columns: _Columns, sample: Sample) -> None:
    stages = sorted({site.stage for site in sample.topology.sites})
    on = sample.placed > 0
    counts = [on[:, [s.number - 1 for s in sample.topology.of_stage(stage)]].sum(axis=1) for stage in stages]
    seen = [i for i, count in enumerate(counts) if count.any()]
    if seen:
        columns.add_factor(("stage",), [stages[i] for i in seen], np.stack([counts[i] for i in seen], 1).astype(float))
    columns.add(("stage end",), on[:, [number - 1 for number in sample.topology.stage_ends]].sum(axis=1))


def _add_block_params(columns: _Columns, sample: Sample) -> None:
    for block, name, values, counts in block_params(sample):
        columns.add_factor(("param", block, name), values, counts)


def _add_recipe(columns: _Columns, sample: Sample) -> None:
    for name, values in recipe_values(sample):
        if is_range(list(values)):
            position = range_position(values)
            columns.add(("recipe", name, "linear"), position)
            columns.add(("recipe", name, "square"), position**2)
        else:
            levels = sorted({v for v in values if v is not None}, key=_value_key)
            indicators = np.stack([[v == level for v in values] for level in levels], axis=1).astype(float)
            columns.add_factor(("recipe", name), levels, indicators)


_SITE_CODINGS = {"all": _add_sites, "cells": _add_cells, "stages": _add_stages}
