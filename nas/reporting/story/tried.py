"""What was tried: stages, trainings, and the spaces they ran in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nas.reporting.document import Badge, Block, Section, Table, code, words
from nas.reporting.findings import rule_words
from nas.reporting.numbers import count, hours
from nas.reporting.story.drawn import figure_block
from nas.reporting.story.setting import value_words
from nas.reporting.study_data import StudyData

STATUS_TONES = {"finished": "good", "failed": "bad", "running": "warn", "waiting": "quiet"}


def tried(data: StudyData) -> Section:
    """Stages with their counts, then the lineage of spaces."""
    blocks: list[Block] = [_stage_table(data), figure_block("space_lineage", data)]
    if data.spaces:
        blocks.append(_space_table(data))
    return Section("tried", "What was tried", blocks)


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


def _space_table(data: StudyData) -> Table:
    names = {space.get("id"): space.get("name") for space in data.spaces}
    rows = [
        [
            code(space.get("name", "")),
            count(space.get("size")),
            code(names.get(space.get("parent_id"), "")),
            "; ".join(words(rule_words(rule)) for rule in space.get("rules") or ()) or "–",
        ]
        for space in data.spaces
    ]
    return Table(
        ["design space", "candidates", "parent", "rules"],
        rows,
        caption="Design spaces: each stage trains in the space the stage before left.",
        name="spaces",
        numeric=frozenset({1}),
    )
