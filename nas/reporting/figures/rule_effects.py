"""Rule effects: every examined rule's effect with its 95 % interval, by verdict."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.finding_rows import VERDICTS, finding_table
from nas.reporting.numbers import interval, signed
from nas.reporting.study_data import StudyData, rows_of

_LOOK = {
    "adopted": (style.GOOD, "circle"),
    "rejected": (style.BAD, "x"),
    "not enough data": (style.MIXED_COLOUR, "circle-open"),
}
_LABEL_WIDTH = 34


@dataclass(frozen=True)
class RuleEffects(StudyFigure):
    """A forest plot: one row a rule with an estimated effect, adopted ones first, `shown` at most."""

    shown: int = 30
    name: ClassVar[str] = "rule_effects"
    title: ClassVar[str] = "Effects of the examined rules"

    def _table(self, data: StudyData) -> pd.DataFrame:
        table = finding_table(data.findings)
        known = table[pd.to_numeric(table["effect"], errors="coerce").notna()]
        return known[["rule", "effect", "low", "high", "trainings", "verdict", "stage"]].head(self.shown)

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return "No rule has an estimated effect yet."
        figure = style.new_figure(110 + 44 * len(table))
        places = pd.Series(range(len(table)), index=table.index)
        figure.add_vline(x=0, line={"color": style.INK, "width": 1.2})
        for verdict in VERDICTS:
            rows = table[table["verdict"] == verdict]
            if len(rows):
                _add_rows(figure, rows, places[rows.index], verdict, style.plain(style.metric_of(table).suffix))
        figure.update_yaxes(
            tickvals=places.to_list(),
            ticktext=["<br>".join(map(style.plain, wrap(str(rule), _LABEL_WIDTH))) for rule in table["rule"]],
            tickfont={"color": style.INK},
            range=[len(table) - 0.4, -0.6],
            showgrid=False,
        )
        figure.update_xaxes(title_text=f"Effect on {style.metric_title(table)}, 95 % interval", tickformat="+.4~f")
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        return (
            f"The effect of following each rule: right of zero, following it raises {style.metric_of(table).words} "
            "(95 % intervals; none where it is not known). Rejected and undecided rules are kept: they are "
            "findings, too."
        )


def _add_rows(figure: go.Figure, rows: pd.DataFrame, places: pd.Series, verdict: str, suffix: str) -> None:
    colour, symbol = _LOOK[verdict]
    effect, low, high = (pd.to_numeric(rows[name], errors="coerce") for name in ("effect", "low", "high"))
    figure.add_trace(
        go.Scatter(
            x=effect,
            y=places,
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": symbol},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": (high - effect).to_numpy(dtype=float),
                "arrayminus": (effect - low).to_numpy(dtype=float),
                "color": colour,
                "thickness": 1.6,
                "width": 4,
            },
            customdata=[
                [style.plain(r.rule), f"{signed(r.effect)} {suffix} {interval(r.low, r.high)}", r.trainings]
                for r in rows_of(rows)
            ],
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}, %{customdata[2]} trainings<extra></extra>",
            name=verdict,
        )
    )
