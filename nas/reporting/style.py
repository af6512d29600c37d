"""One look for every figure, page and still: fonts, colours, one colour a block, light and dark.

Figures are drawn with the light tokens below; pages swap every token for its dark twin (`DARK`), so a
figure never has to know the theme. Block colours are the same in both themes: each has a contrast of
at least 3:1 on both surfaces, and they stay apart (CIEDE2000 of at least 10, `mixed` and own blocks among them) for
readers with and without protanopia, deuteranopia or tritanopia (simulated as by Machado et al. 2009; a test
computes it).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from nas.results.columns import MAP, Metric
from nas.spaces.labels import MIXED, NO_BLOCK

FONT = "Inter, 'Segoe UI', system-ui, -apple-system, Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, 'DejaVu Sans Mono', monospace"

SURFACE, INK, MUTED, GRID, BAND, ACCENT = "#fffffe", "#1b212a", "#59636f", "#e3e7ed", "#f3f5f8", "#0b5cad"
DARK: dict[str, str] = {
    SURFACE: "#14181f",
    INK: "#e8ecf2",
    MUTED: "#a3adba",
    GRID: "#2b323d",
    BAND: "#1a1f28",
    ACCENT: "#6cb2ff",
    "#7d3c06": "#f2b27a",
    "#d98b45": "#a9642a",
    "#f1f0ee": "#262c36",
    "#5c9fd6": "#3b7cb5",
    "#0d3b73": "#9acbf7",
}
"""Light token -> dark token; of the diverging scale, too: no effect is near the surface in both themes."""

BLOCK_COLOURS: dict[str, str] = {
    "cnl": "#c91914",
    "hac": "#007996",
    "agw": "#0da954",
    "raga": "#c40781",
    "abd": "#f35820",
    "se": "#1e90ff",
    "eca": "#454dff",
    "gc": "#6e8269",
    "cbam": "#69645f",
}
BLOCK_DASHES: dict[str, str] = {
    "cnl": "solid",
    "hac": "solid",
    "agw": "dash",
    "raga": "dash",
    "abd": "dashdot",
    "se": "dot",
    "eca": "dot",
    "gc": "dashdot",
    "cbam": "longdash",
}
MIXED_COLOUR = "#9b91a5"
OWN_BLOCK_COLOURS = ("#8c87be", "#876441", "#b9878c")
"""Of blocks that are not in the catalogue; no more are as far apart, so each is used twice: plain, and dotted."""
_SYMBOLS_BY_COUNT = ("diamond", "circle", "square", "triangle-up", "star")
FEW = 12
"""Whole numbers along an axis up to which each has its tick; of more, plotly itself shows whole ones only."""
WIDE_ONLY = "wide only"
"""The name of annotations that are left out where there is little room."""
WIDE_FIGURES = ("slices", "parallel_coordinates")
"""Figures that are as wide on a telephone as at a desk, and move sideways as tables do; the style sheets name them."""
GOOD, BAD, WARN = "#1b9f53", "#bb3f1e", "#ce7500"

DIVERGING: tuple[tuple[float, str], ...] = (
    (0.0, "#7d3c06"),
    (0.25, "#d98b45"),
    (0.5, "#f1f0ee"),
    (0.75, "#5c9fd6"),
    (1.0, "#0d3b73"),
)
"""Brown (worse) - neutral - blue (better): safe for colour-blind readers."""

SERIES: tuple[str, ...] = tuple(
    BLOCK_COLOURS[block] for block in ("eca", "agw", "raga", "hac", "gc", "se", "cbam", "abd", "cnl")
)
"""Colours of curves that are no block types (stages, spaces), in order; red, which reads as failed, comes last."""

CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["sendChartToCloud", "lasso2d", "select2d", "autoScale2d"],
    "responsive": True,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "toImageButtonOptions": {"format": "svg", "scale": 2},
}
"""Plotly's settings on every page; "Share chart" uploads figures to a third party and is taken out."""


def block_colour(block: str) -> str:
    """The colour of a block type, the same in every figure and page."""
    if block in BLOCK_COLOURS:
        return BLOCK_COLOURS[block]
    if block in (MIXED, NO_BLOCK):
        return MIXED_COLOUR if block == MIXED else INK
    return OWN_BLOCK_COLOURS[_own_look(block) % len(OWN_BLOCK_COLOURS)]


def block_dash(block: str) -> str:
    """The line style of a block type, so that colour is never the only difference."""
    return BLOCK_DASHES.get(block, "8px,2px,2px,2px,2px,2px" if block_dot(block) else "longdashdot")


