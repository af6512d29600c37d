"""Seed noise: how far trainings of one candidate with different seeds lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import plotly.graph_objects as go
from scipy import stats

from nas.reporting import style
from nas.reporting.comparison import Level, levels, pooled_sd
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.study_data import StudyData, rows_of
from nas.spaces.labels import short_label

_HOVER = "<b>%{customdata[0]}</b>, seed %{customdata[1]}<br>%{y:+.4f} from its mean %{x:.4f}<extra></extra>"
_COLUMNS = ("notation", "seed", "mean", "deviation", "level")


@dataclass(frozen=True)
class SeedNoise(StudyFigure):
    """Each training's mAP minus the mean of its candidate, over that mean; the band is one pooled sd.

    Args:
        level: which comparable set; the one with most replicated trainings by default.
    """

    level: Level | None = None
    name: ClassVar[str] = "seed_noise"
    title: ClassVar[str] = "Seed noise"

    def table(self, data: StudyData) -> pd.DataFrame:
        level = self.level or _most_replicated(data)
        if level is None:
            return pd.DataFrame(columns=list(_COLUMNS))
        rows = level.rows(data.finished)
        rows = rows[rows.groupby("candidate_id")["map"].transform("size") > 1]
        mean = rows.groupby("candidate_id")["map"].transform("mean")
        table = rows.assign(mean=mean, deviation=rows["map"] - mean, level=level.words)[list(_COLUMNS)]
        sd, freedom = pooled_sd(rows) if len(rows) else (math.nan, 0)
        table.attrs = {"sd": sd, "freedom": freedom, "level": level.words}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return "No candidate has been trained with two seeds yet, so the seed noise is not known."
        sd = float(table.attrs["sd"])
        figure = style.new_figure(380)
        figure.add_hrect(y0=-sd, y1=sd, fillcolor=style.ACCENT, opacity=0.12, line_width=0, layer="below")
        figure.add_hline(y=0, line={"color": style.MUTED, "width": 1})
        hover = [[style.plain(short_label(str(row.notation))), row.seed] for row in rows_of(table)]
        figure.add_trace(
            go.Scatter(
                x=table["mean"],
                y=table["deviation"],
                mode="markers",
                marker={"color": style.ACCENT, "size": 7, "opacity": 0.7},
                customdata=hover,
                hovertemplate=_HOVER,
                showlegend=False,
            )
        )
        figure.update_xaxes(title_text=f"Mean mAP of the candidate ({table.attrs.get('level', '')})", tickformat=".3~f")
        figure.update_yaxes(title_text="mAP of a training minus that mean", tickformat="+.4~f")
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        sd, freedom = float(table.attrs.get("sd", math.nan)), int(table.attrs.get("freedom", 0))
        low, high = sd_interval(sd, freedom)
        return (
            f"Standard deviation between seeds, pooled over candidates: {sd:.4f} mAP (95 % interval {low:.4f} to "
            f"{high:.4f}, {freedom} degrees of freedom). Two candidates with three seeds each differ by more than "
            f"{difference_seen(sd, freedom, 3):.4f} before a 95 % interval leaves zero out."
        )


def sd_interval(sd: float, freedom: int) -> tuple[float, float]:
    """95 % interval of a standard deviation: sd sqrt(d / chi2)."""
    if freedom < 1:
        return math.nan, math.nan
    upper, lower = stats.chi2.ppf([0.975, 0.025], freedom)
    return sd * math.sqrt(freedom / upper), sd * math.sqrt(freedom / lower)


def difference_seen(sd: float, freedom: int, seeds: int) -> float:
    """Half width of the 95 % interval of a difference of two means: t s sqrt(2 / n)."""
    return float(stats.t.ppf(0.975, freedom)) * sd * math.sqrt(2 / seeds) if freedom else math.nan


def _most_replicated(data: StudyData) -> Level | None:
    counted = [(pooled_sd(level.rows(data.finished))[1], level) for level in levels(data)]
    best = max(counted, key=lambda pair: pair[0], default=(0, None))
    return best[1] if best[0] else None
