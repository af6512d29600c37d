"""Pieces of pages: the blocks of a report as Dash components, figures in the reader's theme, links.

Dash sets text as text, so nothing here needs escaping; plotly's labels are escaped where figures are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.dashboard.parts import dcc, html
from nas.reporting.document import (
    Badge,
    Block,
    Bullets,
    Cell,
    Code,
    Facts,
    FigureBlock,
    Paragraph,
    Stacked,
    Table,
    Tiles,
)
from nas.reporting.figures.base import Drawing

NARROW_PX = 560
_LONG = 200

View = Mapping[str, Any]
"""What the browser says: `theme` (light or dark), `width` in px, `scope` (the page), `zooms` (ranges by figure)."""


def inline(text: str) -> list[Any]:
    """Text in which the parts between backticks are code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return [text]
    return [html.Code(part) if i % 2 else part for i, part in enumerate(parts) if part]


def badge(cell: Badge) -> Any:
    """A short word whose meaning colour repeats."""
    return html.Span(cell.text, className=f"badge {cell.tone}") if cell.text else ""


def graph(drawing: Drawing, view: View, *, name: str, label: str) -> Any:
    """A figure in the reader's theme; a sentence when there is nothing to draw."""
    if isinstance(drawing, str):
        return html.P(inline(drawing), className="empty")
    height = f"{drawing.layout.height or 440}px"
    figure = figure_for(drawing, view, name)
    plot = dcc.Graph(id=graph_id(name), figure=figure, config=style.CONFIG, style={"height": height})
    return html.Div(plot, role="group", **{"aria-label": label})


def graph_id(name: str) -> dict[str, str]:
    """The id of a plot; all plots together tell the page where they are zoomed to."""
    return {"type": "figure", "name": name}


def figure_for(figure: go.Figure, view: View, name: str = "") -> dict[str, Any]:
    """The figure as Dash takes it: in a theme, fit for a width, zoomed to where its reader was."""
    plain = figure.to_dict()
    _zoom(plain["layout"], view, name)
    if int(view.get("width") or 1280) < NARROW_PX:
        _narrow(plain["layout"])
    themed = _themed(plain) if view.get("theme") == "dark" else plain
    return dict(themed)


def _zoom(layout: dict[str, Any], view: View, name: str) -> None:
    """The reader's ranges, as long as page and axes are the same.

    Plotly's own `uirevision` is not enough: Dash writes a zoom back into the figure, after which plotly takes
    it for the program's, and the next update would undo it.
    """
    layout["uirevision"] = f"{view.get('scope', '')}|{layout.get('uirevision')}"
    kept = (view.get("zooms") or {}).get(name)
    if kept and kept.get("revision") == layout["uirevision"]:
        for axis, bounds in kept["ranges"].items():
            layout[axis] = {**layout.get(axis, {}), "range": bounds, "autorange": False}


def _narrow(layout: dict[str, Any]) -> None:
    """What `report.js` does on a telephone: small margins, titles in two lines, short stage names."""
    layout["margin"] = {**layout["template"]["layout"]["margin"], **layout.get("margin", {}), "l": 46, "r": 10}
    x, y = layout.get("xaxis", {}).get("title", {}), layout.get("yaxis", {}).get("title", {})
    if x.get("text"):
        x["text"] = x["text"].replace(" (", "<br>(")
    if y.get("text"):
        y["font"] = {"size": 11}
    layout["annotations"] = [n for n in layout.get("annotations", ()) if n.get("name") != style.WIDE_ONLY]
    for note in layout["annotations"]:
        words = note.get("text", "")
        note["text"] = f"s{words[6:]}" if words.startswith("stage ") and words[6:].isdigit() else words


def _themed(value: Any) -> Any:
    """Dark twins for light tokens, wherever they stand; long lists are data and hold none."""
    if isinstance(value, str):
        return style.DARK.get(value, value)
    if isinstance(value, dict):
        return {key: entry if key == "bdata" else _themed(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return value if len(value) > _LONG else [_themed(entry) for entry in value]
    return value


def blocks(items: Sequence[Block], view: View) -> list[Any]:
    """Blocks of a report as components."""
    return [figure(item, view) if isinstance(item, FigureBlock) else block(item) for item in items]


def figure(item: FigureBlock, view: View) -> Any:
    """A figure with its title and caption."""
    plot = graph(item.drawing, view, name=item.name, label=item.title)
    caption = html.Figcaption(inline(item.caption)) if item.caption else None
    return html.Figure([html.H3(item.title), plot, caption])


@singledispatch
def block(item: Block) -> Any:
    """One block as a component."""
    raise TypeError(f"no component for {type(item).__name__}")


@block.register
def _(item: Paragraph) -> Any:
    return html.P(inline(item.text), className=None if item.style == "normal" else item.style)


@block.register
def _(item: Bullets) -> Any:
    return html.Ul([html.Li(inline(text)) for text in item.items])


@block.register
def _(item: Facts) -> Any:
    return html.Dl([part for name, value in item.pairs for part in (html.Dt(name), html.Dd(inline(value)))])


@block.register
def _(item: Tiles) -> Any:
    return html.Div(
        [html.Div([html.Strong(number), html.Span(label)], className="tile") for number, label in item.tiles],
        className="tiles",
    )


@block.register
def _(item: Code) -> Any:
    return html.Pre(html.Code(item.text))


@block.register
def _(item: Table) -> Any:
    head = [html.Th(heading, className=_kind(item, i), scope="col") for i, heading in enumerate(item.headings)]
    rows = [
        html.Tr([html.Td(cell_component(cell), className=_kind(item, i)) for i, cell in enumerate(row)])
        for row in item.rows
    ]
    table = html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className=item.name)
    note = html.P(inline(item.note), className="note") if item.note else None
    caption = html.P(inline(item.caption), className="caption") if item.caption else None
    scroll = html.Div(table, className="scroll", tabIndex=0, role="region", **{"aria-label": item.caption or item.name})
    return html.Div([caption, scroll, note])


def cell_component(cell: Cell | Any) -> Any:
    """A cell: text, badge, two lines, or a component as it is."""
    if isinstance(cell, Badge):
        return badge(cell)
    if isinstance(cell, Stacked):
        return [*inline(cell.top), html.Small(inline(cell.under))]
    return inline(cell) if isinstance(cell, str) else cell


def _kind(item: Table, column: int) -> str | None:
    return "n" if column in item.numeric else None


def problem(sentence: str, hint: str | None = None) -> Any:
    """What went wrong, as a page shows it."""
    return html.Div(
        [html.P(sentence, className="lead"), html.P(hint) if hint else None], className="problem", role="alert"
    )
