"""Which trainings may be compared: those of one level - the same data, split, recipe, fidelity and kind of start.

The number of seeds belongs to a candidate, not to the level: every table that quotes a candidate shows it. *To quote*
are the candidates of a `confirm` stage where there is one. Failed trainings stay: counted, ranked last, never averaged.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.errors import NasError
from nas.results.columns import MAP, Metric, comparable, confirming, failed, finished
from nas.results.cost_tables import COST_COLUMNS
from nas.results.noise import BLOCKS, block_codes, block_effects, noise_of
from nas.spaces.candidate import Candidate

ROLES = ("candidate", "control", "baseline", "reference")
"""Roles that a summary names; of several that one candidate had, the last."""
SCRATCH = "scratch"
_STARTS = {"plain": "from the trained plain network", "checkpoint": "from a checkpoint"}
"""Kinds of start beside random or published weights; which one it was, behind the colon, is a block (see `noise`)."""
SPLIT_WORDS = {"test": "test split", "val": "validation identities", "table": "the table's values"}
_FIDELITY_PARTS = (
    (r"(\d+)x(\d+)", "{0} x {1} px"),
    (r"i([\d.]+)", "{0} of the identities"),
    (r"to(\d+)", "rung at epoch {0}"),
    (r"inherit", "from the baseline's weights"),
)
_CARRIED = ("notation", "backbone", "n_blocks", *COST_COLUMNS, "params", "macs", "activations")
"""Columns that are the candidate's own, whatever the training."""


