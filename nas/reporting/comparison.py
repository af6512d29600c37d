"""What may be compared with what, and how candidates compare: means over seeds, spread, the front.

Trainings of different splits, fidelities or recipes are never averaged or put on one front: a `Level`
names one comparable set. Formulas are given with each function; drawing is left to `figures`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from nas.reporting.placements import add_placements
from nas.reporting.study_data import StudyData

_FIDELITY_PARTS = (
    (r"(\d+)x(\d+)", "{0} x {1} px"),
    (r"i([\d.]+)", "{0} of the identities"),
    (r"to(\d+)", "rung at epoch {0}"),
    (r"inherit", "from the baseline's weights"),
)


def _fidelity_part(part: str) -> str:
    """One part of a fidelity label in words; unknown parts as they are."""
    for pattern, words in _FIDELITY_PARTS:
        if match := re.fullmatch(pattern, part):
            return words.format(*match.groups())
    return part


ELSEWHERE = ("source", "follows", "rest")
"""Roles of trainings that answer another question than the front: other data, or other backbones."""
SPLIT_WORDS = {"test": "test split", "val": "validation identities"}


@dataclass(frozen=True)
class Level:
    """One comparable set of trainings: the same split and the same fidelity.

    Args:
        split: `val` (identities held out of the training set) or `test`.
        fidelity: the fidelity's label, e.g. `e60`.
        epochs: epochs of the longest training at this level, NaN when unknown.
        candidates: how many candidates finished at this level.
    """

    split: str
    fidelity: str
    epochs: float = math.nan
    candidates: int = 0

    @property
    def words(self) -> str:
        """The level for people: `validation identities, 60 epochs`."""
        return ", ".join([SPLIT_WORDS.get(self.split, self.split), *self._fidelity_words()])

    def _fidelity_words(self) -> list[str]:
        length = [f"{int(self.epochs)} epochs"] if self.epochs == self.epochs else []
        parts = [part for part in self.fidelity.split("-") if not re.fullmatch(r"e\d+|full", part)]
        return (length or ([] if parts else [self.fidelity])) + [_fidelity_part(part) for part in parts]

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of a results table that belong to this level."""
        here = (table["split"].astype(str) == self.split) & (table["fidelity"].astype(str) == self.fidelity)
        return table[here & ~table["role"].isin(ELSEWHERE)]


def levels(data: StudyData) -> list[Level]:
    """The levels with finished trainings, the most trusted first: test before validation, long before short."""
    return list(data.once("levels", lambda: _levels(data.finished)))


def _levels(rows: pd.DataFrame) -> list[Level]:
    rows = rows[~rows["role"].isin(ELSEWHERE)]
    found = [
        Level(str(split), str(fidelity), float(group["epochs"].max()), int(group["candidate_id"].nunique()))
        for (split, fidelity), group in rows.groupby([rows["split"].astype(str), rows["fidelity"].astype(str)])
    ]
    return sorted(found, key=lambda level: (level.split != "test", -_or_zero(level.epochs), -level.candidates))


def widest_level(data: StudyData) -> Level | None:
    """The level that saw the most candidates: what effects of placements are read from."""
    return max(levels(data), key=lambda level: (level.candidates, _or_zero(level.epochs)), default=None)


def trusted_level(data: StudyData) -> Level | None:
    """The level to quote: the test split if two or more candidates were confirmed there, else the longest trainings."""
    found = levels(data)
    return next((level for level in found if level.candidates >= 2), found[0] if found else None)


def _or_zero(value: float) -> float:
    return value if value == value else 0.0


def pooled_sd(rows: pd.DataFrame, value: str = "map") -> tuple[float, int]:
    """Seed-to-seed standard deviation pooled over candidates, and its degrees of freedom.

    sd^2 = sum_c sum_i (x_ci - mean_c)^2 / sum_c (n_c - 1); (NaN, 0) when no candidate has two seeds.
    """
    centred = rows[value] - rows.groupby("candidate_id")[value].transform("mean")
    freedom = int(len(rows) - rows["candidate_id"].nunique())
    return (math.sqrt(float((centred**2).sum()) / freedom), freedom) if freedom > 0 else (math.nan, 0)


def t_half_width(noise: tuple[float, int], seeds: pd.Series, other_seeds: int) -> pd.Series:
    """Half of the 95 % interval of differences of means: t(0.975, d) s sqrt(1/n + 1/m); NaN without replicates."""
    sd, freedom = noise
    error = sd * (1 / seeds.astype(float) + 1 / other_seeds) ** 0.5
    return error * (float(stats.t.ppf(0.975, freedom)) if freedom else math.nan)


def t_half_width_of(sd: pd.Series, n: pd.Series) -> pd.Series:
    """Half of the 95 % t interval of means, from the sd and number of their values: t(0.975, n - 1) sd / sqrt(n)."""
    quantiles = pd.Series(stats.t.ppf(0.975, (n - 1).clip(lower=1)), index=n.index)
    return quantiles * sd / n**0.5


