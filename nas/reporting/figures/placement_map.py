"""Placement heat map: what a block at a site does, with interval and support."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.figures.site_axis import add_site_axis
from nas.reporting.notations import as_published, exploded_placements, site_count
from nas.reporting.numbers import interval, plural, signed
from nas.reporting.study_data import StudyData, rows_of
from nas.results.differences import to_controls
from nas.results.intervals import CONFIDENCE, half_widths
from nas.results.levels import Level
from nas.spaces.labels import block_title

_COLUMNS = ("block", "form", "site", "effect", "low", "high", "candidates", "trainings")
AS_PUBLISHED = ", as published"
"""Form of a block that a study puts in both as the identity and as published: two rows, never mixed."""
ADAPTIVE = ("search",)
"""Kinds of stages whose candidates were chosen by looking at results."""


@dataclass(frozen=True)
class PlacementMap(StudyFigure):
    """Block x site: the difference to going without, as colour and number.

    Args:
        kind: `single` compares candidates with one block to the plain backbone; `marginal` compares all
            candidates with the block at the site to those with as many blocks; `auto` takes `single` where
            most cells were trained alone.
    """

    kind: str = "auto"
    level: Level | None = None
    name: ClassVar[str] = "placement_map"
    title: ClassVar[str] = "Effect of a block at a position"

    def _table(self, data: StudyData) -> pd.DataFrame:
        level = self.level or data.widest
        summary = data.candidates(level)
        own = summary[summary["backbone"] == data.backbone]
        single, marginal = _single_effects(own, data, level), _marginal_effects(own, data)
        kind = self._kind(single, marginal)
        table = (single if kind == "single" else marginal).reindex(columns=list(_COLUMNS))
        table.attrs = {"kind": kind, "level": level.words if level else "", "backbone": data.backbone}
        return table

    def _kind(self, single: pd.DataFrame, marginal: pd.DataFrame) -> str:
        if self.kind != "auto":
            return self.kind
        return "single" if len(single) and 2 * len(single) >= len(marginal) else "marginal"

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return "No block has been trained at enough positions yet to compare them."
        table = table.assign(row=[block_title(r.block) + r.form for r in rows_of(table)])
        order = [
            block_title(block) + form for block in style.block_order(table["block"]) for form in ("", AS_PUBLISHED)
        ]
        rows = [row for row in reversed(order) if row in set(table["row"])]
        figure = style.new_figure(150 + 42 * len(rows))
        grid = table.pivot_table(index="row", columns="site", values="effect").reindex(rows)
        grid = grid.reindex(columns=range(1, site_count(str(table.attrs.get("backbone", "resnet50"))) + 1))
        figure.add_trace(
            style.differences_map(
                grid.to_numpy(), list(grid.columns), rows, _hover(table, grid), 2, style.metric_of(table)
            )
        )
        told = table[(table["low"] > 0) | (table["high"] < 0)]
        figure.add_trace(
            go.Scatter(
                x=told["site"],
                y=told["row"],
                mode="markers",
                marker={"color": style.SURFACE, "size": 8, "line": {"color": style.INK, "width": 1.5}},
                hoverinfo="skip",
                showlegend=False,
            )
        )
        add_site_axis(figure, str(table.attrs.get("backbone", "resnet50")), bands=False)
        figure.update_yaxes(showgrid=False)
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        words = style.metric_of(table).words
        if table.attrs.get("kind") == "single":
            how = f"{words} of the candidate with this one block minus the plain backbone's in the same seeds"
        else:
            how = f"mean {words} of candidates with this block at this position minus those with as many blocks"
        return (
            f"Colour: {how} ({table.attrs.get('level', '')}); blue is better, brown is worse, empty was not trained. "
            "A dot marks what is told apart from no effect: its interval (95 % for all cells together) leaves zero "
            "out. Hover for interval and support."
        )


def _single_effects(summary: pd.DataFrame, data: StudyData, level: Level | None) -> pd.DataFrame:
    """Paired differences of the candidates with one block to the plain backbone; of several settings the best."""
    singles = summary[summary["n_blocks"] == 1]
    if level is None or singles.empty:
        return pd.DataFrame(columns=list(_COLUMNS))
    effects = to_controls(level.rows(data.trainings)).dropna(subset=["difference"])
    joined = singles.drop(columns=["block", "trainings"]).merge(effects, on="notation")
    best = joined.sort_values("difference", ascending=False)
    rows = exploded_placements(best)
    forms = [AS_PUBLISHED if published else "" for published in as_published(rows)]
    rows = rows.assign(form=forms).drop_duplicates(["block", "form", "site"])
    return rows.assign(effect=rows["difference"], low=rows["low_all"], high=rows["high_all"], candidates=1)


def _marginal_effects(summary: pd.DataFrame, data: StudyData) -> pd.DataFrame:
    """Mean over candidates with the placement minus the mean of candidates with as many blocks.

    The intervals are Student's, for all cells together (Sidak).
    """
    adaptive = data.results[data.results["stage_kind"].isin(ADAPTIVE)]["candidate_id"]
    fair = summary[~summary["candidate_id"].isin(adaptive) & (summary["n_blocks"] > 0)]
    if fair.empty:
        return pd.DataFrame(columns=list(_COLUMNS))
    centred = fair.assign(centred=fair["map_adjusted"] - fair.groupby("n_blocks")["map_adjusted"].transform("mean"))
    rows = exploded_placements(centred.drop(columns="block"))
    table = rows.groupby(["block", "site"]).agg(
        effect=("centred", "mean"),
        sd=("centred", "std"),
        candidates=("centred", "size"),
        trainings=("trainings", "sum"),
    )
    table = table[table["candidates"] >= 2].reset_index()
    half = half_widths(table["sd"], table["candidates"], CONFIDENCE ** (1 / max(1, len(table))))
    return table.assign(form="", low=table["effect"] - half, high=table["effect"] + half)


def _hover(table: pd.DataFrame, grid: pd.DataFrame) -> list[list[str]]:
    suffix = style.plain(style.metric_of(table).suffix)
    texts = {
        (row.row, row.site): (
            f"<b>{row.row} @ {row.site}</b><br>{signed(row.effect)} {suffix} "
            f"{interval(row.low, row.high)}<br>{plural(int(row.candidates), 'candidate')}, "
            f"{plural(int(row.trainings), 'training')}"
        )
        for row in rows_of(table)
    }
    return [[texts.get((row, site), "") for site in grid.columns] for row in grid.index]
