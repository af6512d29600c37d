"""What was tried: stages, trainings, and the spaces they ran in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nas.reporting.document import Badge, Block, Cell, Section, Stacked, Table, code, words
from nas.reporting.findings import rule_words
from nas.reporting.numbers import MISSING, count, fixed, hours, interval, p_value, signed
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
    spaces = {space.get("id"): space for space in data.spaces}
    rows = [_space_row(space, spaces.get(space.get("parent_id"))) for space in data.spaces]
    heads = ["design space", "candidates", "of its parent", "verdict", "area between EDFs", "KS p", "new rules"]
    caption = "Design spaces: each stage trains in the space the stage before left."
    return Table(heads, rows, caption, name="spaces", numeric=frozenset({1, 2, 4, 5}))


def _space_row(space: Mapping[str, Any], parent: Mapping[str, Any] | None) -> list[Cell]:
    said = space.get("confirmation") or {}
    share = float(space.get("size") or 0) / float(parent["size"]) if parent and parent.get("size") else None
    before = [rule_words(rule) for rule in (parent or {}).get("rules") or ()]
    new = [rule_words(rule) for rule in space.get("rules") or () if rule_words(rule) not in before]
    bounds = interval(said.get("low"), said.get("high"))
    return [
        Stacked(code(space.get("name", "")), words(space.get("stage") or "")),
        count(space.get("size")),
        MISSING if share is None else f"{fixed(100 * share, 3)} %",
        _verdict(space, parent),
        signed(said.get("area")) if bounds == MISSING else f"{signed(said.get('area'))} {bounds}",
        p_value(said.get("ks_p")),
        "; ".join(words(rule) for rule in new) or MISSING,
    ]


def _verdict(space: Mapping[str, Any], parent: Mapping[str, Any] | None) -> Badge:
    if parent is None:
        return Badge("start")
    if space.get("adopted") is None:
        return Badge("not decided")
    return Badge("kept", "good") if space["adopted"] else Badge("undone", "bad")
