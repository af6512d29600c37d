"""How the space was shrunk: what each step proposed, what fresh draws said, and why an automatic shrink ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.reporting.document import Badge, Block, Bullets, Cell, Paragraph, Section, Stacked, Table, code, words
from nas.reporting.finding_rows import rule_words
from nas.reporting.numbers import MISSING, count, interval, p_value, signed
from nas.reporting.shrink_steps import named_steps
from nas.reporting.story.drawn import figure_block
from nas.reporting.study_data import StudyData


def shrinking(data: StudyData) -> Section:
    """The lineage, every space with the decision about it, and steps that proposed none."""
    blocks: list[Block] = [figure_block("space_lineage", data)]
    if data.spaces:
        blocks.append(_table(data))
    steps = named_steps(list(data.stages))
    without = [f"{code(name)}: no rule passed{because(step)}." for name, step in steps if step.get("child_id") is None]
    edges = [(name, edge) for name, step in steps for edge in step.get("reopened") or ()]
    opened = [f"{code(name)}: {words(edge.get('reason') or '')}." for name, edge in edges]
    blocks += [Bullets(without)] if without else []
    blocks += [Paragraph("Edges that were too tight, moved outwards again:"), Bullets(opened)] if opened else []
    automatic = [stage for stage in data.stages if stage.get("kind") == "auto_shrink"]
    ended = [(stage.get("name"), stage.get("result") or {}) for stage in automatic]
    blocks += [Paragraph(f"{code(name)} ended{because(result)}.") for name, result in ended if result.get("why")]
    return Section("shrinking", "Design spaces, and how they were shrunk", blocks)


def because(result: Mapping[str, Any]) -> str:
    """Why a step proposed no space, behind a sentence; empty where no rule passed."""
    why = result.get("why")
    return f" because {words(why)}" if why and why != "no rule passed" else ""


def _table(data: StudyData) -> Table:
    spaces = {space.get("id"): space for space in data.spaces}
    return Table(
        [
            "design space",
            "candidates",
            "of its parent",
            "verdict",
            f"{data.metric.title}, child minus parent",
            "p, Kolmogorov-Smirnov",
            "new rules",
            "why",
        ],
        [_row(space, spaces.get(space.get("parent_id"))) for space in data.spaces],
        caption="Each proposal is judged on fresh uniform draws from both spaces; one that fails is undone.",
        name="spaces",
        numeric=frozenset({1, 2, 4, 5}),
    )


def _row(space: Mapping[str, Any], parent: Mapping[str, Any] | None) -> list[Cell]:
    said = space.get("confirmation") or {}
    share = float(space.get("size") or 0) / float(parent["size"]) if parent and parent.get("size") else None
    before = [rule_words(rule) for rule in (parent or {}).get("rules") or ()]
    new = [rule_words(rule) for rule in space.get("rules") or () if rule_words(rule) not in before]
    bounds = interval(said.get("low"), said.get("high"))
    return [
        Stacked(code(space.get("name", "")), words(space.get("stage") or "")),
        count(space.get("size")),
        MISSING if share is None else f"{100 * share:.3g} %",
        _verdict(space, parent),
        signed(said.get("area")) if bounds == MISSING else f"{signed(said.get('area'))} {bounds}",
        p_value(said.get("ks_p")),
        "; ".join(words(rule) for rule in new) or MISSING,
        words(space.get("why") or "") or MISSING,
    ]


def _verdict(space: Mapping[str, Any], parent: Mapping[str, Any] | None) -> Badge:
    if parent is None:
        return Badge("start")
    if space.get("adopted") is None:
        return Badge("not decided")
    return Badge("kept", "good") if space["adopted"] else Badge("undone", "bad")
