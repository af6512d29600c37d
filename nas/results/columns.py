"""The columns of a results table: one list of names, types, units, directions and meanings.

Storage writes these columns, statistics and figures read them, the reference page prints them. What was not measured is
missing (NaN or None), never 0. A table may lack any column but `notation`, `status` and the metric's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from nas.errors import StudyError

Direction = Literal["more", "less", ""]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: as in tables and CSV files.
        dtype: `text`, `count`, `number`, `flag` or `time` (UTC).
        meaning: in a few words.
        unit: of numbers; empty for fractions and counts.
        better: whether more or less of it is better; empty where neither is.
    """

    name: str
    dtype: Literal["text", "count", "number", "flag", "time"]
    meaning: str
    unit: str = ""
    better: Direction = ""


@dataclass(frozen=True)
class Metric:
    """What trainings are judged by.

    Attributes:
        column: where it stands in a results table.
        words: its name for people.
        unit: of a value, behind the number; empty for a fraction.
        more_is_better: direction.
    """

    column: str = "map"
    words: str = "mAP"
    unit: str = ""
    more_is_better: bool = True

    @property
    def title(self) -> str:
        """Its name with its unit, as axes and headings show it."""
        return f"{self.words} ({self.unit})" if self.unit else self.words

    @property
    def suffix(self) -> str:
        """What stands behind a number of it: the unit, or the name where there is none."""
        return self.unit or self.words

    @property
    def sign(self) -> float:
        """+1 where more is better, else -1."""
        return 1.0 if self.more_is_better else -1.0


MAP = Metric()
"""Mean average precision, as a fraction."""


def metric_of(definition: Mapping[str, Any]) -> Metric:
    """What a study's candidates are judged by, from its definition as plain data.

    What one's own trainer gives stands in the column `map`, too, so that more of it is better: where less is, its
    negative does.

    >>> metric_of({"objective": {"judged": "error", "metrics": {"error": {"unit": "%", "better": "less"}}}}).words
    '-error'
    """
    objective = definition.get("objective") or {}
    name = objective.get("judged") or MAP.column
    settings = (objective.get("metrics") or {}).get(name) or {}
    if name == MAP.column:
        return MAP
    return Metric(words=name if settings.get("better", "more") == "more" else f"-{name}", unit=settings.get("unit", ""))


RESULTS: tuple[Column, ...] = (
    Column("study", "text", "study that asked for the training"),
    Column("stage", "text", "stage of that study"),
    Column("stage_kind", "text", "kind of the stage: sweep, search, confirm, ..."),
    Column("role", "text", "candidate, baseline, reference, or a role of the stage's own"),
    Column("sampler", "text", "what proposed the candidate"),
    Column("batch", "count", "proposals made together"),
    Column("training_id", "count", "the training; one that several stages asked for has a row in each"),
    Column("candidate_id", "text", "hash of the candidate"),
    Column("architecture_id", "text", "hash of the candidate without its recipe values"),
    Column("notation", "text", "the candidate, e.g. `resnet50+cnl@6,8,14`"),
    Column("backbone", "text", "its backbone"),
    Column("n_blocks", "count", "blocks that were put in"),
    Column("fidelity", "text", "label of the fidelity: length, image size, share of the identities"),
    Column("epochs", "count", "epochs of the training"),
    Column("start", "text", "weights it began with: `scratch`, or `plain:` or `checkpoint:` and their hash"),
    Column("code", "text", "hash of the code of own blocks; empty where there are none"),
    Column("seed", "count", "seed; trainings with one seed see the same batches and form a block"),
    Column("split", "text", "what it was read on: `val` (identities held out of training) or `test`"),
    Column("status", "text", "waiting, running, finished or failed"),
    Column("failure_kind", "text", "why it failed"),
    Column("map", "number", "mean average precision of the last epoch, a fraction", better="more"),
    Column("rank1", "number", "share of queries whose nearest image is right", better="more"),
    Column("minp", "number", "mean inverse negative penalty, a fraction", better="more"),
    Column("latency_ms", "number", "time of a batch, without the machine's drift", "ms", "less"),
    Column("latency_p5_ms", "number", "5th percentile of the batches' times", "ms", "less"),
    Column("latency_p95_ms", "number", "95th percentile of the batches' times", "ms", "less"),
    Column("latency_low_ms", "number", "lower end of the time's 95 % interval", "ms", "less"),
    Column("latency_high_ms", "number", "upper end of the time's 95 % interval", "ms", "less"),
    Column("batches_per_s", "number", "speed, from the time", "1/s", "more"),
    Column("latency_measured", "flag", "False where the time was predicted"),
    Column("latency_how", "text", "how the time is known: paired, corrected, table or predicted"),
    Column("latency_unknown", "text", "why a network that was timed has no time"),
    Column("peak_memory_mb", "number", "peak memory of a batch", "MB", "less"),
    Column("energy_j", "number", "energy of a batch", "J", "less"),
    Column("params", "count", "parameters", "", "less"),
    Column("macs", "count", "multiply-adds of an image", "", "less"),
    Column("activations", "count", "elements that layers put out for an image", "", "less"),
    Column("seconds", "number", "time that the training took", "s", "less"),
    Column("images_per_s", "number", "speed of the training", "1/s", "more"),
    Column("finished_at", "time", "when it ended"),
    Column("space_id", "text", "hash of the design space it was drawn in"),
)
"""The results table: one row a (stage, training)."""

