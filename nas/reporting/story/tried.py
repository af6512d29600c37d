"""What was tried: stages and their trainings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nas.reporting.document import Badge, Block, Section, Table, code
from nas.reporting.numbers import count, hours
from nas.reporting.story.setting import value_words
from nas.reporting.study_data import StudyData
from nas.results.columns import at_rung

STATUS_TONES = {"finished": "good", "failed": "bad", "running": "warn", "waiting": "quiet"}


def tried(data: StudyData) -> Section:
    """Stages with their counts, and how many trainings went on at each rung."""
    return Section("tried", "What was tried", [_stage_table(data), *rungs(data)])


def rungs(data: StudyData) -> list[Block]:
    """Trainings of candidates by rung, where a stage trains only its better candidates on."""
    with_rungs = data.results.loc[at_rung(data.results), "stage"].unique()
    rows = data.results[data.results["stage"].isin(with_rungs) & data.results["role"].eq("candidate")]
    if rows.empty:
        return []
    label = rows["fidelity"].astype(str).str.extract(r"-to(\d+)$", expand=False)
    rung = label.where(label.notna(), "the end").rename("rung")
    counted = rows.groupby(["stage", rung, "status"], sort=False).size().unstack(fill_value=0)
    counted = counted.reindex(columns=list(STATUS_TONES), fill_value=0).reset_index()
    cells = [[code(stage), at, *map(count, numbers)] for stage, at, *numbers in counted.itertuples(index=False)]
    caption = (
        "What is not taken on was behind the others there; it did not fail. Results of two rungs are never averaged."
    )
    heads = ["stage", "rung (epochs)", *STATUS_TONES]
    return [Table(heads, cells, caption, name="rungs", numeric=frozenset(range(2, 6)))]


def _stage_table(data: StudyData) -> Table:
    rows = [_stage_row(stage, data.results) for stage in data.stages]
    return Table(
        ["stage", "kind", "status", "settings", "candidates", "finished", "failed", "training time"],
        rows,
        caption="Stages in the order they ran; trainings shared by two stages count in both.",
        name="stages",
        numeric=frozenset({4, 5, 6, 7}),
    )


def _stage_row(stage: Mapping[str, Any], results: pd.DataFrame) -> list[str | Badge]:
    rows = results[results["stage"] == stage.get("name")]
    status = str(stage.get("status", "waiting"))
    return [
        code(stage.get("name", "")),
        str(stage.get("kind", "")),
        Badge(status, STATUS_TONES.get(status, "quiet")),
        value_words(stage.get("settings") or None),
        count(rows["candidate_id"].nunique()),
        count((rows["status"] == "finished").sum()),
        count((rows["status"] == "failed").sum()),
        hours(rows["seconds"].sum()) if rows["seconds"].notna().any() else "–",
    ]
