"""Spread of the times of a few networks: what a batch takes, and how surely that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.notations import block_label
from nas.reporting.study_data import StudyData, rows_of
from nas.spaces.labels import short_label

_COLUMNS = ("notation", "latency_ms", "latency_low_ms", "latency_high_ms", "latency_p5_ms", "latency_p95_ms")


@dataclass(frozen=True)
class LatencySpread(StudyFigure):
    """A line a network: 5th to 95th percentile of single batches, thicker the 95 % interval of its time.

    Of `notations`, or of the front and the plain networks; `rows` at most.
    """

    notations: tuple[str, ...] = ()
    rows: int = 16
    name: ClassVar[str] = "latency_spread"
    title: ClassVar[str] = "Spread of times"

    def _table(self, data: StudyData) -> pd.DataFrame:
        known = data.results.drop_duplicates("notation")[list(_COLUMNS)].dropna(subset=["latency_ms"])
        summary = data.candidates(data.quoted)
        default = summary[summary["on_front"] | (summary["n_blocks"] == 0)]["notation"] if len(summary) else ()
        chosen = [*(self.notations or default)]
        table = known[known["notation"].isin(chosen)].sort_values("latency_ms").head(self.rows)
        table.attrs = {"batch": data.batch_words}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return "No time of these networks is known yet."
        names = [style.plain(short_label(str(name))) for name in table["notation"]]
        figure = style.new_figure(110 + 34 * len(table))
        for name, row in zip(names, rows_of(table), strict=True):
            colour = style.block_colour(block_label(str(row.notation)))
            ends = ((row.latency_p5_ms, row.latency_p95_ms, 2), (row.latency_low_ms, row.latency_high_ms, 7))
            for low, high, width in ends:
                if low == low and high == high:
                    look: dict[str, Any] = {
                        "mode": "lines+markers",
                        "marker": {"size": 1, "color": colour},
                        "hoverinfo": "skip",
                    }
                    look |= {"line": {"color": colour, "width": width}, "showlegend": False}
                    figure.add_trace(go.Scatter(x=[low, high], y=[name, name], **look))
            marker = {"color": colour, "size": 11, "line": {"color": style.SURFACE, "width": 1}}
            dot = go.Scatter(x=[row.latency_ms], y=[name], mode="markers", marker=marker, showlegend=False)
            figure.add_trace(dot.update(hovertemplate="%{y}: %{x:.3f} ms<extra></extra>"))
        figure.update_xaxes(
            title_text=f"Time of a {table.attrs.get('batch', 'batch')} (ms, less is better)", minallowed=0
        )
        figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], range=[-0.7, len(names) - 0.3])
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        missing = int(table["latency_low_ms"].isna().sum())
        unknown = f" Of {missing} of them the interval is not known." if missing else ""
        return (
            "Dot: the time that counts; thick line: its 95 % interval; thin line: 5th to 95th percentile of single "
            f"batches. Colour is the block type.{unknown}"
        )