RESULT_COLUMNS: tuple[str, ...] = tuple(column.name for column in RESULTS)
NUMBERS: tuple[str, ...] = tuple(c.name for c in RESULTS if c.dtype in ("count", "number"))
ELSEWHERE = ("source", "follows", "rest", "plain", "single", "several", "tune")
"""Roles of trainings that answer another question than the study's front: other data, other backbones,
or which recipe."""
CONFIRM = "confirm"


def needed(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The table, which has these columns.

    Raises:
        StudyError: one is missing; it is named with those that are needed.
    """
    for column in columns:
        if column not in table:
            raise StudyError(f"the results table has no column {column!r}; it needs {', '.join(columns)}")
    return table


def confirming(table: pd.DataFrame) -> pd.Series:
    """Which rows a `confirm` stage asked for, without those that stopped at a rung: nothing is confirmed there."""
    return _of_confirm(table) & ~at_rung(table)


def _of_confirm(table: pd.DataFrame) -> pd.Series:
    return table["stage_kind"].eq(CONFIRM) if "stage_kind" in table else pd.Series(False, index=table.index)


def at_rung(table: pd.DataFrame) -> pd.Series:
    """Which rows stopped at a rung, before the end of their schedule or where it was planned to end: by fidelity."""
    if "fidelity" not in table:
        return pd.Series(False, index=table.index)
    return table["fidelity"].astype(str).str.contains(r"(?:^|-)to\d+$")


def left_behind(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of networks that `confirm` stages ended at a rung: trained to it, and not confirmed.

    None before the last rung was asked for: until then others may still go on.
    """
    on = table[confirming(table)]
    if "role" in table and not on["role"].eq("candidate").any():
        return table.iloc[:0]
    over = table["status"].eq("finished") & ~table["notation"].isin(set(on["notation"]))
    return table[_of_confirm(table) & at_rung(table) & over]


def comparable(table: pd.DataFrame) -> pd.Series:
    """Which rows answer the study's own question."""
    if "role" not in table:
        return pd.Series(True, index=table.index)
    return ~table["role"].isin(ELSEWHERE)


def trainings(table: pd.DataFrame) -> pd.DataFrame:
    """One row a training: what several stages asked for is kept once, where it was asked for last.

    A confirm stage goes before any other, and one that answers the study's question before one that answers another: a
    training that was confirmed, or is a control, stays so whatever is asked of it later.

    An id is one database's: rows of several are told apart by what was trained and came out, and rows without an id are
    a training each.
    """
    if "training_id" not in table:
        return table
    same = [column for column in ("training_id", "notation", "seed", MAP.column) if column in table]
    shared = np.flatnonzero(table.duplicated(same, keep=False) & table["training_id"].notna())
    if not len(shared):
        return table
    asked = table.iloc[shared]
    order = shared[np.argsort(2 * confirming(asked) + comparable(asked), kind="stable")]
    spare = order[table.iloc[order].duplicated(same, keep="last")]
    return table.iloc[np.delete(np.arange(len(table)), spare)]


def finished(table: pd.DataFrame, metric: Metric = MAP) -> pd.DataFrame:
    """Trainings that ended with a finite value of the metric.

    One that calls itself finished without a number has failed, whatever it says.
    """
    rows, valued = _valued(table, metric)
    return rows[rows["status"].eq("finished") & valued]


def failed(table: pd.DataFrame, metric: Metric = MAP) -> pd.DataFrame:
    """Trainings that ended without a value: they are counted and ranked last, never averaged."""
    rows, valued = _valued(table, metric)
    return rows[rows["status"].eq("failed") | (rows["status"].eq("finished") & ~valued)]


def _valued(table: pd.DataFrame, metric: Metric) -> tuple[pd.DataFrame, pd.Series]:
    """One row a training, and whether it has a finite value."""
    rows = trainings(needed(table, "notation", "status", metric.column))
    value = pd.to_numeric(rows[metric.column], errors="coerce")
    return rows, value.notna() & value.abs().ne(float("inf"))
