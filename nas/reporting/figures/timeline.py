"""How a study went over time: the best training so far, and which trainings ran when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.numbers import plural
from nas.reporting.study_data import StudyData
from nas.results.levels import Level, plain_row
from nas.results.noise import block_codes, block_effects

MANY = 1500
"""Trainings from which a page would wait for single dots and bars."""


@dataclass(frozen=True)
class BestSoFar(StudyFigure):
    """Every finished training in the order in which they ended, the best so far, and the plain network."""

    level: Level | None = None
    name: ClassVar[str] = "best_so_far"
    title: ClassVar[str] = "Best training so far"

    def _table(self, data: StudyData) -> pd.DataFrame:
        level = self.level or data.widest
        rows = data.finished if level is None else level.rows(data.finished)
        plain = None if level is None else plain_row(data.candidates(level), data.backbone)
        moved = block_effects(rows, data.metric, shrunk=True)
        if plain is not None:  # whose line stands where the other figures have it
            own = (rows["map"] - moved)[rows["notation"] == plain["notation"]]
            moved = moved + own.groupby(block_codes(rows.loc[own.index])).mean().mean() - float(plain["map_adjusted"])
        rows = rows.assign(map=rows["map"] - moved).dropna(subset=["finished_at"])
        rows = rows.sort_values(["finished_at", "training_id"])
        best = rows["map"].cummax() if data.metric.more_is_better else rows["map"].cummin()
        rows = rows.assign(stage=data.trained_in(rows))
        table = rows[["training_id", "notation", "stage", "map"]].assign(best=best, number=np.arange(1, len(rows) + 1))
        table.attrs = {"level": level.words if level else "", "moved": bool(np.ptp(moved) > 0) if len(rows) else False}
        table.attrs["plain"] = None if plain is None else float(plain["map_adjusted"])
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if len(table) < 2:
            return "Two trainings must have finished before there is a course to draw."
        figure = style.new_figure(400)
        make = go.Scattergl if len(table) > MANY else go.Scatter
        for i, (stage, rows) in enumerate(table.groupby("stage", sort=False)):
            marker = {"size": 6, "symbol": "circle-open", "color": style.SERIES[i % len(style.SERIES)]}
            text = rows["notation"].map(style.plain)
            hover = "%{text}: %{y:.4f}, training %{x}<extra></extra>"
            dots = make(x=rows["number"], y=rows["map"], mode="markers", marker=marker, text=text)
            figure.add_trace(dots.update(name=style.plain(stage), hovertemplate=hover))
        line = {"shape": "hv", "width": 2, "color": style.INK}
        figure.add_trace(
            go.Scatter(
                x=table["number"], y=table["best"], mode="lines", line=line, name="best so far", hoverinfo="skip"
            )
        )
        if table.attrs.get("plain") is not None:
            ends, level = [1, len(table)], [table.attrs["plain"]] * 2
            line = {"width": 1.4, "dash": "dot", "color": style.MUTED}
            figure.add_trace(go.Scatter(x=ends, y=level, mode="lines", line=line, name="plain network, mean"))
        figure.update_xaxes(title_text="Finished trainings", **style.whole_ticks(len(table)))
        figure.update_yaxes(title_text=style.axis_title(style.metric_title(table), table), tickformat=".4~f")
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        moved = ", less what its seed moves for all alike" if table.attrs.get("moved") else ""
        return (
            f"A dot is one training{moved}; the line is the best of them so far. The best of many single trainings is "
            "lucky, too: how much better a candidate is, the answer says, which corrects for the choice."
        )


@dataclass(frozen=True)
class Timeline(StudyFigure):
    """When trainings ran: a row for each that ran at the same time, a bar a training.

    Its colour is the stage that had it trained; stages that asked for it later share it.
    """

    name: ClassVar[str] = "timeline"
    title: ClassVar[str] = "Timeline"

    def _table(self, data: StudyData) -> pd.DataFrame:
        columns = ["training_id", "notation", "stage", "status", "begin", "hours", "row"]
        rows = data.trainings.dropna(subset=["finished_at", "seconds"])
        rows = rows.assign(stage=data.trained_in(rows))
        if data.table is not None or rows.empty:
            empty = pd.DataFrame(columns=columns)
            empty.attrs = {"replayed": data.table is not None}
            return empty
        end = pd.to_datetime(rows["finished_at"], utc=True)
        begin = end - pd.to_timedelta(rows["seconds"].astype(float), unit="s")
        hours = (begin - begin.min()).dt.total_seconds() / 3600
        table = rows.assign(begin=hours, hours=rows["seconds"].astype(float) / 3600).sort_values("begin")
        table = table.assign(row=_rows(table["begin"], table["hours"]))[columns]
        table.attrs = {"untold": len(data.failed) - int(table["status"].eq("failed").sum())}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return (
                "Nothing was trained for this study, so there is no timeline."
                if table.attrs.get("replayed")
                else "No training has finished yet."
            )
        figure = style.new_figure(150 + 26 * (int(table["row"].max()) + 1))
        drawn = _merged(table) if len(table) > MANY else table
        for i, (stage, rows) in enumerate(drawn.groupby("stage", sort=False)):
            text = rows["notation"].map(style.plain)
            look = {"color": style.SERIES[i % len(style.SERIES)], "line": {"color": style.SURFACE, "width": 0.5}}
            hover = "%{text}<br>began after %{base:.3f} h, took %{customdata:.3f} h<extra></extra>"
            bars = go.Bar(base=rows["begin"], x=rows["hours"], y=rows["row"] + 1, orientation="h", marker=look)
            bars.update(name=style.plain(stage), text=text, textposition="none", customdata=rows["hours"])
            figure.add_trace(bars.update(hovertemplate=hover))
        figure.update_layout(barmode="overlay", bargap=0.15)
        figure.update_xaxes(title_text="Hours since the first training began", rangemode="tozero")
        figure.update_yaxes(title_text="At the same time", dtick=1, autorange="reversed", showgrid=False)
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        untold = table.attrs.get("untold", 0)
        failed = f" Without a time, so not drawn: {plural(untold, 'failed training')}." if untold else ""
        return f"A bar is a training; gaps are planning, timing, waiting or nobody at work.{failed}"


def _merged(table: pd.DataFrame) -> pd.DataFrame:
    """Trainings of a stage that followed each other closer than can be seen, as one bar."""
    ordered = table.sort_values(["row", "begin"])
    end = ordered["begin"] + ordered["hours"]
    same = (ordered["row"] == ordered["row"].shift()) & (ordered["stage"] == ordered["stage"].shift())
    close = ordered["begin"] - end.shift() < float(end.max()) / 500
    groups = ordered.assign(end=end).groupby((~(same & close)).cumsum(), sort=False)
    bars = groups.agg(stage=("stage", "first"), row=("row", "first"), begin=("begin", "first"), end=("end", "last"))
    counts = groups.size()
    return bars.assign(hours=bars["end"] - bars["begin"], notation=[plural(int(n), "training") for n in counts])


def _rows(begin: pd.Series, hours: pd.Series) -> list[int]:
    """The first row that is free when a training begins; a second of overlap is the clock's."""
    free: list[float] = []
    found = []
    for start, length in zip(begin, hours, strict=True):
        row = next((i for i, until in enumerate(free) if until <= start + 1 / 3600), len(free))
        free[row:] = [start + length, *free[row + 1 :]]
        found.append(row)
    return found
