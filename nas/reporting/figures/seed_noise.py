"""Seed noise: how far trainings of one candidate with different seeds lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.numbers import plural
from nas.reporting.study_data import StudyData, rows_of
from nas.results.intervals import Spread
from nas.results.levels import Level
from nas.results.noise import Noise, block_effects, noise_of
from nas.spaces.labels import short_label

_HOVER = "<b>%{customdata[0]}</b>, seed %{customdata[1]}<br>%{y:+.4f} from its mean %{x:.4f}<extra></extra>"
_COLUMNS = ("notation", "seed", "mean", "deviation", "level")


@dataclass(frozen=True)
class SeedNoise(StudyFigure):
    """What is left of each training's result beside its candidate's mean and its seed's shift; the band is one sd.

    By default of the level with most replicated trainings.
    """

    level: Level | None = None
    name: ClassVar[str] = "seed_noise"
    title: ClassVar[str] = "Seed noise"

    def _table(self, data: StudyData) -> pd.DataFrame:
        level = self.level or _most_replicated(data)
        if level is None:
            return pd.DataFrame(columns=list(_COLUMNS))
        rows = level.rows(data.finished)
        rows = rows[rows.groupby("notation")["map"].transform("size") > 1]
        noise = noise_of(rows)
        left = rows["map"] - (block_effects(rows) if noise.single.known else 0.0)
        grouped = rows["notation"]
        deviation = left - left.groupby(grouped).transform("mean")
        mean = rows["map"].groupby(grouped).transform("mean")
        table = rows.assign(mean=mean, deviation=deviation, level=level.words)[list(_COLUMNS)]
        table.attrs = {"noise": noise, "level": level.words}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return "No candidate has been trained with two seeds yet, so the seed noise is not known."
        noise: Noise = table.attrs["noise"]
        sd = (noise.single if noise.single.known else noise.whole).sd
        figure = style.new_figure(380)
        figure.add_hrect(y0=-sd, y1=sd, fillcolor=style.ACCENT, opacity=0.12, line_width=0, layer="below")
        figure.add_hline(y=0, line={"color": style.MUTED, "width": 1})
        hover = [[style.plain(short_label(str(row.notation))), row.seed] for row in rows_of(table)]
        figure.add_trace(
            go.Scatter(
                x=table["mean"],
                y=table["deviation"],
                mode="markers",
                marker={"color": style.ACCENT, "size": 7, "symbol": "circle-open"},
                customdata=hover,
                hovertemplate=_HOVER,
                showlegend=False,
            )
        )
        figure.update_xaxes(
            title_text=style.axis_title(f"Mean {style.metric_title(table)} of the candidate", table), tickformat=".4~f"
        )
        if table["mean"].nunique() == 1:  # plotly would show values that no score has
            (mean,) = table["mean"].unique()
            pad = 0.05 * abs(mean) or 0.05
            figure.update_xaxes(range=[mean - pad, mean + pad])
        figure.update_yaxes(
            title_text=f"Training minus its candidate's mean ({style.plain(style.metric_of(table).suffix)})",
            tickformat="+.4~f",
        )
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        noise: Noise = table.attrs["noise"]
        suffix = style.metric_of(table).suffix
        if not noise.single.known:
            return (
                f"Standard deviation between seeds: {_spread(noise.whole, suffix)}. No two candidates share two seeds, "
                "so what a seed moves for all alike is part of it."
            )
        shared = f" A seed moves all candidates alike by {_spread(noise.shared, suffix)}." if noise.shared.known else ""
        left = "Standard deviation of what is left for one training beside others of its seed: "
        if noise.single.sd == 0:
            return f"{left}none was seen, as trainings scored exactly alike; no interval rests on that.{shared}"
        seen = noise.single.reach * math.sqrt(2 / 3)  # of a difference of two means of three
        return (
            f"{left}{_spread(noise.single, suffix)}.{shared} Differences within seeds hold the first alone: two "
            f"candidates with three common seeds differ by more than {seen:.4f} before a 95 % interval leaves zero out."
        )


def _spread(spread: Spread, suffix: str) -> str:
    low, high = spread.interval()
    sure = f"95 % interval {low:.4f} to {high:.4f}, " if spread.sd > 0 else ""
    return f"{spread.sd:.4f} {suffix} ({sure}{plural(round(spread.df), 'degree')} of freedom)"


def _most_replicated(data: StudyData) -> Level | None:
    counted = [(_again(level.rows(data.finished)), level) for level in data.levels]
    best = max(counted, key=lambda pair: pair[0], default=(0, None))
    return best[1] if best[0] else None


def _again(rows: pd.DataFrame) -> int:
    """Trainings beyond the first of each candidate."""
    return len(rows) - int(rows["notation"].nunique())
