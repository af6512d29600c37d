"""Pair map: what two blocks at two sites do together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.figures.site_axis import stage_spans
from nas.reporting.notations import placements_of, site_count
from nas.reporting.numbers import interval, plural, signed
from nas.reporting.study_data import StudyData, rows_of
from nas.results.differences import to_controls
from nas.results.intervals import half_widths
from nas.results.levels import Level, plain_row

_COLUMNS = ("first", "second", "effect", "low", "high", "candidates")


@dataclass(frozen=True)
class PairMap(StudyFigure):
    """Site x site: mean of the candidates with exactly two blocks there (both a `block`), over the plain backbone."""

    block: str | None = None
    level: Level | None = None
    name: ClassVar[str] = "pair_map"
    title: ClassVar[str] = "Pairs of positions"

    def _table(self, data: StudyData) -> pd.DataFrame:
        level = self.level or data.widest
        summary = data.candidates(level)
        pairs = summary[(summary["n_blocks"] == 2) & (summary["backbone"] == data.backbone)]
        if self.block is not None:
            pairs = pairs[pairs["block"] == self.block]
        base = plain_row(summary, data.backbone)
        zero = float(pairs["map_adjusted"].astype(float).mean() if base is None else base["map_adjusted"])
        table = _pair_effects(pairs.assign(gain=_over_control(data, level, pairs, zero)))
        over = "the plain backbone in the same seeds" if base is not None else "the mean of all pairs"
        table.attrs = {"level": level.words if level else "", "backbone": data.backbone, "over": over}
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        if len(table) < 2:
            return "Fewer than two pairs of positions have finished training yet."
        backbone = str(table.attrs.get("backbone", "resnet50"))
        sites = list(range(1, site_count(backbone) + 1))
        grid = table.pivot_table(index="second", columns="first", values="effect").reindex(index=sites, columns=sites)
        figure = style.new_figure(520)
        figure.add_trace(
            style.differences_map(grid.to_numpy(), sites, sites, _hover(table, sites), 1.5, style.metric_of(table))
        )
        figure.update_xaxes(title_text="Position of the first block (site)", tickmode="linear", dtick=1, showgrid=False)
        figure.update_yaxes(
            title_text="Position of the second block (site)",
            tickmode="linear",
            dtick=1,
            showgrid=False,
            autorange="reversed",
        )
        _add_stage_squares(figure, backbone)
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        return (
            f"Mean {style.metric_of(table).words} of candidates with exactly two blocks at these positions minus "
            f"{table.attrs.get('over', '')} "
            f"({table.attrs.get('level', '')}); blue is better, brown is worse. Squares mark pairs inside one stage; "
            "adaptive searches visit good pairs more often, so empty cells are no evidence."
        )


def _over_control(data: StudyData, level: Level | None, pairs: pd.DataFrame, zero: float) -> pd.Series:
    """Each candidate minus its control in the same seeds; over `zero` where it has none."""
    over = pairs["map_adjusted"].astype(float) - zero
    if level is None or pairs.empty:
        return over
    gaps = to_controls(level.rows(data.trainings)).set_index("notation")["difference"]
    return pairs["notation"].map(gaps).astype(float).fillna(over)


def _pair_effects(pairs: pd.DataFrame) -> pd.DataFrame:
    if pairs.empty:
        return pd.DataFrame(columns=list(_COLUMNS))
    sites = [[site for site, _ in placements_of(str(notation))] for notation in pairs["notation"]]
    known = [len(pair) == 2 for pair in sites]
    rows = pairs[known].assign(
        first=[pair[0] for pair in sites if len(pair) == 2],
        second=[pair[1] for pair in sites if len(pair) == 2],
    )
    table = rows.groupby(["first", "second"]).agg(
        effect=("gain", "mean"), sd=("gain", "std"), candidates=("gain", "size")
    )
    table = table.reset_index()
    half = half_widths(table["sd"], table["candidates"])
    return table.assign(low=table["effect"] - half, high=table["effect"] + half).reindex(columns=list(_COLUMNS))


def _hover(table: pd.DataFrame, sites: list[int]) -> list[list[str]]:
    suffix = style.plain(style.metric_of(table).suffix)
    texts = {
        (row.first, row.second): (
            f"<b>sites {row.first} and {row.second}</b><br>{signed(row.effect)} {suffix} {interval(row.low, row.high)}"
            f"<br>{plural(int(row.candidates), 'candidate')}"
        )
        for row in rows_of(table)
    }
    return [[texts.get((first, second), "") for first in sites] for second in sites]


def _add_stage_squares(figure: go.Figure, backbone: str) -> None:
    for name, first, last in stage_spans(backbone):
        if last > first:
            corner = {"x0": first - 0.5, "x1": last + 0.5, "y0": first - 0.5, "y1": last + 0.5}
            figure.add_shape(type="rect", **corner, line={"color": style.MUTED, "width": 1, "dash": "dot"})
            figure.add_annotation(
                x=last + 0.4,
                y=first - 0.4,
                text=name,
                showarrow=False,
                xanchor="right",
                yanchor="top",
                font={"size": 11, "color": style.MUTED},
            )
