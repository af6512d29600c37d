"""Files beside a report: the table of candidates, the numbers of each figure, the rules.

Every file is written beside its place and moved there, so that a full disk leaves no half file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nas.errors import StudyError
from nas.files.shown import csv_text
from nas.files.whole import write_text
from nas.reporting.document import FigureBlock
from nas.reporting.study_data import StudyData

PARETO_COLUMNS: tuple[str, ...] = (
    *("split", "fidelity", "start", "notation", "role", "n_blocks", "quoted", "on_front"),
    *("map_mean", "map_sd", "map_low", "map_high", "map_beside", "map_adjusted", "seeds", "failed", "rank1", "minp"),
    *("latency_ms", "latency_p5_ms", "latency_p95_ms", "batches_per_s", "latency_measured"),
    *("params", "macs", "star", "tags", "comment", "candidate_id"),
)
"""Columns of pareto.csv, and what else the study pays with behind them: one row a candidate and comparable level; empty
cells are not measured. `map_sd` and the interval hold what seeds move for all alike; `map_beside`, half of the interval
beside others of the same seeds, does not. The front goes by `map_adjusted`: the mean, less what other seeds than those
of most to quote move for all alike."""


def pareto_table(data: StudyData) -> pd.DataFrame:
    """One row a candidate and level, best first; the front is marked."""
    columns = list(dict.fromkeys([*PARETO_COLUMNS, *data.costs]))
    tables = [
        pd.concat([data.candidates(level), data.failed_candidates(level)]).assign(
            split=level.split, fidelity=level.fidelity, start=level.start
        )
        for level in data.levels
    ]
    if not tables:
        return pd.DataFrame(columns=columns)
    ordered = [table.sort_values(["quoted", "on_front", "map_mean"], ascending=False) for table in tables]
    return pd.concat(ordered, ignore_index=True)[columns]


def write_pareto_csv(data: StudyData, path: Path) -> Path:
    """pareto.csv: full precision, UTF-8, empty where nothing was measured."""
    return write_text(path, csv_text(pareto_table(data)))


def _public(table: pd.DataFrame) -> pd.DataFrame:
    """Without the columns that only serve drawing."""
    return table[[column for column in table.columns if not str(column).startswith("_")]]


def write_figure_tables(figures: Sequence[FigureBlock], folder: Path) -> list[Path]:
    """figures/NAME.csv for every figure that has numbers."""
    return [
        write_text(folder / f"{figure.name}.csv", csv_text(_public(figure.data)))
        for figure in figures
        if not figure.data.empty
    ]


RECORD = ".nas-report"
"""Empty file that says: what lies beside it was written by `nas report`, which may write it anew."""
_NAMES = (
    "report.html",
    "report.md",
    "pareto.csv",
    "paper.csv",
    "rules.yaml",
    "summary.pdf",
    "summary.png",
    "tables.tex",
)


def begin_report(folder: Path) -> None:
    """Marks a folder as a report's; a `StudyError` where it holds files of these names that no report left there."""
    here = [folder / name for name in _NAMES if (folder / name).exists()]
    if here and not (folder / RECORD).exists() and not _is_page(folder / "report.html"):
        raise StudyError(f"{here[0]} exists already and is of no report", "Give another folder, or move it away.")
    write_text(folder / RECORD, "")


def _is_page(path: Path) -> bool:
    """Whether a file is the page of a report, of before there were records."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return "· nas report</title>".encode() in file.read(4096)
