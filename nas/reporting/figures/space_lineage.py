"""Lineage of design spaces: how many candidates each holds, and the rules that made it from its parent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.finding_rows import rule_words
from nas.reporting.numbers import count
from nas.reporting.study_data import StudyData, rows_of

_ROW_PX = 64


@dataclass(frozen=True)
class SpaceLineage(StudyFigure):
    """One bar a space on a logarithmic axis, parents first; under a child's bar the first `rules_shown` new rules."""

    rules_shown: int = 2
    name: ClassVar[str] = "space_lineage"
    title: ClassVar[str] = "Lineage of the design space"

    def _table(self, data: StudyData) -> pd.DataFrame:
        rules = {space.get("id"): [rule_words(rule) for rule in space.get("rules") or ()] for space in data.spaces}
        rows = [
            {
                "space": str(space.get("name", "")),
                "size": float(space.get("size") or float("nan")),
                "depth": _depth(space.get("id"), {s.get("id"): s.get("parent_id") for s in data.spaces}),
                "stage": space.get("stage"),
                "adopted": space.get("adopted", True) is not False,
                "new_rules": [r for r in rules[space.get("id")] if r not in rules.get(space.get("parent_id"), [])],
            }
            for space in data.spaces
        ]
        return pd.DataFrame(rows, columns=["space", "size", "depth", "stage", "adopted", "new_rules"])

    def draw(self, table: pd.DataFrame) -> Drawing:
        known = table.dropna(subset=["size"])
        if known.empty:
            return "No design space is known yet."
        figure = style.new_figure(96 + _ROW_PX * len(known))
        places = list(range(len(known)))
        figure.add_trace(
            go.Bar(
                x=known["size"].clip(lower=1),
                y=places,
                orientation="h",
                width=0.36,
                marker={"color": style.ACCENT, "opacity": [0.85 if adopted else 0.3 for adopted in known["adopted"]]},
                customdata=[[style.plain(r.space), count(r.size), _rules_hover(r.new_rules)] for r in rows_of(known)],
                hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]} candidates%{customdata[2]}<extra></extra>",
                showlegend=False,
            )
        )
        for place, row in zip(places, rows_of(known), strict=True):
            self._annotate(figure, place, row)
        figure.update_xaxes(type="log", title_text="Candidates in the space (log scale)", rangemode="tozero")
        end = float(len(str(int(known["size"].max()))))
        figure.update_xaxes(range=[0, end], exponentformat="power", dtick=max(1, round(end / 8)))
        figure.update_yaxes(visible=False, range=[len(known) - 0.4, -0.72])
        figure.update_layout(margin={"l": 20})
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        return (
            "Each bar is a design space, counted exactly. A child holds the candidates of its parent that keep the "
            "rules written under it; pale bars are shrinks that were rejected and undone."
        )

    def _annotate(self, figure: go.Figure, place: int, row: Any) -> None:
        indent = "   " * int(row.depth)
        arrow = "↳ " if row.depth else ""
        name = f"{indent}{arrow}<b>{style.plain(row.space)}</b>  {count(row.size)}"
        rules = _rules_words(row.new_rules, self.rules_shown)
        shared = {"x": 0, "xref": "paper", "xanchor": "left", "showarrow": False, "align": "left"}
        figure.add_annotation(**shared, y=place - 0.2, yanchor="bottom", text=name, font={"size": 13})
        if rules:
            text = f"{indent}{rules}"
            figure.add_annotation(
                **shared, y=place + 0.19, yanchor="top", text=text, font={"size": 11, "color": style.MUTED}
            )


def _depth(space_id: object, parents: dict[object, object]) -> int:
    depth, seen = 0, {space_id}
    while (space_id := parents.get(space_id)) is not None and space_id not in seen:
        seen.add(space_id)
        depth += 1
    return depth


def _rules_words(rules: list[str], shown: int) -> str:
    words = [style.plain(rule if len(rule) <= 70 else f"{rule[:67]}…") for rule in rules[:shown]]
    more = [f"and {len(rules) - shown} more"] if len(rules) > shown else []
    return "; ".join(words + more)


def _rules_hover(rules: list[str]) -> str:
    return "".join(f"<br>{style.plain(rule)}" for rule in rules[:12])
