"""Candidates as numbers for a linear model: what a placement, a pair of placements and a recipe value may matter by.

Every feature belongs to a group (`site`, `block`, `near`, ...); `nas.search.proposals.surrogate` learns how much each
group matters. Features of sites are given twice: by number, and relative to the backbone (stage, stage end, depth),
so that neighbours inform each other and several backbones share what they can.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.search.proposals.recipe_features import RecipeFeatures
from nas.spaces import Candidate, DesignSpace, Placement, get_topology

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Names = dict[object, float]

LARGEST_DISTANCE = 8
"""Sites apart at which two blocks may still matter to each other: half of ResNet-50."""
DEPTH_KNOTS = 7
"""Of the piecewise linear profile over depth: about one for each two or three sites."""
STAGES = 6
"""Stages that pairs are told apart by, with the stem: no backbone of nas has more; later ones count as the last."""


@dataclass(frozen=True)
class Matrix:
    """Features of some candidates.

    Attributes:
        values: (candidates, features).
        groups: (features,) name of each feature's group.
    """

    values: Floats
    groups: tuple[str, ...]


class Features:
    """The features of one space and of the candidates known beside it.

    Args:
        space: its sites, blocks and recipe values become columns.
        known: candidates from elsewhere whose sites and blocks become columns too.
    """

    def __init__(self, space: DesignSpace, known: Iterable[Candidate] = ()) -> None:
        options = {(arm.backbone, p): None for arm in space.arms for row in arm.options().values() for p in row}
        others = list(known)
        options |= {(c.backbone, p): None for c in others for p in c.placements}
        self._rows: dict[tuple[str, Placement], int] = {key: row for row, key in enumerate(options, 1)}
        arms = [(arm.backbone, arm.params) for arm in space.arms] + [(c.backbone, c.backbone_params) for c in others]
        self._arms = {key: row for row, key in enumerate(dict.fromkeys(arms))}
        self._recipe = RecipeFeatures(space.recipe)
        # Every list asked about gets equally many columns, whatever it holds: the width is the space's and history's.
        self._most = max([1, *space.size_by_blocks(), *(len(c.placements) for c in others)])

    def __call__(self, candidates: Sequence[Candidate]) -> Matrix:
        """The features of candidates."""
        return _joined(self._parts(candidates))

    def _parts(self, candidates: Sequence[Candidate]) -> list[tuple[str, Floats]]:
        placed = self._placed(candidates)
        parts = [(group, np.asarray(table[placed].sum(axis=1))) for group, table in self._tables.items()]
        singles = dict(parts)
        count = (placed > 0).sum(axis=1).astype(np.float64)
        parts += [("count", count[:, None]), ("many", _steps_above(count, np.arange(1, placed.shape[1])))]
        parts += [(f"mean {g}", singles[g] / np.maximum(count, 1)[:, None]) for g in ("block", "site")]
        parts += _pairs(self._number[placed], self._stage[placed])
        parts.append(("site pair", self._site_pairs(self._number[placed])))
        parts += _mixing(singles["block"], singles["family"])
        arm = np.zeros((len(candidates), len(self._arms)))
        arm[np.arange(len(candidates)), [self._arms[c.backbone, c.backbone_params] for c in candidates]] = 1.0
        if len(self._arms) > 1:
            parts += [("backbone", arm), ("backbone block", _products(arm, np.column_stack([count, singles["block"]])))]
        recipe, plain = self._recipe(candidates)
        if recipe:
            parts += recipe
            parts.append(("recipe block", _products(plain, np.column_stack([count, singles["block"]]))))
        return [(group, values) for group, values in parts if values.shape[1]]

    def _site_pairs(self, number: Ints) -> Floats:
        """(candidates, pairs of sites) 1 where both sites hold a block."""
        most = int(self._number.max(initial=0))
        on = np.zeros((len(number), most + 1))
        on[np.arange(len(number))[:, None], number] = 1.0
        i, j = np.triu_indices(most, 1)
        return np.asarray(on[:, i + 1] * on[:, j + 1])

    def _placed(self, candidates: Sequence[Candidate]) -> Ints:
        """(candidates, most blocks) row of each placement in the tables, 0 for none."""
        placed = np.zeros((len(candidates), self._most), dtype=np.int64)
        for row, candidate in enumerate(candidates):
            for column, placement in enumerate(candidate.placements):
                placed[row, column] = self._rows[candidate.backbone, placement]
        return placed

    @cached_property
    def _number(self) -> Ints:
        return np.array([0, *(placement.site for _, placement in self._rows)])

    @cached_property
    def _stage(self) -> Ints:
        return np.array([-1, *(get_topology(b).site(p.site).stage for b, p in self._rows)])

    @cached_property
    def _tables(self) -> dict[str, Floats]:
        """(1 + options, features) what each placement has of each group; row 0 is no placement."""
        described = [_described(backbone, placement) for backbone, placement in self._rows]
        tables = {group: _table([row[group] for row in described]) for group in (described[0] if described else ())}
        tables["hyperparameter"] = _varying(tables["hyperparameter"], tables["block"])
        return tables


def _described(backbone: str, placement: Placement) -> dict[str, Names]:
    """The features of one placement: by group, by name."""
    topology = get_topology(backbone)
    site = topology.site(placement.site)
    end: Names = {"end": 1.0, ("end", site.stage): 1.0} if site.is_stage_end else {}
    block, family = placement.block, placement.family
    depth: Names = {
        ("depth", k): v for k, v in enumerate(hats((site.number - 1) / (len(topology.sites) - 1), DEPTH_KNOTS))
    }
    return {
        "block": {block: 1.0},
        "family": {family: 1.0},
        "site": {(backbone, site.number): 1.0},
        "stage": {site.stage: 1.0, **depth},
        "end": end,
        "cell": {(backbone, block, site.number): 1.0},
        "block stage": {(block, site.stage): 1.0, **{(block, key): v for key, v in end.items()}},
        "hyperparameter": {(block, name, repr(value)): 1.0 for name, value in placement.params},
    }


def hats(at: float, knots: int) -> Floats:
    """(knots,) piecewise linear weights of a position 0-1 between evenly spaced knots; they add up to 1.

    >>> hats(0.25, 3).tolist()
    [0.5, 0.5, 0.0]
    """
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(at * (knots - 1) - np.arange(knots))))


def _table(rows: Sequence[Names]) -> Floats:
    columns = {name: i for i, name in enumerate(dict.fromkeys(name for row in rows for name in row))}
    table = np.zeros((len(rows) + 1, len(columns)))
    for number, row in enumerate(rows, 1):
        for name, value in row.items():
            table[number, columns[name]] = value
    return table


def _varying(table: Floats, blocks: Floats) -> Floats:
    """The columns that are not the same for every placement of a block."""
    alike = [any(np.array_equal(column, block) for block in blocks.T) for column in table.T]
    return table[:, ~np.array(alike, dtype=bool)]


def _steps_above(values: Floats, levels: Ints) -> Floats:
    """(rows, levels) how far each value is above each level: hinges."""
    return np.asarray(np.maximum(0.0, values[:, None] - levels[None, :]))


def _pairs(number: Ints, stage: Ints) -> list[tuple[str, Floats]]:
    """Features of pairs of placements, from (rows, placements) site numbers (0: none) and stages (-1: none)."""
    rows, most = number.shape
    near = np.zeros((rows, LARGEST_DISTANCE))
    within = np.zeros((rows, 1))
    between = np.zeros((rows, STAGES, STAGES))
    everyone = np.arange(rows)
    for i in range(most):
        for j in range(i + 1, most):
            both = (number[:, i] > 0) & (number[:, j] > 0)
            apart = np.abs(number[:, j] - number[:, i])
            near += both[:, None] & (apart[:, None] <= np.arange(1, LARGEST_DISTANCE + 1))
            within[:, 0] += both & (stage[:, i] == stage[:, j])
            first, last = np.minimum(stage[:, i], stage[:, j]), np.maximum(stage[:, i], stage[:, j])
            between[everyone, first.clip(0, STAGES - 1), last.clip(0, STAGES - 1)] += both
    upper = np.triu_indices(STAGES)
    return [("near", near), ("same stage", within), ("stage pair", between[:, *upper])]


def _mixing(blocks: Floats, families: Floats) -> list[tuple[str, Floats]]:
    """Features of which blocks stand together, from (rows, blocks) and (rows, families) counts."""
    types, kinds = (blocks > 0).sum(axis=1), (families > 0).sum(axis=1)
    mixed = np.stack([types > 1, kinds > 1], axis=1).astype(np.float64)
    i, j = np.triu_indices(blocks.shape[1])
    pairs = np.where(i == j, blocks[:, i] * (blocks[:, j] - 1) / 2, blocks[:, i] * blocks[:, j])
    return [("mix", mixed), ("block pair", pairs)]


def _products(left: Floats, right: Floats) -> Floats:
    return np.asarray((left[:, :, None] * right[:, None, :]).reshape(len(left), -1))


def _joined(parts: Sequence[tuple[str, Floats]]) -> Matrix:
    groups = tuple(group for group, values in parts for _ in range(values.shape[1]))
    return Matrix(np.concatenate([values for _, values in parts], axis=1), groups)
