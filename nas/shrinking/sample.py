"""From a results table to the sample that statistics may use: one row a candidate, replicates inside it.

Only rows whose candidates were drawn without looking at results count (sweeps, confirmation draws, baselines): a
sampler that follows the scores oversamples what looked good and biases every effect. One fidelity and one split at a
time. Failed trainings stay in the counts. What is estimated from the sample is left to `nas.shrinking.effects`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg import helmert

from nas.results.columns import needed, trainings
from nas.results.cost_tables import parse_once
from nas.results.intervals import Floats
from nas.results.levels import SCRATCH
from nas.results.noise import block_codes, noise_of
from nas.spaces.candidate import Candidate
from nas.spaces.sites import Topology, get_topology

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

UNBIASED_STAGES = ("sweep", "shrink", "auto_shrink")
"""Kinds of stages whose draws do not follow results."""


@dataclass(frozen=True)
class FinishedTrainings:
    """The finished trainings behind a sample.

    Attributes:
        candidate: (m,) row of the candidate in the sample.
        block: (m,) number of the block (seed and start) it was trained in, see `nas.results.noise`.
        score: (m,) mAP.
        start: (m,) number of the trained weights it began from, moved ones as what they were moved from; below zero for
            one from scratch, where every block begins anew.
    """

    candidate: Ints
    block: Ints
    score: Floats
    start: Ints

    @property
    def blocks(self) -> int:
        """Numbers of blocks go up to this."""
        return int(self.block.max(initial=-1)) + 1

    def within(self) -> tuple[Floats, Floats]:
        """(rows, blocks) design and (rows,) score of what trainings of one candidate tell of blocks and noise.

        Of n trainings of a candidate its n - 1 Helmert contrasts: orthonormal, free of the candidate's own mean, and
        so independent of it and of each other.
        """
        designs, scores = [np.zeros((0, self.blocks))], [np.zeros(0)]
        indicators = np.eye(self.blocks)[self.block]
        order = np.argsort(self.candidate, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(self.candidate[order])) + 1):
            if len(rows) > 1:
                contrasts = helmert(len(rows))
                designs.append(contrasts @ indicators[rows])
                scores.append(contrasts @ self.score[rows])
        return np.concatenate(designs), np.concatenate(scores)

    def shares(self, candidates: int) -> Floats:
        """(candidates, blocks) share of each candidate's finished trainings in each block; 0 where none finished."""
        counts = np.zeros((candidates, self.blocks))
        np.add.at(counts, (self.candidate, self.block), 1.0)
        return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))

    def take(self, rows: npt.NDArray[np.intp], candidates: int) -> FinishedTrainings:
        """The trainings of some of the candidates, numbered anew."""
        number = np.full(candidates, -1)
        number[rows] = np.arange(len(rows))
        kept = number[self.candidate] >= 0
        return FinishedTrainings(number[self.candidate[kept]], self.block[kept], self.score[kept], self.start[kept])

    def means(self, by: Ints, candidates: int) -> tuple[Floats, Floats]:
        """(candidates, groups) mean score and number of trainings of each candidate by `block` or `start`."""
        names, group = np.unique(by, return_inverse=True)
        counts, sums = np.zeros((candidates, len(names))), np.zeros((candidates, len(names)))
        np.add.at(counts, (self.candidate, group), 1.0)
        np.add.at(sums, (self.candidate, group), self.score)
        return sums / np.where(counts, counts, np.nan), counts


