"""Tables for people: candidates with their spread and speed, and the paper's Table I."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from nas.errors import NasError
from nas.reporting.document import Badge, Cell, Link, Stacked, Table, code, words
from nas.reporting.numbers import MISSING, count, fixed, is_missing, mean_sd, scaled
from nas.reporting.study_data import StudyData, records_of, rows_of
from nas.results.costs import COSTS
from nas.spaces.candidate import Candidate
from nas.spaces.labels import short_label
from nas.training.recipe import LOSS_SETUPS, load_recipe

SHOWN_ROWS = 200
"""Longer tables are cut in reports; the CSV file has every row."""


FIRST_NUMBER = 2
"""From this column of candidates on all are right-aligned."""


def cost_heading(column: str) -> str:
    """The heading of a column of what is paid.

    >>> cost_heading("latency_ms"), cost_heading("energy_j")
    ('ms per batch', 'energy (J)')
    """
    cost = COSTS[column]
    return "ms per batch" if cost.kind == "timed" else f"{cost.title} ({cost.unit})"


def cost_cell(value: object, column: str) -> str:
    """What is paid, in the unit of `cost_heading`."""
    return scaled(value, COSTS[column].scale, 2 if COSTS[column].kind == "timed" else 3)


def candidate_heads(data: StudyData) -> tuple[str, ...]:
    """The headings of `candidate_rows`."""
    return (
        *("candidate", "", data.metric.title, "rank-1", "mINP", "seeds"),
        *("ms per batch", "batches/s", "params (M)", "GMAC"),
        *(cost_heading(cost.column) for cost in data.further_costs),
    )


def candidate_table(summary: pd.DataFrame, data: StudyData, caption: str, name: str) -> Table:
    """Candidates with the metric, rank-1, mINP, time, size and what else is paid.

    The longest tables are cut, and say so. Those to quote stand first, those that failed in every training last.
    """
    summary = summary.sort_values(["quoted"], ascending=False, kind="stable")
    summary = pd.concat([summary[summary["trainings"] > 0], summary[summary["trainings"] == 0]])
    heads, rows = candidate_heads(data), candidate_rows(summary.head(SHOWN_ROWS), data)
    cut = len(summary) - len(rows)
    more = f"{count(cut)} more rows are in pareto.csv." if cut > 0 else ""
    note = " ".join(filter(None, (_spread_words(summary), more)))
    return Table(heads, rows, caption, note, name, frozenset(range(FIRST_NUMBER, len(heads))))


def _spread_words(summary: pd.DataFrame) -> str:
    return "± is the sd over seeds, with what a seed moves for all alike." if summary["map_sd"].notna().any() else ""


def candidate_rows(
    summary: pd.DataFrame, data: StudyData, link: Callable[[str], str] | None = None
) -> list[list[Cell]]:
    """One row a candidate, columns `candidate_heads`; `link` gives the address of a candidate's page by its id."""
    further = [cost.column for cost in data.further_costs]
    return [_candidate_row(row, further, link) for row in records_of(summary)]


def _candidate_row(row: dict[str, object], further: Sequence[str], link: Callable[[str], str] | None) -> list[Cell]:
    predicted = "" if row["latency_measured"] or is_missing(row["latency_ms"]) else " (predicted)"
    return [
        _named(row, link),
        _standing(row),
        mean_sd(row["map_mean"], row["map_sd"]),
        fixed(row["rank1"], 4),
        fixed(row["minp"], 4),
        count(row["seeds"]),
        fixed(row["latency_ms"], 2) + predicted,
        fixed(row["batches_per_s"], 2),
        scaled(row["params"], 1e6, 2),
        scaled(row["macs"], 1e9, 3),
        *(cost_cell(row[column], column) for column in further),
    ]


def _named(row: dict[str, object], link: Callable[[str], str] | None) -> Cell:
    """The candidate, with what was noted of it below."""
    if link is not None:
        return Link(str(row["notation"]), link(str(row["candidate_id"])), str(row["note"]))
    return Stacked(code(row["notation"]), words(row["note"])) if row["note"] else code(row["notation"])


def _standing(row: dict[str, object]) -> Badge:
    if not row["trainings"]:
        return Badge("failed", "bad")
    if row["on_front"]:
        return Badge("front", "good")
    if not row["quoted"]:
        return Badge("not to quote", "quiet")
    return Badge(str(row["role"]) if row["role"] != "candidate" else "", "quiet")


def systems_rows(data: StudyData) -> pd.DataFrame:
    """The rows of a table like the paper's Table I: system, loss, mean and sd, batches/s; fewest blocks first."""
    summary = data.candidates(data.quoted)
    if summary.empty:
        return pd.DataFrame(columns=["system", "loss", "map_mean", "map_sd", "seeds", "batches_per_s", "notation"])
    summary = summary[summary["quoted"].astype(bool)]
    table = summary.assign(
        system=[short_label(str(notation).partition("[")[0]) for notation in summary["notation"]],
        loss=[loss_of(str(notation), data) for notation in summary["notation"]],
    )
    order = table.sort_values(["loss", "n_blocks", "batches_per_s"], ascending=[True, True, True])
    columns = ["system", "loss", "map_mean", "map_sd", "seeds", "batches_per_s", "latency_ms", "notation", "on_front"]
    return order[columns].reset_index(drop=True)


def loss_of(notation: str, data: StudyData) -> str:
    """The loss a candidate was trained with, by the name of its set-up; a dash where its recipe no longer reads."""
    try:
        recipe = load_recipe(data.definition.get("recipe") or "strong_baseline")
        own = {key: value for key, value in Candidate.parse(notation).recipe if key == "loss"}
        loss = recipe.with_overrides(own).loss
        return next((name for name, terms in LOSS_SETUPS.items() if "+".join(terms) == loss), loss)
    except NasError:
        return MISSING


def systems_table(data: StudyData) -> Table:
    """Table I of the paper with this study's numbers."""
    frame = systems_rows(data).head(SHOWN_ROWS)
    rows: list[list[Cell]] = [
        [code(r.system), str(r.loss), mean_sd(r.map_mean, r.map_sd), count(r.seeds), fixed(r.batches_per_s, 2)]
        for r in rows_of(frame)
    ]
    level = data.quoted
    caption = (
        f"Systems as in the paper's Table I: {data.metric.words} (mean ± sd over seeds; "
        f"{level.words if level else ''}) and speed."
    )
    headings = ["attention @ positions", "loss", data.metric.title, "seeds", "batches/s"]
    return Table(headings, rows, caption, _spread_words(frame), name="systems", numeric=frozenset({2, 3, 4}))
