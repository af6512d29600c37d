"""Pieces of pages: the report's own blocks as Dash components, figures in the reader's theme, links.

Dash sets text as text, so nothing here needs escaping; plotly's labels are escaped where figures are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.dashboard.parts import dcc, html
from nas.reporting.document import Badge, Block, FigureBlock, Section
from nas.reporting.html import block_html, cell_html
from nas.reporting.markup import Element, tag

NARROW_PX = 560
_LONG = 200
_NAMES = {"class": "className", "tabindex": "tabIndex"}


class Zoom(TypedDict):
    """Where a reader zoomed to in a figure: ranges by axis, as long as the figure's `revision` is the same."""

    revision: str
    ranges: dict[str, list[float]]


class View(TypedDict, total=False):
    """What the browser says: `theme` (light or dark), `width` in px, `scope` (the page), `zooms` by figure."""

    theme: str
    width: int
    scope: str
    zooms: dict[str, Zoom]


def component(part: Any) -> object:
    """A piece of a report's page as Dash shows it; components and texts stay as they are."""
    if isinstance(part, list):
        return [component(child) for child in part]
    if not isinstance(part, Element):
        return part
    attributes = {_NAMES.get(name, name): value for name, value in part.attributes.items()}
    if "style" in attributes:
        attributes["style"] = dict([str(attributes["style"]).split(":", 1)])
    make = dcc.Link if part.name == "a" else getattr(html, part.name.capitalize())
    return make([component(child) for child in part.children], **attributes)


def blocks(items: Sequence[Block], view: View) -> list[object]:
    """Blocks of a report as components."""
    return [component(block_html(item, lambda figure: _figure(figure, view))) for item in items]


def sections(parts: Sequence[Section], view: View) -> list[object]:
    """Sections of a report, headings and all."""
    return [piece for part in parts for piece in (html.H2(part.title, id=part.anchor), *blocks(part.blocks, view))]


def badge(cell: Badge) -> object:
    """A short word whose meaning colour repeats."""
    return component(cell_html(cell))


def _figure(item: FigureBlock, view: View) -> Element:
    """A figure with its title and caption, in the reader's theme; a sentence when there is nothing to draw."""
    still = block_html(item)
    assert isinstance(still, Element)
    if isinstance(item.drawing, str):
        return still
    height = f"{item.drawing.layout.height or 440}px"
    drawn = figure_for(item.drawing, view, item.name)
    plot = dcc.Graph(id=graph_id(item.name), figure=drawn, config=style.CONFIG, style={"height": height})
    heading, _, caption = still.children
    return tag("figure", heading, tag("div", plot, role="group", aria_label=item.title), caption, id=f"fig-{item.name}")


def graph_id(name: str) -> dict[str, str]:
    """The id of a plot; all plots together tell the page where they are zoomed to."""
    return {"type": "figure", "name": name}


def figure_for(figure: go.Figure, view: View, name: str = "") -> dict[str, Any]:
    """The figure as Dash takes it: in a theme, fit for a width, zoomed to where its reader was."""
    plain = figure.to_dict()
    _zoom(plain["layout"], view, name)
    if int(view.get("width") or 1280) < NARROW_PX and name not in style.WIDE_FIGURES:
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


def problem(sentence: str, hint: str | None = None) -> object:
    """What went wrong, as a page shows it."""
    return html.Div(
        [html.P(sentence, className="lead"), html.P(hint) if hint else None], className="problem", role="alert"
    )