@dataclass(frozen=True)
class Sample:
    """Candidates of one backbone and what their trainings gave.

    Attributes:
        backbone: name.
        candidates: (n,) the candidates.
        score: (n,) mean mAP of the finished trainings, NaN when all failed.
        finished: (n,) finished trainings.
        failed: (n,) failed trainings.
        trained: the finished trainings one by one.
        seed_sd: sd of one training beside others of its seed and start; NaN where no candidate tells it.
        latency_ms: (n,) latency, NaN where not known.
        training_ids: (n,) the trainings of each candidate.
    """

    backbone: str
    candidates: tuple[Candidate, ...]
    score: Floats
    finished: Ints
    failed: Ints
    trained: FinishedTrainings
    seed_sd: float
    latency_ms: Floats
    training_ids: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.candidates)

    @cached_property
    def topology(self) -> Topology:
        """The sites of the backbone."""
        return get_topology(self.backbone)

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks that occur."""
        return tuple(sorted({block for candidate in self.candidates for block in candidate.blocks}))

    @cached_property
    def placed(self) -> Ints:
        """(n, sites) 0 for no block, else 1 + the index in `blocks`."""
        return placement_matrix(self.candidates, self.blocks, len(self.topology.sites))

    @cached_property
    def counts(self) -> Ints:
        """(n,) blocks of each candidate."""
        return np.asarray((self.placed > 0).sum(axis=1))

    @property
    def trainings(self) -> Ints:
        """(n,) trainings, failed ones too."""
        return self.finished + self.failed

    @cached_property
    def block_shares(self) -> Floats:
        """(n, blocks) share of each candidate's finished trainings in each seed and start."""
        return self.trained.shares(len(self))

    @cached_property
    def block_pattern(self) -> Ints:
        """(n,) number of the set of seeds and starts that each candidate finished in: alike ones may be exchanged."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        return np.unique(self.block_shares, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def ids(self, rows: Flags | None = None) -> tuple[int, ...]:
        """Ids of the trainings of some (or all) candidates, ascending."""
        chosen = range(len(self)) if rows is None else np.flatnonzero(rows)
        return tuple(sorted(i for row in chosen for i in self.training_ids[row]))

    def support(self, rows: Flags) -> int:
        """Trainings of some candidates, failed ones too."""
        return int(self.trainings[rows].sum())

    def take(self, rows: Flags) -> Sample:
        """Some of the candidates."""
        index = np.flatnonzero(rows)
        return Sample(
            self.backbone,
            tuple(self.candidates[i] for i in index),
            self.score[index],
            self.finished[index],
            self.failed[index],
            self.trained.take(index, len(self)),
            self.seed_sd,
            self.latency_ms[index],
            tuple(self.training_ids[i] for i in index),
        )


def placement_matrix(candidates: Sequence[Candidate], blocks: Sequence[str], sites: int) -> Ints:
    """(candidates, sites) 0 for no block, else 1 + the index of the block in `blocks`."""
    index = {name: number for number, name in enumerate(blocks, 1)}
    matrix = np.zeros((len(candidates), sites), dtype=np.int64)
    for row, candidate in enumerate(candidates):
        for placement in candidate.placements:
            matrix[row, placement.site - 1] = index[placement.block]
    return matrix


def unbiased_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows statistics may use: finished or failed trainings of sweeps and fresh draws, each training once.

    Of several fidelities the one with most trainings is kept, of several splits the one selection reads (`val`
    before `test`); columns that a table lacks do not restrict it.

    Raises:
        StudyError: when a column that cannot be missed is missing.
    """
    needed(table, "notation", "map", "status")
    keep = table["status"].isin(["finished", "failed"])
    if "stage_kind" in table:
        keep &= table["stage_kind"].isin(UNBIASED_STAGES) | table["stage_kind"].isna()
    if "role" in table:
        keep &= table["role"] != "given"  # networks that the study's file names: nobody drew them
    return _one_level(_one_split(trainings(table[keep])), "fidelity")


def draw_samples(table: pd.DataFrame) -> dict[str, Sample]:
    """A sample for each backbone of a results table (columns as in `Repository.results`).

    Raises:
        StudyError: when a needed column is missing.
        SpaceError: when a notation cannot be read.
    """
    rows = unbiased_rows(table)
    read = {text: parse_once(text) for text in rows["notation"].unique()}
    rows = rows.assign(notation=rows["notation"].map({text: candidate.notation for text, candidate in read.items()}))
    parsed = {candidate.notation: candidate for candidate in read.values()}
    backbone = rows["notation"].map({text: candidate.backbone for text, candidate in parsed.items()})
    return {str(name): _collect(part, parsed) for name, part in rows.groupby(backbone, sort=True)}


