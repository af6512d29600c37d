"""What was tried: stages and their trainings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nas.reporting.document import Badge, Section, Table, code
from nas.reporting.numbers import count, hours
from nas.reporting.story.setting import value_words
from nas.reporting.study_data import StudyData

STATUS_TONES = {"finished": "good", "failed": "bad", "running": "warn", "waiting": "quiet"}


def tried(data: StudyData) -> Section:
    """Stages with their counts."""
    return Section("tried", "What was tried", [_stage_table(data)])


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