@dataclass(frozen=True)
class Level:
    """One comparable set of trainings.

    Attributes:
        split: `val` (identities held out of the training set) or `test`.
        fidelity: the fidelity's label, e.g. `e60`.
        epochs: epochs of the longest training at this level, NaN when unknown.
        candidates: how many candidates finished at this level.
        start: kind of start: `scratch`, `plain` or `checkpoint`.
        data: id of the data, by content; empty where the table does not say.
        recipe: id of the recipe; empty where the table does not say.
        confirmed: whether a `confirm` stage asked for trainings of this level, networks with blocks among them.
        controlled: whether a plain network finished at this level, and one with blocks to hold against it.
    """

    split: str
    fidelity: str
    epochs: float = field(default=math.nan, compare=False)
    candidates: int = field(default=0, compare=False)
    start: str = SCRATCH
    data: str = ""
    recipe: str = ""
    confirmed: bool = field(default=False, compare=False)
    controlled: bool = field(default=False, compare=False)

    @property
    def words(self) -> str:
        """The level for people: `validation identities, 60 epochs`."""
        start = [] if self.start == SCRATCH else [_STARTS.get(self.start, f"from {self.start}")]
        length = fidelity_words(self.fidelity, self.epochs, "" if self.split == "table" else None)
        parts = [SPLIT_WORDS.get(self.split, self.split), length, *start]
        return ", ".join(part for part in parts if part) or "all trainings"

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of a results table that belong to this level, in any state."""
        keys = level_keys(table)
        mine = (self.data, self.recipe, self.split, self.fidelity, self.start)
        here = np.logical_and.reduce([keys[name].eq(value) for name, value in zip(keys, mine, strict=True)])
        rows: pd.DataFrame = table[here & comparable(table)]
        return rows


def fidelity_words(label: str, epochs: float, unnamed: str | None = None) -> str:
    """How much of a full training a label says that was done.

    >>> fidelity_words("e60", 60.0), fidelity_words("full", math.nan)
    ('60 epochs', 'full')

    Args:
        label: of a fidelity.
        epochs: that were done, NaN where unknown.
        unnamed: what stands for a label that says nothing; None: itself.
    """
    length = [f"{int(epochs)} epoch{'' if epochs == 1 else 's'}"] if epochs == epochs else []
    parts = [part for part in label.split("-") if not re.fullmatch(r"e\d+|full", part)]
    return ", ".join(
        (length or ([] if parts else [label if unnamed is None else unnamed]))
        + [_fidelity_part(part) for part in parts]
    )


def _fidelity_part(part: str) -> str:
    """One part of a fidelity label in words; unknown parts as they are."""
    for pattern, words in _FIDELITY_PARTS:
        if match := re.fullmatch(pattern, part):
            return words.format(*match.groups())
    return part


def level_keys(table: pd.DataFrame) -> pd.DataFrame:
    """What trainings must share to be compared, as text; a column that the table lacks is the same for all."""
    start = _text(table, "start").str.partition(":")[0].replace("", SCRATCH)
    names = {"data": "dataset_id", "recipe": "recipe", "split": "split", "fidelity": "fidelity"}
    return pd.DataFrame({key: _text(table, column) for key, column in names.items()} | {"start": start})


def _text(table: pd.DataFrame, column: str) -> pd.Series:
    if column not in table:
        return pd.Series("", index=table.index, dtype=object)
    values = table[column].astype(object)
    return values.where(values.notna(), "").astype(str)


def levels(table: pd.DataFrame, metric: Metric = MAP) -> list[Level]:
    """The levels with finished trainings, the most trusted first: test before validation, long before short."""
    rows = finished(table, metric)
    rows = rows[comparable(rows)]
    if rows.empty:
        return []
    keys = level_keys(rows)
    found = [
        _level([str(part) for part in key], rows.loc[group.index]) for key, group in keys.groupby(list(keys), sort=True)
    ]
    return sorted(found, key=lambda level: (level.split != "test", -_or_zero(level.epochs), -level.candidates))


def _level(key: Sequence[str], rows: pd.DataFrame) -> Level:
    data, recipe, split, fidelity, start = key
    epochs = float(pd.to_numeric(rows["epochs"]).max()) if "epochs" in rows else math.nan
    plain = rows["notation"].map(is_plain).astype(bool)
    confirmed = bool((confirming(rows) & ~plain).any())
    number = int(rows["notation"].nunique())
    return Level(split, fidelity, epochs, number, start, data, recipe, confirmed, bool(plain.any() and not plain.all()))


def _or_zero(value: float) -> float:
    return value if value == value else 0.0


def quoted_level(found: Sequence[Level]) -> Level | None:
    """The level of `levels` to quote: the deepest with a confirm stage, else with a control, else the deepest."""
    several = [level for level in found if level.candidates > 1]
    ordered = [level for level in several if level.confirmed] + [level for level in several if level.controlled]
    return next(iter([*ordered, *several, *found]), None)


def widest_level(found: Sequence[Level]) -> Level | None:
    """The level of `levels` that saw the most candidates: what effects of placements are read from."""
    return max(found, key=lambda level: (level.candidates, _or_zero(level.epochs)), default=None)


@lru_cache(maxsize=1 << 16)
def controls_of(notation: str) -> tuple[str, ...]:
    """The plain networks that a candidate may be compared to, the best match first: its own recipe values, then none.

    >>> controls_of("resnet50+cnl@8[base_lr=0.0007]")
    ('resnet50[base_lr=0.0007]', 'resnet50')
    """
    try:
        candidate = Candidate.parse(notation)
    except NasError:  # an own block that is not installed here: its numbers are still worth comparing
        return (notation.partition("+")[0].partition("[")[0],)
    own = Candidate(candidate.backbone, (), candidate.backbone_params, candidate.recipe)
    return tuple(dict.fromkeys([own.notation, candidate.baseline.notation]))


def is_plain(notation: str) -> bool:
    """Whether a candidate is a backbone without blocks."""
    return notation in controls_of(notation)


def candidates(table: pd.DataFrame, level: Level | None, metric: Metric = MAP) -> pd.DataFrame:
    """One row a candidate of a level; those without any finished training last.

    Columns: the candidate's own (notation, backbone, costs, sizes), `role`, `seeds` (blocks of finished trainings),
    `trainings` (finished), `failed`, `<metric>_mean` (over blocks, each with the mean of its trainings: a control has
    many in one), `_sd` (between blocks), `_low`, `_high` (95 % interval of the mean, from the noise of the whole level;
    not known from one seed), `_beside` (half of the mean's 95 % interval beside others of its blocks: without what a
    block moves for all alike, where two candidates share two blocks), means of rank1 and minp, and `quoted`: whether
    its numbers are to quote (a confirm stage asked for it, or the level has none).

    Means over different blocks are not to be compared: `<metric>_adjusted` is the mean less what the candidate's blocks
    moved for all alike, told for the blocks that most of those to quote were trained in. It is their mean; what ranks,
    or is drawn beside others, goes by it.
    """
    rows = level.rows(table) if level is not None else table.iloc[:0]
    done, lost = finished(rows, metric), failed(rows, metric)
    both = pd.concat([done, lost])
    if both.empty:
        return _no_candidates(metric)
    noise = noise_of(done, metric)
    scores = [name for name in (metric.column, "rank1", "minp") if name in done]
    blocks = done.assign(block=_blocks_of(done)).groupby(["notation", "block"], sort=False)
    grouped = blocks[scores].mean().groupby("notation", sort=False)
    value = grouped[metric.column]
    summary = _carried(both).assign(
        seeds=value.size(),
        trainings=done.groupby("notation").size(),
        failed=lost.groupby("notation").size(),
        **{f"{metric.column}_mean": value.mean(), f"{metric.column}_sd": value.std()},
        **{name: grouped[name].mean() if name in done else np.nan for name in ("rank1", "minp")},
    )
    counted = {name: summary[name].fillna(0).astype(int) for name in ("seeds", "trainings", "failed")}
    summary = summary.assign(**counted)
    half = noise.whole.reach / np.sqrt(summary["seeds"].where(summary["seeds"] > 0))
    mean = summary[f"{metric.column}_mean"]
    beside = noise.single if noise.single.known else noise.whole
    shares = np.sqrt((1 / blocks.size()).groupby("notation").sum()) / summary["seeds"]
    asked = set(both["notation"][confirming(both)])
    summary = summary.assign(
        **{f"{metric.column}_low": mean - half, f"{metric.column}_high": mean + half},
        **{f"{metric.column}_beside": beside.reach * shares},
        quoted=summary.index.isin(asked) if level is not None and level.confirmed else True,
    )
    moved = _moved(done, set(summary.index[summary["quoted"].astype(bool)]), metric)
    summary[f"{metric.column}_adjusted"] = mean - moved.reindex(summary.index).fillna(0.0)
    order = mean.isna().sort_values(kind="stable").index
    return summary.loc[order].reset_index()


def plain_row(table: pd.DataFrame, backbone: str) -> pd.Series | None:
    """The row of the plain backbone in a table of candidates; None when it was not trained at this level."""
    rows = table[(table["n_blocks"] == 0) & (table["backbone"] == backbone)]
    exact = rows[rows["notation"] == backbone]
    chosen = exact if len(exact) else rows
    return None if chosen.empty else chosen.iloc[0]


def reference_row(table: pd.DataFrame, backbone: str, metric: Metric = MAP) -> pd.Series | None:
    """The row of the network that a placement must beat (another backbone, no block), the best of several."""
    rows = table[((table["role"] == "reference") | (table["n_blocks"] == 0)) & (table["backbone"] != backbone)]
    return None if rows.empty else rows.sort_values(f"{metric.column}_mean", ascending=metric.more_is_better).iloc[-1]


def _carried(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a candidate, by notation, with what does not depend on the training."""
    own = ["candidate_id", *(name for name in _CARRIED if name != "notation")]
    known = rows.assign(**{name: np.nan for name in own if name not in rows})
    first = known.groupby("notation", sort=False)[own].first()
    ranks = {role: rank for rank, role in enumerate(ROLES)}
    role = rows["role"].map(ranks).fillna(0) if "role" in rows else pd.Series(0, index=rows.index)
    last = role.groupby(rows["notation"], sort=False).max().astype(int).map(dict(enumerate(ROLES)))
    return first.assign(role=last, latency_measured=first["latency_measured"].eq(True))


