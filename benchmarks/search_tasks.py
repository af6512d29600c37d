"""What search strategies are compared on: planted landscapes with their costs, and tables of results.

A task says what a candidate truly is worth, what it costs and what one noisy training of it reports. Landscapes come
from `nas.testing.planting`, with the costs planted there or with the paper's; three more are made here, in which
mAP is not what any additive model would write down. Everything is fixed by kind and seed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import moocore
import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from nas.search.replay import ReplayTable
from nas.spaces import Candidate, DesignSpace, get_topology
from nas.testing.landscapes import Landscape
from nas.testing.planting import BLOCKS, draw_landscape, planted_space

Floats = npt.NDArray[np.float64]
Worth = Callable[[Sequence[Candidate]], Floats]

SEED_SD = 0.001
BASELINE_MS = 36.917
RESNET101_MS = 53.454


@dataclass(frozen=True)
class Task:
    """One thing to search.

    Attributes:
        name: kind of the task.
        seed: which one of its kind.
        space: where to search.
        worth: true mAP of candidates.
        cost_ms: cost of candidates, known before training.
        seed_sd: noise of a training.
        failure_rate: share of trainings that fail.
        dearest_ms: what costs more is of no use.
    """

    name: str
    seed: int
    space: DesignSpace
    worth: Worth
    cost_ms: Worth
    seed_sd: float = SEED_SD
    failure_rate: float = 0.0
    dearest_ms: float = float("inf")

    def train(self, candidate: Candidate, repetition: int) -> float | None:
        """mAP that one training reports; None when it fails."""
        key = f"{self.name}/{self.seed}/{repetition}/{candidate.id}"
        if self.failure_rate and _uniform(f"{key}/fails") < self.failure_rate:
            return None
        return float(self.worth([candidate])[0]) + self.seed_sd * _normal(f"{key}/noise")

    @cached_property
    def drawn(self) -> list[Candidate]:
        """A thousand uniform draws."""
        return self.space.sample(1000, random.Random(self.seed), distinct=False)

    @cached_property
    def reference(self) -> tuple[float, float]:
        """Reference point: mAP of the plain backbone or of the tenth best of ten draws, the dearest that is of use."""
        lowest = min(float(np.quantile(self.worth(self.drawn), 0.1)), float(self.worth(_usable(self)).min()))
        return lowest, min(float(self.cost_ms(self.drawn).max()), self.dearest_ms)

    def hypervolume(self, values: Floats, costs: Floats) -> float:
        """Area between the front and the reference point, mAP x ms."""
        if not len(values):
            return 0.0
        lowest, dearest = self.reference
        points = np.column_stack([-values, costs])
        return float(moocore.hypervolume(points, ref=[-lowest, dearest]))

    @cached_property
    def best(self) -> float:
        """Hypervolume of the front that a local search on true values reaches, from the front of uniform draws."""
        known = {c.id: c for c in [*self.drawn, *_usable(self)]}
        done: set[str] = set()
        while True:
            rows = list(known.values())
            values, costs = self.worth(rows), self.cost_ms(rows)
            keep = moocore.is_nondominated(np.column_stack([-values, costs]))
            front = [c for c, k in zip(rows, keep, strict=True) if k]
            known = {c.id: c for c in front}
            fresh = [c for c in front if c.id not in done]
            if not fresh:
                return self.hypervolume(values, costs)
            done |= {c.id for c in fresh}
            known |= {n.id: n for c in fresh for n in self.space.neighbours(c)}


def _usable(task: Task) -> list[Candidate]:
    """Plain backbones, with a recipe where the space varies it."""
    return [task.space.repair(c) for c in task.space.baselines()]


def _uniform(key: str) -> float:
    return (int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") + 0.5) / 2.0**64


def _normal(key: str) -> float:
    return float(ndtri(_uniform(key)))


# Costs ---------------------------------------------------------------------------------------------------------------

# Once a network and once a block, ms: fitted to the paper's increments of one, two and three blocks
# (C-NL 0.54 / 1.68 / 1.71, HAC 2.81 / 2.99 / 3.20, AGW 7.35 / 10.50 / 13.39); SE as a lighter HAC.
PAPER_MS: Mapping[str, tuple[float, float]] = {
    "se": (0.6, 0.15),
    "hac": (2.6, 0.2),
    "agw": (4.3, 3.0),
    "cnl": (0.1, 0.55),
}
# By stage: attention over positions costs more where there are more positions.
STAGE_FACTOR: Mapping[str, Sequence[float]] = {
    "se": (1, 1, 1, 1, 1.3),
    "hac": (1.5, 1.5, 1, 1, 1.2),
    "agw": (4, 4, 1.2, 1, 1.6),
    "cnl": (0.7, 0.8, 1, 1.1, 1.5),
}


def paper_ms(candidates: Sequence[Candidate]) -> Floats:
    """(candidates,) ms a batch, like the paper's: each block type costs once a network and once a block."""
    return np.array([_paper_ms(candidate) for candidate in candidates])


def _paper_ms(candidate: Candidate) -> float:
    topology = get_topology(candidate.backbone)
    once = sum(PAPER_MS[block][0] for block in set(candidate.blocks))
    each = sum(PAPER_MS[p.block][1] * STAGE_FACTOR[p.block][topology.site(p.site).stage] for p in candidate.placements)
    return BASELINE_MS + once + each


# Landscapes ----------------------------------------------------------------------------------------------------------


