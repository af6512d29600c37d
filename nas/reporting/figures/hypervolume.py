"""Hypervolume of the front over trainings and over hours of training."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.comparison import Level, baseline_row, reference_row, summarise_candidates, widest_level
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.figures.pareto_front import UNITS
from nas.reporting.numbers import is_missing
from nas.reporting.study_data import StudyData, rows_of

_COLUMNS = ("trainings", "hours", "hypervolume", "stage", "notation")


@dataclass(frozen=True)
class Hypervolume(StudyFigure):
    """Area between the front and a reference point, as trainings finish.

    The reference point is the plain backbone's mAP (or the worst seen) at the reference network's cost (or the
    dearest seen); the cost is what the study pays with, usually time. A candidate counts from its first finished
    training on, with its mean over all its seeds.

    Args:
        level: which comparable set; the one with most candidates by default.
    """

    level: Level | None = None
    name: ClassVar[str] = "hypervolume"
    title: ClassVar[str] = "Hypervolume of the front"

    def table(self, data: StudyData) -> pd.DataFrame:
        level = self.level or widest_level(data)
        summary = summarise_candidates(data, level)
        known = summary.dropna(subset=[data.cost, "map_mean"])
        if level is None or known.empty:
            return pd.DataFrame(columns=list(_COLUMNS))
        base, slow = baseline_row(summary, data.backbone), reference_row(summary, data.backbone)
        floor = float(base["map_mean"]) if base is not None else float(known["map_mean"].min())
        dearest = known[data.cost].max()
        ceiling = float(dearest if slow is None or is_missing(slow[data.cost]) else slow[data.cost])
        points = known.set_index("candidate_id")[[data.cost, "map_mean"]].astype(float)
        table = _progress(_in_order(data, level), points, RunningFront(ceiling, floor))
        table.attrs = {"floor": floor, "ceiling": ceiling, "level": level.words, "unit": UNITS[data.cost]}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if len(table) < 2:
            return "The hypervolume needs two or more finished trainings with a measured cost."
        unit = table.attrs.get("unit", "ms")
        figure = style.new_figure(400)
        figure.set_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.05)
        for i, stage in enumerate(dict.fromkeys(table["stage"])):
            rows = _with_previous(table, stage)
            for column, axis in (("trainings", 1), ("hours", 2)):
                trace = go.Scatter(
                    x=rows[column],
                    y=rows["hypervolume"],
                    mode="lines",
                    line={"shape": "hv", "width": 2.2, "color": style.SERIES[i % len(style.SERIES)]},
                    name=style.plain(stage),
                    legendgroup=stage,
                    showlegend=axis == 1,
                    hovertemplate=f"%{{y:.4f}} mAP {unit} after %{{x:.4~g}}<extra>%{{fullData.name}}</extra>",
                )
                figure.add_trace(trace, row=1, col=axis)
        figure.update_xaxes(title_text="Finished trainings", row=1, col=1)
        figure.update_xaxes(title_text="Hours of training", row=1, col=2)
        figure.update_yaxes(title_text=f"Hypervolume (mAP x {unit})", row=1, col=1, rangemode="tozero")
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        return (
            "How fast the search found the front: area between the front and the point "
            f"(mAP {table.attrs.get('floor', 0):.4f}, {table.attrs.get('ceiling', 0):.6g} "
            f"{table.attrs.get('unit', 'ms')}), the plain backbone's accuracy at the reference's cost; "
            f"{table.attrs.get('level', '')}. Steps are new front members."
        )


@dataclass
class RunningFront:
    """The area that a growing set of (ms, mAP) points dominates, kept up to date in O(log n + front).

    Area = sum over front points, by rising time t_i, of (t_{i+1} - t_i) (mAP_i - floor), t_{n+1} = ceiling.
    """

    ceiling: float
    floor: float
    front: list[tuple[float, float]] = field(default_factory=list)
    area: float = 0.0

    def add(self, ms: float, value: float) -> float:
        """Takes a point in; returns the area after it."""
        at = bisect_left(self.front, (ms, value))
        beaten = (at and self.front[at - 1][1] >= value) or (at < len(self.front) and self.front[at][0] == ms)
        if ms >= self.ceiling or value <= self.floor or beaten:
            return self.area
        insort(self.front, (ms, value))
        last = at + 1
        while last < len(self.front) and self.front[last][1] <= value:
            last += 1
        self.front = [*self.front[: at + 1], *self.front[last:]]
        if at and self.front[at - 1][0] == ms:
            del self.front[at - 1]
        ends = [*(t for t, _ in self.front[1:]), self.ceiling]
        self.area = sum((end - t) * (v - self.floor) for (t, v), end in zip(self.front, ends, strict=True))
        return self.area


def _in_order(data: StudyData, level: Level) -> pd.DataFrame:
    """Finished and failed trainings of the level in the order they ended, with the hours spent so far."""
    rows = level.rows(data.trainings)
    rows = rows[rows["status"].isin(["finished", "failed"])].sort_values(["finished_at", "training_id"])
    return rows.assign(hours=rows["seconds"].fillna(0).cumsum() / 3600, trainings=range(1, len(rows) + 1))


def _progress(rows: pd.DataFrame, known: pd.DataFrame, front: RunningFront) -> pd.DataFrame:
    """Hypervolume after each training; `known` holds (cost, mAP) by candidate."""
    points = {candidate: (cost, value) for candidate, cost, value in known.itertuples()}
    seen: set[str] = set()
    steps = []
    for row in rows_of(rows):
        if row.candidate_id in points and row.candidate_id not in seen and row.status == "finished":
            seen.add(row.candidate_id)
            front.add(*points[row.candidate_id])
        steps.append((row.trainings, row.hours, front.area, row.stage, row.notation))
    return pd.DataFrame(steps, columns=list(_COLUMNS))


def _with_previous(table: pd.DataFrame, stage: str) -> pd.DataFrame:
    """A stage's rows with the row before them, so that curves of stages join."""
    inside = table.index[table["stage"] == stage]
    return table.loc[max(inside[0] - 1, 0) : inside[-1]]