def _blocks_of(done: pd.DataFrame) -> npt.NDArray[np.intp]:
    """(rows,) the block of each training; every training is its own where the table names none."""
    return block_codes(done) if any(name in done for name in BLOCKS) else np.arange(len(done))


def _moved(done: pd.DataFrame, quoted: Container[str], metric: Metric) -> pd.Series:
    """What each candidate's blocks moved its mean by, beside the set of blocks that is most common among the quoted."""
    moved = block_effects(done, metric, shrunk=True)
    told = pd.DataFrame({"notation": done["notation"], "block": _blocks_of(done), "effect": moved})
    own = told.drop_duplicates(["notation", "block"]).groupby("notation")
    effects = own["effect"].mean()
    if not moved.any():
        return effects
    blocks = own["block"].agg(frozenset)
    common = Counter(kept for name, kept in blocks.items() if name in quoted).most_common(1)
    alike = pd.Series([not common or kept == common[0][0] for kept in blocks], index=blocks.index)
    found: pd.Series = (effects - effects[alike].mean()).mask(alike, 0.0)
    return found


def _no_candidates(metric: Metric) -> pd.DataFrame:
    spread = [f"{metric.column}_{name}" for name in ("mean", "sd", "low", "high", "beside", "adjusted")]
    names = ["candidate_id", *_CARRIED, "role", "seeds", "trainings", "failed", *spread, "rank1", "minp", "quoted"]
    return pd.DataFrame({name: pd.Series(dtype="object") for name in names})