def planted(kind: str, seed: int, paper_cost: bool = False) -> Task:
    """A landscape of `nas.testing.planting`, with its own costs or the paper's."""
    land: Landscape = draw_landscape(kind, seed)
    cost = paper_ms if paper_cost else land.latency_ms
    name = f"{kind}, paper's costs" if paper_cost else kind
    dearest = RESNET101_MS if paper_cost else float("inf")
    return Task(name, seed, planted_space(kind), land.true_map, cost, SEED_SD, land.failure_rate, dearest)


def _smooth(rng: np.random.Generator, sites: int, length: float) -> Floats:
    """(sites,) a smooth random function with sd 1 over the sites."""
    at = np.arange(sites)
    kernel = np.exp(-0.5 * ((at[:, None] - at[None, :]) / length) ** 2) + 1e-9 * np.eye(sites)
    return np.asarray(np.linalg.cholesky(kernel) @ rng.standard_normal(sites))


def saturating(seed: int) -> Task:
    """As in the paper's tables: smooth site effects with stage ends on top, and a ceiling that is reached at three."""
    rng = np.random.default_rng([seed, 1])
    topology = get_topology("resnet50")
    ends = np.isin(np.arange(1, 18), topology.stage_ends) * rng.uniform(0.0005, 0.0015)
    site = 0.0015 * _smooth(rng, 17, 2.5) + ends
    gains = {b: rng.uniform(0.002, 0.005) + site + 0.0007 * rng.standard_normal(17) for b in BLOCKS}
    ceiling = rng.uniform(0.010, 0.016)

    def worth(candidates: Sequence[Candidate]) -> Floats:
        total = np.array([sum(gains[p.block][p.site - 1] for p in c.placements) for c in candidates])
        return np.asarray(0.868 + ceiling * np.tanh(total / ceiling))

    return Task("saturating", seed, planted_space("steps"), worth, paper_ms, dearest_ms=RESNET101_MS)


def interacting(seed: int) -> Task:
    """Every pair of sites and every pair of block types has an effect of its own, as large as those of single sites."""
    rng = np.random.default_rng([seed, 2])
    cell = 0.002 + 0.0015 * rng.standard_normal((len(BLOCKS), 17))
    pairs = 0.0015 * np.triu(rng.standard_normal((17, 17)), 1)
    types = 0.0005 * rng.standard_normal((len(BLOCKS), len(BLOCKS)))
    types = types + types.T

    def one(c: Candidate) -> float:
        at = [(BLOCKS.index(p.block), p.site - 1) for p in c.placements]
        joint = sum(pairs[s, t] + types[a, b] for i, (a, s) in enumerate(at) for b, t in at[i + 1 :])
        return 0.868 + float(sum(cell[a, s] for a, s in at)) + float(joint)

    def worth(candidates: Sequence[Candidate]) -> Floats:
        return np.array([one(c) for c in candidates])

    return Task("interacting", seed, planted_space("steps"), worth, draw_landscape("steps", seed).latency_ms)


def rugged(seed: int) -> Task:
    """Values of whole subsets: each of ten random triples of sites holds a jump, for the blocks of one family only."""
    rng = np.random.default_rng([seed, 3])
    site = 0.001 * rng.standard_normal(17)
    motifs = [
        (frozenset((rng.choice(17, 2, replace=False) + 1).tolist()), rng.uniform(0.002, 0.006)) for _ in range(10)
    ]
    favoured = [frozenset(rng.choice(BLOCKS, 2, replace=False).tolist()) for _ in motifs]

    def one(c: Candidate) -> float:
        single = sum(site[p.site - 1] + 0.001 for p in c.placements)
        jumps = 0.0
        for (sites, gain), blocks in zip(motifs, favoured, strict=True):
            if sites <= {p.site for p in c.placements if p.block in blocks}:
                jumps += gain
        return 0.868 + float(single) + jumps

    def worth(candidates: Sequence[Candidate]) -> Floats:
        return np.array([one(c) for c in candidates])

    return Task("rugged", seed, planted_space("steps"), worth, paper_ms, dearest_ms=RESNET101_MS)


TASKS: Mapping[str, Callable[[int], Task]] = {
    "steps": lambda seed: planted("steps", seed),
    "steps, paper's costs": lambda seed: planted("steps", seed, paper_cost=True),
    "rough": lambda seed: planted("rough", seed),
    "cells, paper's costs": lambda seed: planted("cells", seed, paper_cost=True),
    "stages": lambda seed: planted("stages", seed),
    "hyperparameters": lambda seed: planted("hyperparameters", seed),
    "saturating": saturating,
    "interacting": interacting,
    "rugged": rugged,
}
"""Kinds of landscapes by name."""


# Tables --------------------------------------------------------------------------------------------------------------


def table_task(path: Path, space: DesignSpace, seed: int) -> Task:
    """A table of results: true values are means over its replicates, noise is their pooled deviation."""
    table = ReplayTable.read(path)
    means = table.rows.dropna(subset=["map"]).groupby("notation")["map"].mean()
    costs = table.costs["latency_ms"]
    groups = table.rows.dropna(subset=["map"]).groupby("notation")["map"]
    pooled = groups.var(ddof=1).mean()
    lowest, dearest = float(means.min()), max(costs.values())

    def worth(candidates: Sequence[Candidate]) -> Floats:
        return np.array([float(means.get(c.notation, lowest)) for c in candidates])

    def cost(candidates: Sequence[Candidate]) -> Floats:
        return np.array([costs.get(c.notation, dearest) for c in candidates])

    return Task(f"table {path.name}", seed, space, worth, cost, 0.0 if pooled != pooled else float(pooled) ** 0.5)
