"""The rules a study derived: sentence, evidence, price, verdict - the rejected and undecided ones too."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nas.reporting.document import Badge, Block, Bullets, Cell, Paragraph, Section, Stacked, Table, words
from nas.reporting.finding_rows import VERDICTS, finding_table
from nas.reporting.numbers import count, interval, p_value, plural, signed
from nas.reporting.shrink_steps import named_steps, not_asked
from nas.reporting.story.drawn import figure_block
from nas.reporting.story.shrinking import because
from nas.reporting.study_data import StudyData, records_of
from nas.results.columns import Metric


def rules(data: StudyData) -> Section:
    """All findings with their evidence; why nothing is known when there are none."""
    table = finding_table(data.findings)
    sentences = not_asked(list(data.stages))
    unasked: list[Block] = [Bullets([words(sentence) for sentence in sentences])] if sentences else []
    if table.empty:
        return Section("rules", "Rules", [Paragraph(why_none(data)), *unasked])
    blocks: list[Block] = [
        Paragraph(_summary_words(table)),
        rule_table(table, data.metric),
        *unasked,
        figure_block("rule_effects", data),
    ]
    blocks.append(
        Paragraph(
            f"Effects are differences in {data.metric.title} with 95 % intervals; p values are adjusted for all "
            "hypotheses of a stage, or of a round of one that has rounds (Benjamini-Hochberg). A hard rule excludes "
            "candidates, a preference orders those admitted. The adopted rules are in rules.yaml, ready for "
            "`nas rules apply`."
        )
    )
    return Section("rules", "Rules, with evidence and verdicts", blocks)


def why_none(data: StudyData) -> str:
    """Why there are no findings."""
    if any("shrink" in str(stage.get("kind")) and stage.get("status") == "finished" for stage in data.stages):
        why = "".join(dict.fromkeys(because(step) for _, step in named_steps(list(data.stages))))
        return f"No rule was found to examine{why}."
    return "No rule has been examined yet; stages after a sweep derive them."


def _summary_words(table: pd.DataFrame) -> str:
    counts = table["verdict"].value_counts()
    parts = [f"{int(counts.get(verdict, 0))} {verdict}" for verdict in VERDICTS]
    return f"{plural(len(table), 'rule')} examined: {', '.join(parts)}."


def rule_table(table: pd.DataFrame, metric: Metric) -> Table:
    """One row a finding."""
    rows = [_rule_row(row) for row in records_of(table)]
    headings = ["verdict", "rule", f"{metric.title} by following it", "95 % interval", "p adjusted", "trainings"]
    headings += ["ms per batch by following it"]
    return Table(headings, rows, name="rules", numeric=frozenset({2, 3, 4, 5, 6}))


def _rule_row(row: dict[str, Any]) -> list[Cell]:
    details = [str(row["strength"]), f"stage {words(row['stage'])}" if row["stage"] else "", words(row["reason"])]
    return [
        Badge(str(row["verdict"]), VERDICTS.get(str(row["verdict"]), "quiet")),
        Stacked(words(row["sentence"]), " · ".join(part for part in details if part)),
        signed(row["effect"]),
        interval(row["low"], row["high"]),
        p_value(row["p_adjusted"]),
        count(row["trainings"]),
        signed(row["latency_ms"], 2),
    ]
