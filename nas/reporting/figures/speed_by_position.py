"""Speed a position: batches a second of the network with one block, a line a block type (the paper's Fig. 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.figures.site_axis import add_level_line, add_site_axis
from nas.reporting.notations import has_default_params, topology_of
from nas.reporting.numbers import count, is_missing
from nas.reporting.study_data import StudyData, rows_of
from nas.spaces.labels import block_title, short_label

_COLUMNS = (
    *("block", "site", "notation", "batches_per_s", "low", "high", "median_ms", "backbone", "role", "default"),
    "timed_at",
)


@dataclass(frozen=True)
class SpeedByPosition(StudyFigure):
    """Batches a second over the site of a single block; baselines as lines, 5th to 95th percentile as bars.

    Args:
        every_setting: also draw blocks with other than default hyperparameters (as faint dots).
    """

    every_setting: bool = True
    name: ClassVar[str] = "speed_by_position"
    title: ClassVar[str] = "Speed by position"

    def _table(self, data: StudyData) -> pd.DataFrame:
        rows = data.latencies
        placed = rows["block"].notna() & rows["site"].notna()
        lost = int((placed & rows["median_ms"].isna() & rows["unknown"].notna()).sum())
        rows, placed = rows[rows["median_ms"].notna()], placed[rows["median_ms"].notna()]
        plain = rows["n_blocks"].fillna(1).astype(int) == 0
        table = rows[placed | plain].copy()
        table["low"] = 1000.0 / pd.to_numeric(table["p95_ms"], errors="coerce")
        table["high"] = 1000.0 / pd.to_numeric(table["p5_ms"], errors="coerce")
        speed = pd.to_numeric(table["batches_per_s"], errors="coerce")
        table["batches_per_s"] = speed.fillna(1000.0 / pd.to_numeric(table["median_ms"], errors="coerce"))
        table["default"] = [has_default_params(str(notation)) for notation in table["notation"]]
        table = _with_equal_sites(table.reindex(columns=list(_COLUMNS)), data.backbone)
        table = table.sort_values(["block", "site"]).reset_index(drop=True)
        table.attrs = {"batch": data.batch_words, "backbone": data.backbone, "given": data.table is not None}
        table.attrs["lost"] = lost
        return table

    def draw(self, table: pd.DataFrame) -> Drawing:
        singles = table[table["site"].notna()]
        if singles.empty:
            lost = table.attrs.get("lost", 0)
            why = "a `profile` stage measures them"
            if lost:
                timed = f"{count(lost)} {'was' if lost == 1 else 'were'} timed"
                why = f"{timed}, but not known well enough; time again on an idle machine"
            return f"No single placement has a known latency yet; {why}."
        figure = style.new_figure(440)
        add_site_axis(figure, str(table.attrs.get("backbone", "resnet50")))
        for block in style.block_order(singles["block"]):
            self._add_block(figure, singles[singles["block"] == block], block)
        for i, row in enumerate(rows_of(table[table["site"].isna()].drop_duplicates("notation"))):
            line = (row.batches_per_s, short_label(row.notation), "dash" if i == 0 else "dot")
            add_level_line(figure, str(table.attrs.get("backbone", "resnet50")), *line)
        batch = "" if table.attrs.get("given") else f", {table.attrs.get('batch', 'batch')}"
        figure.update_yaxes(title_text=f"Speed (batches/s{batch})", minallowed=0)
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        bars = "D" if table.attrs.get("given") else "Bars: 5th to 95th percentile of the timed batches; d"
        return (
            "Speed of the whole network with one block at each site, more is better. A block's time depends on the "
            "shape of its tensor only: open dots repeat the figure of a site with the same shape. "
            f"{bars}ashed lines: networks without attention."
        )

    def _add_block(self, figure: go.Figure, rows: pd.DataFrame, block: str) -> None:
        usual, other = rows[rows["default"]], rows[~rows["default"]]
        usual, other = (usual, other) if len(usual) else (other, usual)
        colour = style.block_colour(block)
        figure.add_trace(
            go.Scatter(
                x=usual["site"],
                y=usual["batches_per_s"],
                mode="lines+markers",
                line={"color": colour, "width": 2, "dash": style.block_dash(block)},
                marker={"color": colour, "size": 7, "symbol": _symbols(usual, style.block_dot(block))},
                error_y=_percentile_bars(usual, colour),
                customdata=np.column_stack([usual["notation"].map(style.plain), usual["median_ms"]]),
                hovertemplate="<b>%{customdata[0]}</b><br>%{y:.2f} batches/s, %{customdata[1]:.3f} ms<extra></extra>",
                name=block_title(block),
                legendgroup=block,
            )
        )
        if self.every_setting and len(other):
            figure.add_trace(
                go.Scatter(
                    x=other["site"],
                    y=other["batches_per_s"],
                    mode="markers",
                    marker={"color": colour, "size": 5, "symbol": "circle-open"},
                    customdata=np.column_stack([other["notation"].map(style.plain), other["median_ms"]]),
                    hovertemplate="%{customdata[0]}<br>%{y:.2f} batches/s, %{customdata[1]:.3f} ms<extra></extra>",
                    legendgroup=block,
                    showlegend=False,
                    name=block_title(block),
                )
            )


def _symbols(rows: pd.DataFrame, dot: str) -> list[str]:
    """Filled where measured, open where the figure is that of a site with the same tensor shape."""
    same = rows["timed_at"] == rows["site"]
    return [f"circle{'' if measured else '-open'}{dot}" for measured in same]


def _with_equal_sites(table: pd.DataFrame, backbone: str) -> pd.DataFrame:
    """Adds the sites whose tensor has the shape of a measured one: a block takes the same time there.

    `timed_at` is the site that was measured; a profile times one site a shape.
    """
    topology = topology_of(backbone)
    table = table.assign(timed_at=table["site"])
    if topology is None:
        return table
    shapes = {site.number: (site.channels, site.stride) for site in topology.sites}
    added = []
    placed = table.dropna(subset=["site"])
    for _, rows in placed.groupby([placed["block"], placed["notation"].map(_setting)]):
        timed = {int(row.site): row for row in rows_of(rows)}
        by_shape = {shapes[number]: row for number, row in timed.items() if number in shapes}
        twins = [(n, by_shape[s]) for n, s in shapes.items() if n not in timed and s in by_shape]
        added += [table.loc[row.Index].to_dict() | {"site": number} for number, row in twins]
    return pd.concat([table, pd.DataFrame(added, columns=table.columns)], ignore_index=True) if added else table


def _setting(notation: object) -> str:
    """What tells two settings of a block apart: the notation without its site."""
    return str(notation).rpartition("@")[0]


def _percentile_bars(rows: pd.DataFrame, colour: str) -> dict[str, object] | None:
    if all(is_missing(value) for value in rows["low"]):
        return None
    above = (rows["high"] - rows["batches_per_s"]).clip(lower=0).fillna(0)
    below = (rows["batches_per_s"] - rows["low"]).clip(lower=0).fillna(0)
    bars = {"array": above, "arrayminus": below, "symmetric": False}
    return {"type": "data", "color": colour, "thickness": 1, "width": 2} | bars