def block_dot(block: str) -> str:
    """What is put behind the name of a symbol: an own block that is the second of its colour has a dot in it.

    >>> block_dot("cnl")
    ''
    """
    known = block in BLOCK_COLOURS or block in (MIXED, NO_BLOCK)
    return "" if known or _own_look(block) < len(OWN_BLOCK_COLOURS) else "-dot"


def _own_look(block: str) -> int:
    """Which of the looks of own blocks one has, by its name alone: the same in every study."""
    return zlib.crc32(block.encode()) % (2 * len(OWN_BLOCK_COLOURS))


def count_symbol(n_blocks: int) -> str:
    """The marker of a candidate with this many blocks."""
    return _SYMBOLS_BY_COUNT[min(max(int(n_blocks), 0), len(_SYMBOLS_BY_COUNT) - 1)]


def block_order(blocks: Any) -> list[str]:
    """Block names in the house's order: the catalogue's first, then own blocks, `mixed` last."""
    known = {name: i for i, name in enumerate(BLOCK_COLOURS)}
    return sorted(set(blocks), key=lambda b: (b == MIXED, known.get(b, len(known)), b))


def plain(text: object) -> str:
    """A user's text for plotly, which reads a subset of HTML in every label.

    >>> plain("<script>")
    '&lt;script&gt;'
    """
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def metric_of(table: pd.DataFrame) -> Metric:
    """What the trainings behind a figure's table are judged by."""
    metric: Metric = table.attrs.get("metric", MAP)
    return metric


def metric_title(table: pd.DataFrame) -> str:
    """Its name with its unit, for an axis."""
    return plain(metric_of(table).title)


def axis_title(what: str, table: pd.DataFrame) -> str:
    """What an axis shows, and below it, smaller, of which trainings: one line of both is longer than most axes."""
    level = table.attrs.get("level")
    return f"{what}<br><span style='font-size:11px'>{plain(level)}</span>" if level else what


def whole_ticks(number: int) -> dict[str, int]:
    """Settings of an axis that counts from 1 to `number`: plotly would put ticks between few whole numbers."""
    return {"dtick": 1} if number <= FEW else {}


def colour_bar(title: str) -> dict[str, Any]:
    """A slim colour bar with its unit above."""
    return {"title": {"text": title, "side": "top"}, "thickness": 12, "outlinewidth": 0, "tickformat": "+.4~f"}


def _axis() -> dict[str, Any]:
    return {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zerolinecolor": GRID,
        "tickcolor": GRID,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "title": {"font": {"size": 13, "color": MUTED}, "standoff": 10},
        "tickfont": {"size": 12, "color": MUTED},
    }


def template() -> go.layout.Template:
    """The house's plotly template (light tokens)."""
    layout = go.Layout(
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor=SURFACE,
        plot_bgcolor=SURFACE,
        colorway=list(BLOCK_COLOURS.values()),
        xaxis=_axis(),
        yaxis=_axis(),
        margin={"l": 64, "r": 20, "t": 16, "b": 56},
        legend={
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.02,
            "xanchor": "left",
            "x": 0,
            "font": {"size": 12},
            "bgcolor": "rgba(0,0,0,0)",
        },
        hoverlabel={"font": {"family": FONT, "size": 12, "color": INK}, "bgcolor": SURFACE, "bordercolor": MUTED},
        hovermode="closest",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": ACCENT},
        colorscale={"diverging": [list(stop) for stop in DIVERGING]},
    )
    return go.layout.Template(layout=layout)


def new_figure(height: int = 440) -> go.Figure:
    """An empty figure in the house's look."""
    figure = go.Figure()
    figure.update_layout(template=template(), height=height, uirevision="keep")
    return figure


def differences_map(
    values: npt.NDArray[np.float64],
    x: Sequence[object],
    y: Sequence[object],
    hover: Sequence[Sequence[str]],
    gap: float,
    metric: Metric,
) -> go.Heatmap:
    """A grid of differences: no difference is the colour of no effect, empty cells stay empty."""
    limit = max(float(np.nanmax(np.abs(values))), 1e-6)
    return go.Heatmap(
        z=values,
        x=x,
        y=y,
        zmid=0,
        zmin=-limit,
        zmax=limit,
        colorscale=[list(stop) for stop in DIVERGING],
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        xgap=gap,
        ygap=gap,
        colorbar=colour_bar(plain(metric.title)),
    )


def said(sentence: str) -> go.Figure:
    """A figure that says why there is nothing to draw."""
    figure = new_figure(height=160)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(text=plain(sentence), showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    return figure
