"""Network drawing: the backbone's modules in a row, attention blocks where candidates put them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.notations import placements_of, topology_of
from nas.reporting.numbers import MISSING, fixed, scaled
from nas.reporting.study_data import StudyData, records_of, rows_of
from nas.results.costs import COSTS
from nas.spaces.labels import backbone_title, block_title, short_label
from nas.spaces.sites import Topology

_ROW_PX = 74
_COLUMNS = ("notation", "row", "site", "block", "map_mean")
_STAGE_TONES = ("#c9d1db", "#b7c2cf", "#a5b2c2", "#93a3b5", "#8193a8")


@dataclass(frozen=True)
class NetworkDrawing(StudyFigure):
    """One row a candidate: modules as bars as tall as their feature map, blocks as coloured marks after them.

    Of `notations`, or of the most accurate of the front; `rows` at most.
    """

    notations: tuple[str, ...] = ()
    rows: int = 6
    name: ClassVar[str] = "network_drawing"
    title: ClassVar[str] = "Networks with their blocks"

    def _table(self, data: StudyData) -> pd.DataFrame:
        summary = data.candidates(data.quoted)
        chosen = self._chosen(summary, data.backbone)
        known = {str(row["notation"]): (row["map_mean"], row[data.cost]) for row in records_of(summary)}
        rows = [
            (notation, i, site, block, *known.get(notation, (float("nan"), float("nan"))))
            for i, notation in enumerate(chosen)
            for site, block in placements_of(notation) or ((None, None),)
        ]
        table = pd.DataFrame(rows, columns=[*_COLUMNS, data.cost])
        table.attrs = {"backbone": _backbone_of(chosen, data.backbone), "cost": data.cost}
        return table

    def _chosen(self, summary: pd.DataFrame, backbone: str) -> list[str]:
        if self.notations:
            return list(self.notations)
        if summary.empty:
            return []
        blocks = summary[(summary["n_blocks"] > 0) & (summary["backbone"] == backbone)]
        ordered = blocks.sort_values(["on_front", "map_mean"], ascending=False)
        return [str(notation) for notation in ordered["notation"].head(self.rows)]

    def draw(self, table: pd.DataFrame) -> Drawing:
        backbone = str(table.attrs.get("backbone", "resnet50"))
        topology = topology_of(backbone)
        if table.empty:
            return "No candidate with blocks to draw yet."
        if topology is None:
            return f"The sites of {backbone} are not known here, so it cannot be drawn."
        names = list(dict.fromkeys(table["notation"]))
        figure = style.new_figure(96 + _ROW_PX * len(names))
        shapes = [shape for row in range(len(names)) for shape in _module_shapes(topology, row)]
        figure.update_layout(shapes=shapes, margin={"l": 16, "t": 24}, legend={"y": 1.0})
        for block in style.block_order(table["block"].dropna()):
            _add_blocks(figure, table[table["block"] == block], block)
        for i, notation in enumerate(names):
            _add_label(figure, i, table[table["notation"] == notation].iloc[0], table)
        figure.update_xaxes(
            range=[0.2, len(topology.sites) + 1.3],
            title_text=f"{backbone_title(backbone)}: position (site)",
            tickvals=[s.number + 0.5 for s in topology.sites][:: max(1, len(topology.sites) // 17)],
            ticktext=[str(s.number) for s in topology.sites][:: max(1, len(topology.sites) // 17)],
            showgrid=False,
        )
        figure.update_yaxes(visible=False, range=[len(names) - 0.25, -0.62])
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        order = "" if self.notations else " The most accurate members of the front come first."
        return (
            "Grey bars are the backbone's modules, as tall as their feature map; a coloured mark is an attention block "
            f"after that module.{order}"
        )


def _backbone_of(notations: list[str], default: str) -> str:
    return notations[0].partition("+")[0].partition("(")[0].partition("[")[0] if notations else default


def _module_shapes(topology: Topology, row: int) -> list[dict[str, Any]]:
    tallest = min(site.stride for site in topology.sites)
    shapes = []
    for site in topology.sites:
        half = 0.26 * (tallest / site.stride) ** 0.5
        box = {"x0": site.number - 0.28, "x1": site.number + 0.28, "y0": row - half, "y1": row + half}
        tone = _STAGE_TONES[min(site.stage, len(_STAGE_TONES) - 1)]
        shapes.append({"type": "rect", **box, "fillcolor": tone, "line": {"width": 0}, "layer": "below"})
    last = len(topology.sites)
    line = {"type": "line", "x0": 0.5, "x1": last + 0.9, "y0": row, "y1": row, "layer": "below"}
    return [{**line, "line": {"color": style.MUTED, "width": 1}}, *shapes]


def _add_blocks(figure: go.Figure, rows: pd.DataFrame, block: str) -> None:
    figure.add_trace(
        go.Scatter(
            x=rows["site"] + 0.5,
            y=rows["row"],
            mode="markers",
            marker={
                "symbol": f"square{style.block_dot(block)}",
                "size": 17,
                "color": style.block_colour(block),
                "line": {"width": 1.5, "color": style.SURFACE},
            },
            customdata=[[style.plain(short_label(str(r.notation))), int(r.site)] for r in rows_of(rows)],
            hovertemplate=(f"{block_title(block)} at site %{{customdata[1]}}<br>%{{customdata[0]}}<extra></extra>"),
            name=block_title(block),
            cliponaxis=False,
        )
    )


def _add_label(figure: go.Figure, row: int, first: pd.Series, table: pd.DataFrame) -> None:
    cost = COSTS[table.attrs.get("cost", "latency_ms")]
    numbers = f"{style.metric_title(table)} {fixed(first['map_mean'], 4)}"
    paid = scaled(first[cost.column], cost.scale, 2)
    numbers += "" if paid == MISSING else f", {paid} {cost.unit}"
    known = first["map_mean"] == first["map_mean"]
    figure.add_annotation(
        x=0.5,
        y=row - 0.3,
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        text=f"<b>{style.plain(short_label(str(first['notation'])))}</b>" + (f"  {numbers}" if known else ""),
        font={"size": 12, "color": style.INK},
    )
