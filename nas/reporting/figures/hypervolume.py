"""Hypervolume of the front over trainings and over hours of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.figures.pareto_front import UNITS
from nas.reporting.numbers import is_missing
from nas.reporting.study_data import StudyData
from nas.results.fronts import growing_hypervolume
from nas.results.levels import Level, plain_row, reference_row

_COLUMNS = ("trainings", "hours", "hypervolume", "stage", "notation")


@dataclass(frozen=True)
class Hypervolume(StudyFigure):
    """Area (with several costs: volume) between the front and a reference point, as trainings finish.

    The reference point is the plain backbone's mAP (or the worst seen) at the reference network's cost (or the
    dearest seen); the cost is what the study pays with, usually time. A candidate counts from its first finished
    training on, with its mean over all its seeds.
    """

    level: Level | None = None
    name: ClassVar[str] = "hypervolume"
    title: ClassVar[str] = "Hypervolume of the front"

    def _table(self, data: StudyData) -> pd.DataFrame:
        level = self.level or data.widest
        summary = data.candidates(level)
        known = summary.dropna(subset=list(data.costs))
        if level is None or known.empty:
            return pd.DataFrame(columns=list(_COLUMNS))
        floor, floor_is = _floor(summary, data.backbone)
        found = [_ceiling(summary, data, cost) for cost in data.costs]
        points = known.set_index("notation")[["map_adjusted", *data.costs]].astype(float)
        table = _progress(_in_order(data, level), points, (floor, *(limit for limit, _ in found)))
        corner = ", ".join(f"{limit:.6g} {UNITS[c]}" for (limit, _), c in zip(found, data.costs, strict=True))
        table.attrs = {"floor": floor, "corner": corner, "floor_is": floor_is, "ceiling_is": found[0][1]}
        table.attrs |= {"level": level.words, "unit": " x ".join(UNITS[cost] for cost in data.costs)}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if len(table) < 2:
            return "The hypervolume needs two or more finished trainings with a measured cost."
        unit, metric = table.attrs.get("unit", "ms"), style.plain(style.metric_of(table).suffix)
        if table["hypervolume"].max() <= 0:
            return (
                f"No candidate is more accurate than {table.attrs.get('floor_is', '')} at less than "
                f"{table.attrs.get('ceiling_is', '')}, so the front encloses no area yet."
            )
        figure = style.new_figure(400)
        axes = [("trainings", "Finished trainings"), ("hours", "Hours of training")]
        axes = axes if table["hours"].max() > 0 else axes[:1]  # a table's trainings took no time here
        figure.set_subplots(1, len(axes), shared_yaxes=True, horizontal_spacing=0.05)
        for i, stage in enumerate(dict.fromkeys(table["stage"])):
            rows = _with_previous(table, stage)
            for axis, (column, _) in enumerate(axes, start=1):
                trace = go.Scatter(
                    x=rows[column],
                    y=rows["hypervolume"],
                    mode="lines",
                    line={"shape": "hv", "width": 2.2, "color": style.SERIES[i % len(style.SERIES)]},
                    name=style.plain(stage),
                    legendgroup=stage,
                    showlegend=axis == 1,
                    hovertemplate=f"%{{y:.4f}} {metric} {unit} after %{{x:.4~g}}<extra>%{{fullData.name}}</extra>",
                )
                figure.add_trace(trace, row=1, col=axis)
        for axis, (column, title) in enumerate(axes, start=1):
            ticks = style.whole_ticks(int(table[column].max())) if column == "trainings" else {}
            figure.update_xaxes(title_text=title, row=1, col=axis, **ticks)
        figure.update_yaxes(title_text=f"Hypervolume ({metric} x {unit})", row=1, col=1, rangemode="tozero")
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        attrs = table.attrs
        return (
            "How fast the search found the front: area between the front and the point "
            f"({style.metric_of(table).words} {attrs.get('floor', 0):.4f}, {attrs.get('corner', '')}), "
            f"{attrs.get('floor_is', '')} and "
            f"{attrs.get('ceiling_is', '')}; {attrs.get('level', '')}. Steps are new front members."
        )


def _floor(summary: pd.DataFrame, backbone: str) -> tuple[float, str]:
    """The accuracy from which the area counts, and what it is."""
    plain = plain_row(summary, backbone)
    if plain is not None:
        return float(plain["map_adjusted"]), "the plain backbone's accuracy"
    return float(summary["map_adjusted"].min()), "the worst accuracy seen (the plain backbone was not trained here)"


def _ceiling(summary: pd.DataFrame, data: StudyData, cost: str) -> tuple[float, str]:
    """The cost up to which the area counts, and what it is."""
    reference = reference_row(summary, data.backbone)
    if reference is not None and not is_missing(reference[cost]):
        return float(reference[cost]), "the reference network's cost"
    why = "the reference network was not trained here" if reference is None else "the reference network's is not known"
    return float(summary[cost].max()), f"the largest cost seen ({why})"


def _in_order(data: StudyData, level: Level) -> pd.DataFrame:
    """Finished and failed trainings of the level in the order they ended, with the hours spent so far."""
    rows = level.rows(data.trainings)
    rows = rows[rows["status"].isin(["finished", "failed"])].sort_values(["finished_at", "training_id"])
    rows = rows.assign(stage=data.trained_in(rows))
    return rows.assign(hours=rows["seconds"].fillna(0).cumsum() / 3600, trainings=range(1, len(rows) + 1))


def _progress(rows: pd.DataFrame, known: pd.DataFrame, reference: tuple[float, ...]) -> pd.DataFrame:
    """Hypervolume after each training; `known` holds (mAP, cost, ...) by notation."""
    new = rows[rows["status"].eq("finished") & rows["notation"].isin(known.index)].drop_duplicates("notation")
    less = (False, *[True] * (len(reference) - 1))
    volumes = pd.Series(growing_hypervolume(known.loc[new["notation"]].to_numpy(), reference, less), index=new.index)
    reached = volumes.reindex(rows.index).ffill().fillna(0.0)
    return rows.assign(hypervolume=reached)[list(_COLUMNS)].reset_index(drop=True)


def _with_previous(table: pd.DataFrame, stage: str) -> pd.DataFrame:
    """A stage's rows with the row before them, so that curves of stages join."""
    inside = table.index[table["stage"] == stage]
    return table.loc[max(inside[0] - 1, 0) : inside[-1]]
