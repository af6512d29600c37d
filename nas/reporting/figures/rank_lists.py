"""Rank lists of a candidate: for some queries, the gallery images it ranks first, right and wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.figures.base import Drawing, StudyFigure
from nas.reporting.study_data import StudyData, records_of

_COLUMNS = ("notation", "query", "rank", "identity", "camera", "correct", "distance", "image")
_ROW_PX = 132
_CELL = {"right": (style.GOOD, "solid"), "wrong": (style.BAD, "dash"), "query": (style.INK, "solid")}


@dataclass(frozen=True)
class RankLists(StudyFigure):
    """One row a query: the query image, then the gallery by falling similarity; wrong ones have a dashed frame.

    Args:
        notation: whose lists; those of the first candidate that has some by default.
        queries: rows at most.
        ranks: gallery images a row.
    """

    notation: str | None = None
    queries: int = 6
    ranks: int = 10
    name: ClassVar[str] = "rank_lists"
    title: ClassVar[str] = "Rank lists"

    def _table(self, data: StudyData) -> pd.DataFrame:
        chosen = self.notation or next(iter(data.rank_lists), None)
        rows = [{"notation": chosen, **row} for row in data.rank_lists.get(str(chosen), ())]
        table = pd.DataFrame(rows, columns=list(_COLUMNS))
        queries = list(dict.fromkeys(table["query"]))[: self.queries]
        return table[table["query"].isin(queries) & (table["rank"].astype(float) <= self.ranks)]

    def draw(self, table: pd.DataFrame) -> Drawing:
        if table.empty:
            return "No rank lists were made; `nas report STUDY --rank-lists 6` makes them from the best checkpoint."
        queries = list(dict.fromkeys(table["query"]))
        figure = style.new_figure(48 + _ROW_PX * len(queries))
        cells = [(row, queries.index(row["query"])) for row in records_of(table)]
        figure.update_layout(  # all at once: plotly checks those before with every one that is added
            margin={"l": 12, "r": 12, "t": 40, "b": 8},
            images=[_image(row, place) for row, place in cells if row["image"]],
            shapes=[_frame(row, place) for row, place in cells],
        )
        ranks = int(table["rank"].astype(int).max())
        ticks = list(range(ranks + 1))
        figure.update_xaxes(
            range=[-0.62, ranks + 0.55],
            tickvals=ticks,
            ticktext=["query", *map(str, ticks[1:])],
            side="top",
            showgrid=False,
        )
        figure.update_yaxes(visible=False, range=[len(queries) - 0.45, -0.5])
        figure.add_trace(_hover_points(table, queries))
        return figure

    def caption(self, table: pd.DataFrame) -> str:
        return (
            f"{table['notation'].iloc[0]}: the query at the left, then the gallery by rank. Solid green frame: the "
            "same person; dashed red: another one. Gallery images of the query's own person and camera are left out, "
            "as in the evaluation."
        )


def _kind(row: dict[str, Any]) -> str:
    return "query" if int(row["rank"]) == 0 else "right" if row["correct"] else "wrong"


def _image(row: dict[str, Any], place: int) -> dict[str, Any]:
    size = {"sizex": 0.84, "sizey": 0.86, "xanchor": "center", "yanchor": "middle"}
    return {"source": row["image"], "x": int(row["rank"]), "y": place, "xref": "x", "yref": "y", **size}


def _frame(row: dict[str, Any], place: int) -> dict[str, Any]:
    colour, dash = _CELL[_kind(row)]
    x = int(row["rank"])
    box = {"x0": x - 0.45, "x1": x + 0.45, "y0": place - 0.46, "y1": place + 0.46}
    return {"type": "rect", **box, "line": {"color": colour, "width": 2.5, "dash": dash}}


def _hover_points(table: pd.DataFrame, queries: list[Any]) -> go.Scatter:
    words = [
        f"person {r['identity']}, camera {r['camera']}"
        + ("" if int(r["rank"]) == 0 else f", distance {r['distance']:.3f}")
        for r in records_of(table)
    ]
    return go.Scatter(
        x=table["rank"],
        y=[queries.index(query) for query in table["query"]],
        mode="markers",
        marker={"size": 40, "opacity": 0},
        text=words,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
