"""Planted landscapes: made-up mAP and latency over candidates, whose true rules are known.

Methods that find rules or fronts are judged on them in seconds: a landscape says what a candidate is truly worth and
what one noisy training of it would report. What counts as a true rule of a landscape is left to
`nas.testing.planted`; drawing candidates, to the design space.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from nas.errors import SpaceError, unknown_name
from nas.spaces.blocks import get_block_spec
from nas.spaces.candidate import Candidate
from nas.spaces.sites import Topology, get_topology
from nas.spaces.values import ParamValue

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Saturation = Literal["scaled", "best"]


@dataclass(frozen=True)
class Landscape:
    """What every candidate of one backbone is truly worth, and the noise of a training.

    The true mAP is `base` + the blocks' gains (block + site + their own interaction), saturated beyond `count_limit`,
    minus a penalty for every pair of blocks that is too near or in one stage, plus a premium for mixing families,
    plus the effects of hyperparameters, plus a deviation of the candidate's own.

    Attributes:
        backbone: name.
        blocks: names of the blocks, in the order of the arrays below.
        base: mAP without blocks, 0-1.
        block_gain: (blocks,) mAP a block brings at a typical site.
        site_gain: (sites,) mAP a site adds, for every block.
        interaction: (blocks, sites) mAP beyond block and site.
        near_penalty: (largest distance,) mAP lost by a pair of blocks 1, 2, ... sites apart.
        stage_penalty: mAP lost by each pair of blocks in one stage.
        mix_premium: mAP gained when blocks of two or more families are placed.
        count_limit: blocks beyond this number bring nothing more; None: no limit.
        saturation: `scaled`: the sum of n > limit gains is scaled by limit / n; `best`: only the best ones count.
        param_gain: mAP a placement gains by a block's hyperparameter: {(block, parameter): {value: mAP}}.
        recipe_gain: mAP by a recipe value: {key: ((value, mAP), ...)}; numbers are linear between over log10(value).
        own_sd: sd of the candidates' own deviations, mAP.
        seed_sd: sd of a training around its candidate's true mAP.
        shift_sd: sd of what a seed moves for all candidates alike, mAP.
        failure_rate: chance that a training fails.
        baseline_ms: latency without blocks.
        block_ms: (blocks, sites) latency each placement adds.
    """

    backbone: str
    blocks: tuple[str, ...]
    base: float
    block_gain: Floats
    site_gain: Floats
    interaction: Floats
    near_penalty: Floats = field(default_factory=lambda: np.zeros(0))
    stage_penalty: float = 0.0
    mix_premium: float = 0.0
    count_limit: int | None = None
    saturation: Saturation = "scaled"
    param_gain: Mapping[tuple[str, str], Mapping[ParamValue, float]] = field(default_factory=dict)
    recipe_gain: Mapping[str, Sequence[tuple[ParamValue, float]]] = field(default_factory=dict)
    own_sd: float = 0.0
    seed_sd: float = 0.001
    shift_sd: float = 0.0
    failure_rate: float = 0.0
    baseline_ms: float = 36.917
    block_ms: Floats | None = None
    seed: int = 0

    @cached_property
    def topology(self) -> Topology:
        """The sites of the backbone."""
        return get_topology(self.backbone)

    @cached_property
    def gains(self) -> Floats:
        """(blocks, sites) mAP a placement brings alone."""
        total: Floats = self.block_gain[:, None] + self.site_gain[None, :] + self.interaction
        return total

    def placed(self, candidates: Iterable[Candidate]) -> Ints:
        """(candidates, sites) 0 for no block, else 1 + the index of the block.

        Raises:
            SpaceError: for a block or backbone the landscape does not have.
        """
        rows = list(candidates)
        matrix = np.zeros((len(rows), len(self.topology.sites)), dtype=np.int64)
        index = {name: number for number, name in enumerate(self.blocks, 1)}
        for row, candidate in enumerate(rows):
            if candidate.backbone != self.backbone:
                raise SpaceError(unknown_name("backbone of this landscape", candidate.backbone, [self.backbone]))
            for placement in candidate.placements:
                if placement.block not in index:
                    raise SpaceError(unknown_name("block of this landscape", placement.block, self.blocks))
                matrix[row, placement.site - 1] = index[placement.block]
        return matrix

    def placed_map(self, placed: Ints) -> Floats:
        """(candidates,) true mAP of matrices of placements, hyperparameters and own deviations left out."""
        value: Floats = self.base + self._saturated(placed) - self._penalties(placed) + self._mixing(placed)
        return value

    def true_map(self, candidates: Sequence[Candidate]) -> Floats:
        """(candidates,) true mAP: the mean over infinitely many trainings."""
        extra = np.array([self._hyperparameters(c) + self._own(c.id) for c in candidates])
        value: Floats = self.placed_map(self.placed(candidates)) + extra
        return value

    def latency_ms(self, candidates: Sequence[Candidate]) -> Floats:
        """(candidates,) latency of a batch, ms; placements add up."""
        placed = self.placed(candidates)
        added = _taken(self._block_ms, placed)
        value: Floats = self.baseline_ms + added.sum(axis=1)
        return value

    def train(self, candidates: Sequence[Candidate], seeds: Sequence[int]) -> Floats:
        """(candidates, seeds) mAP that trainings would report; NaN where one fails. Equal arguments, equal numbers."""
        truth = self.true_map(candidates)
        noise = np.array([[self._noise(c.id, s) for s in seeds] for c in candidates]).reshape(len(truth), len(seeds))
        shift = [self.shift_sd * _normal(f"{self.seed}/shift/{s}") if self.shift_sd else 0.0 for s in seeds]
        return np.asarray(truth[:, None] + np.asarray(shift) + noise)

    @cached_property
    def _block_ms(self) -> Floats:
        if self.block_ms is not None:
            return self.block_ms
        return np.array([[_typical_ms(block, site.stage) for site in self.topology.sites] for block in self.blocks])

    def _saturated(self, placed: Ints) -> Floats:
        gains = _taken(self.gains, placed)
        counts = (placed > 0).sum(axis=1)
        if self.count_limit is None:
            return np.asarray(gains.sum(axis=1))
        if self.saturation == "best":
            return np.asarray(-np.sort(-gains, axis=1)[:, : self.count_limit].sum(axis=1))
        return np.asarray(gains.sum(axis=1) * np.minimum(1.0, self.count_limit / np.maximum(counts, 1)))

    def _penalties(self, placed: Ints) -> Floats:
        on = (placed > 0).astype(np.float64)
        lost = np.zeros(len(placed))
        for apart, penalty in enumerate(self.near_penalty, 1):
            lost += penalty * (on[:, apart:] * on[:, :-apart]).sum(axis=1)
        for stage in self.topology.stages:
            numbers = [site.number - 1 for site in self.topology.of_stage(stage)]
            inside = on[:, numbers].sum(axis=1)
            lost += self.stage_penalty * inside * (inside - 1) / 2
        return lost

    def _mixing(self, placed: Ints) -> Floats:
        families = [get_block_spec(block).family for block in self.blocks]
        present = np.stack([np.isin(placed, _of_family(families, f)).any(axis=1) for f in sorted(set(families))], 1)
        return np.asarray(self.mix_premium * (present.sum(axis=1) > 1))

    def _hyperparameters(self, candidate: Candidate) -> float:
        total = 0.0
        for placement in candidate.placements:
            for name, value in placement.params:
                total += self.param_gain.get((placement.block, name), {}).get(value, 0.0)
        for name, value in candidate.recipe:
            total += _recipe_gain(self.recipe_gain.get(name, ()), value)
        return total

    def _own(self, candidate_id: str) -> float:
        return self.own_sd * _normal(f"{self.seed}/own/{candidate_id}") if self.own_sd else 0.0

    def _noise(self, candidate_id: str, seed: int) -> float:
        if self.failure_rate and _uniform(f"{self.seed}/fails/{candidate_id}/{seed}") < self.failure_rate:
            return float("nan")
        return self.seed_sd * _normal(f"{self.seed}/noise/{candidate_id}/{seed}")


def _taken(values: Floats, placed: Ints) -> Floats:
    """(candidates, sites) `values[block, site]` where a block is placed, else 0."""
    padded = np.vstack([np.zeros(values.shape[1]), values])
    return np.asarray(padded[placed, np.arange(values.shape[1])[None, :]])


def _of_family(families: Sequence[str], family: str) -> list[int]:
    return [number for number, name in enumerate(families, 1) if name == family]


def _recipe_gain(known: Sequence[tuple[ParamValue, float]], value: ParamValue) -> float:
    if not known or isinstance(value, str):
        return float(dict(known).get(value, 0.0))
    numbers = np.array([(float(number), gain) for number, gain in known])
    return float(np.interp(np.log10(float(value)), np.log10(numbers[:, 0]), numbers[:, 1]))


def _uniform(key: str) -> float:
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2.0**64


def _normal(key: str) -> float:
    return float(ndtri(_uniform(key)))


_MS_BY_STAGE: Mapping[str, tuple[float, ...]] = {
    "channel-wise": (0.4, 0.5, 0.5, 0.8, 1.6),
    "non-local": (9.0, 9.0, 6.0, 4.0, 6.0),
    "mixed": (9.0, 9.0, 7.0, 5.0, 7.0),
}


def _typical_ms(block: str, stage: int) -> float:
    # The order of magnitude of the paper's increments: cheap channel-wise blocks, dear non-local ones.
    by_stage = _MS_BY_STAGE[get_block_spec(block).family]
    return by_stage[min(stage, len(by_stage) - 1)]


def landscape_table(
    landscape: Landscape,
    candidates: Sequence[Candidate],
    seeds: Sequence[int] = (0,),
    *,
    stage: str = "sweep",
    stage_kind: str = "sweep",
    sampler: str = "stratified",
    first_id: int = 1,
) -> pd.DataFrame:
    """A results table of trainings on a landscape, in the columns of `Repository.results` that statistics read.

    Args:
        landscape: what the trainings report.
        candidates: what is trained.
        seeds: seeds each candidate is trained with.
        stage, stage_kind, sampler: as stored with each row.
        first_id: id of the first training.
    """
    n, k = len(candidates), len(seeds)
    scores = landscape.train(candidates, seeds).reshape(n * k)
    failed = np.isnan(scores)
    return pd.DataFrame(
        {
            "stage": stage,
            "stage_kind": stage_kind,
            "role": "candidate",
            "sampler": sampler,
            "training_id": np.arange(first_id, first_id + n * k),
            "notation": np.repeat([candidate.notation for candidate in candidates], k),
            "backbone": landscape.backbone,
            "n_blocks": np.repeat([len(candidate.placements) for candidate in candidates], k),
            "fidelity": "full",
            "seed": np.tile(np.asarray(seeds), n),
            "split": "val",
            "status": np.where(failed, "failed", "finished"),
            "map": scores,
            "latency_ms": np.repeat(landscape.latency_ms(candidates), k),
        }
    )