def _one_split(rows: pd.DataFrame) -> pd.DataFrame:
    if "split" not in rows or rows["split"].nunique() < 2:
        return rows
    return rows[rows["split"] == ("val" if (rows["split"] == "val").any() else rows["split"].mode()[0])]


def _one_level(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    if column not in rows or rows[column].nunique(dropna=False) < 2:
        return rows
    level = rows[column].fillna("").value_counts().sort_index().idxmax()
    return rows[rows[column].fillna("") == level]


def _collect(rows: pd.DataFrame, parsed: dict[str, Candidate]) -> Sample:
    texts, code = np.unique(rows["notation"].to_numpy(dtype=str), return_inverse=True)
    score = rows["map"].to_numpy(dtype=float)
    # A training that says "finished" without a number has failed, whatever it says.
    done = rows["status"].eq("finished").to_numpy() & np.isfinite(score)
    finished = np.bincount(code[done], minlength=len(texts))
    with np.errstate(invalid="ignore"):
        mean = np.bincount(code[done], score[done], minlength=len(texts)) / np.where(finished, finished, np.nan)
    ids = rows["training_id"].to_numpy() if "training_id" in rows else np.arange(1, len(rows) + 1)
    block, noise = _shared_blocks(rows, code), noise_of(rows)
    start = _starts(rows, block)
    return Sample(
        backbone=parsed[texts[0]].backbone,
        candidates=tuple(parsed[text] for text in texts),
        score=mean,
        finished=finished.astype(np.int64),
        failed=np.bincount(code[~done], minlength=len(texts)).astype(np.int64),
        trained=FinishedTrainings(code[done].astype(np.int64), block[done], score[done], start[done]),
        seed_sd=(noise.single if noise.single.known or block.any() else noise.whole).sd,
        latency_ms=_latencies(rows, code, len(texts)),
        training_ids=_grouped_ids(ids, code, len(texts)),
    )


def _starts(rows: pd.DataFrame, block: Ints) -> Ints:
    """(rows,) number of each training's start; from scratch, or where the table names none, minus the block's."""
    if "start" not in rows:
        return -1 - block
    fresh = rows["start"].isna() | rows["start"].eq(SCRATCH)
    return np.where(fresh, -1 - block, block_codes(rows[["start"]]).astype(np.int64))


def _shared_blocks(rows: pd.DataFrame, code: npt.NDArray[np.intp]) -> Ints:
    """(rows,) number of each training's block; one for all where no block holds two candidates.

    Where every candidate has seeds of its own, a seed's shift is part of the noise of its training: nothing could take
    it out.
    """
    block = block_codes(rows).astype(np.int64)
    pairs = np.unique(np.stack([block, code.astype(np.int64)]), axis=1)
    return block if len(rows) and np.bincount(pairs[0]).max() > 1 else np.zeros(len(rows), dtype=np.int64)


def _latencies(rows: pd.DataFrame, code: npt.NDArray[np.intp], n: int) -> Floats:
    latency = np.full(n, np.nan)
    if "latency_ms" in rows:
        values = rows["latency_ms"].to_numpy(dtype=float)
        known = np.isfinite(values)
        latency[code[known]] = values[known]
    return latency


def _grouped_ids(ids: npt.NDArray[np.int64], code: npt.NDArray[np.intp], n: int) -> tuple[tuple[int, ...], ...]:
    groups: list[list[int]] = [[] for _ in range(n)]
    for number, group in zip(ids, code, strict=True):
        groups[group].append(int(number))
    return tuple(tuple(sorted(group)) for group in groups)