def summarise_candidates(data: StudyData, level: Level | None) -> pd.DataFrame:
    """One row a candidate at a level: mean and sd over seeds, 95 % interval, latency, whether on the front.

    The interval uses the pooled seed sd s with its d degrees of freedom: mean +- t(0.975, d) s / sqrt(n), so
    that a candidate with one seed gets an honest one too. Latency is the measured median of a batch.
    """
    return data.once(("summary", level), lambda: _summarise(data, level)).copy()


def _summarise(data: StudyData, level: Level | None) -> pd.DataFrame:
    rows = level.rows(data.finished) if level else data.finished.iloc[:0]
    if rows.empty:
        return _empty_summary()
    sd, freedom = pooled_sd(rows)
    rows = rows.assign(_role=rows["role"].map(_ROLE_RANK).fillna(0))
    grouped = rows.groupby("candidate_id", sort=False)
    table = grouped.agg(
        notation=("notation", "first"),
        backbone=("backbone", "first"),
        role=("_role", "max"),
        n_blocks=("n_blocks", "first"),
        seeds=("map", "size"),
        map_mean=("map", "mean"),
        map_sd=("map", "std"),
        rank1=("rank1", "mean"),
        minp=("minp", "mean"),
        latency_ms=("latency_ms", "first"),
        latency_p5_ms=("latency_p5_ms", "first"),
        latency_p95_ms=("latency_p95_ms", "first"),
        batches_per_s=("batches_per_s", "first"),
        latency_measured=("latency_measured", "first"),
        peak_memory_mb=("peak_memory_mb", "first"),
        energy_j=("energy_j", "first"),
        params=("params", "first"),
        macs=("macs", "first"),
    ).reset_index()
    half = stats.t.ppf(0.975, freedom) * sd / np.sqrt(table["seeds"]) if freedom else np.full(len(table), np.nan)
    table["role"] = table["role"].map(_ROLES)
    table = table.assign(map_low=table["map_mean"] - half, map_high=table["map_mean"] + half)
    table["latency_measured"] = table["latency_measured"].fillna(False).astype(bool)
    return add_placements(table.assign(on_front=on_front(table, cost=data.cost)))


def _empty_summary() -> pd.DataFrame:
    columns = (
        *("candidate_id", "notation", "backbone", "role", "n_blocks", "seeds", "map_mean", "map_sd", "rank1", "minp"),
        *("latency_ms", "latency_p5_ms", "latency_p95_ms", "batches_per_s", "latency_measured"),
        *("peak_memory_mb", "energy_j", "params", "macs"),
        *("map_low", "map_high", "on_front", "block", "sites"),
    )
    return pd.DataFrame({column: pd.Series(dtype="object") for column in columns})


_ROLES = {0: "candidate", 1: "baseline", 2: "reference"}
_ROLE_RANK = {role: rank for rank, role in _ROLES.items()}
_MEASURED_COSTS = frozenset({"latency_ms", "peak_memory_mb", "energy_j"})


def on_front(table: pd.DataFrame, value: str = "map_mean", cost: str = "latency_ms") -> pd.Series:
    """Which rows no other row beats: none is at least as good in both and better in one.

    Rows without both numbers, or whose cost was predicted, are never on the front.
    """
    known = table[value].notna() & table[cost].notna()
    if cost in _MEASURED_COSTS and "latency_measured" in table:
        known &= table["latency_measured"].fillna(False).astype(bool)
    ordered = table[known].sort_values([cost, value], ascending=[True, False])
    best_before = ordered[value].cummax().shift(fill_value=-math.inf)
    better = ordered[value] > best_before
    # Equal twins (same time, same value) are all on the front: nobody beats them.
    leaders = ordered[better].set_index([cost, value]).index
    front = pd.MultiIndex.from_frame(ordered[[cost, value]]).isin(leaders)
    return pd.Series(front, index=ordered.index).reindex(table.index, fill_value=False)


def baseline_row(summary: pd.DataFrame, backbone: str) -> pd.Series | None:
    """The row of the plain backbone (no block), None when it was not trained at this level."""
    rows = summary[(summary["n_blocks"] == 0) & (summary["backbone"] == backbone)]
    exact = rows[rows["notation"] == backbone]
    chosen = exact if len(exact) else rows
    return None if chosen.empty else chosen.iloc[0]


def reference_row(summary: pd.DataFrame, backbone: str) -> pd.Series | None:
    """The row of the reference network that a placement must beat (another backbone, no block)."""
    rows = summary[(summary["role"] == "reference") | ((summary["n_blocks"] == 0) & (summary["backbone"] != backbone))]
    rows = rows[rows["backbone"] != backbone]
    return None if rows.empty else rows.sort_values("map_mean").iloc[-1]


def is_hopeless(summary: pd.DataFrame, backbone: str) -> pd.Series:
    """The paper's bar for leaving out: worse than the plain backbone, or slower than the reference and no better."""
    base, reference = baseline_row(summary, backbone), reference_row(summary, backbone)
    hopeless = pd.Series(False, index=summary.index)
    if base is not None:
        hopeless |= summary["map_mean"] < float(base["map_mean"])
    if reference is not None:
        slower = summary["latency_ms"] > float(reference["latency_ms"])
        hopeless |= slower & (summary["map_mean"] <= float(reference["map_mean"]))
    return hopeless & (summary["n_blocks"] > 0)
