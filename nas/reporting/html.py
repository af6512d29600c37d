"""A report as one HTML page that opens offline: plotly.js embedded once, no request to anywhere.

Figures are drawn when they come near the view, in the reader's light or dark theme. Everything is escaped
by `markup`; the page forbids itself every outside connection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import PurePosixPath
from types import MappingProxyType

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from nas import __version__
from nas.files.shown import json_text
from nas.reporting import style
from nas.reporting.document import (
    Badge,
    Bar,
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Facts,
    FigureBlock,
    Link,
    Paragraph,
    Picture,
    Section,
    SideBySide,
    Stacked,
    Table,
    Tiles,
)
from nas.reporting.markup import Element, Html, inline, tag

DrawFigure = Callable[[FigureBlock], object]
PLOTLY_FILE = "plotly.min.js"
FIRST_ROWS = 15
"""Rows of a longer table that are shown before a reader asks for all; the style sheets hide the others."""
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data: blob:; "
    "font-src data:; connect-src 'none'; form-action 'none'; base-uri 'none'"
)


def theme_css() -> str:
    """The house's colours and fonts as CSS variables, light and dark."""
    names = {
        "surface": style.SURFACE,
        "ink": style.INK,
        "muted": style.MUTED,
        "grid": style.GRID,
        "band": style.BAND,
        "accent": style.ACCENT,
    }
    shared = f"--font: {style.FONT}; --mono: {style.MONO};"
    light = "".join(f"--{name}: {value};" for name, value in names.items())
    dark = "".join(f"--{name}: {style.DARK[value]};" for name, value in names.items())
    light_tones = "--good: #14783f; --bad: #bb3f1e; --warn: #ce7500; --warn-ink: #9a5800;"
    dark_tones = "--good: #4cc981; --bad: #ff8a65; --warn: #ce7500; --warn-ink: #f0a95a;"
    return (
        f":root {{ {shared} {light} {light_tones} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} {dark_tones} }} }}\n"
        f":root[data-theme=light] {{ {light} {light_tones} color-scheme: light; }}\n"
        f":root[data-theme=dark] {{ {dark} {dark_tones} color-scheme: dark; }}\n"
    )


def render_html(
    document: Document,
    *,
    plotlyjs: str = "inline",
    layout: str | None = None,
    pictures: Mapping[str, PurePosixPath] = MappingProxyType({}),
) -> str:
    """The page.

    Args:
        plotlyjs: `inline` embeds plotly.js (4.8 MB), `directory` links to `plotly.min.js` beside the page.
        layout: `summary` for one page without navigation; None: the report's.
        pictures: figure name -> its still beside the page, for readers without scripts or plotly.js.
    """

    def figure(block: FigureBlock) -> Element:
        return figure_html(block, pictures.get(block.name), shown=plotlyjs == "directory")

    drawn = any(isinstance(block.drawing, go.Figure) for block in document.figures)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY) if plotlyjs == "inline" else None,
        tag("title", f"{document.title} · nas report"),
        tag("style", Html(theme_css() + asset("report.css"))),
    )
    body = tag(
        "body",
        tag("a", "Skip to the report", class_="skip", href="#report"),
        tag("div", _navigation(document), _main(document, figure), class_="page"),
        _data_script("settings", {"dark": style.DARK, "config": style.CONFIG}),
        [_data_script(f"figure-{f.name}", f.drawing) for f in document.figures if isinstance(f.drawing, go.Figure)],
        _plotly_script(plotlyjs) if drawn else None,
        tag("script", Html(asset("tables.js") + asset("report.js"))),
        class_=layout,
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def asset(name: str) -> str:
    """A style sheet or script of the page."""
    return (files("nas.reporting") / "assets" / name).read_text(encoding="utf-8")


def _plotly_script(plotlyjs: str) -> Element:
    if plotlyjs == "directory":
        return tag("script", src=PLOTLY_FILE)
    return tag("script", Html(get_plotlyjs()))


def _data_script(name: str, value: object) -> Element:
    """JSON in the page; no `<` survives, so no text in it can close the script."""
    text = str(value.to_json()) if isinstance(value, go.Figure) else json.dumps(value)
    escaped = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return tag("script", Html(json_text(escaped)), type="application/json", id=name)


def _navigation(document: Document) -> Element:
    links = [tag("li", tag("a", section.title, href=f"#{section.anchor}")) for section in document.sections]
    return tag("nav", tag("p", "nas report", class_="brand"), tag("ol", links), aria_label="Sections")


def _main(document: Document, figure: DrawFigure) -> Element:
    title = tag("div", tag("h1", document.title), tag("p", inline(document.subtitle), class_="subtitle"))
    top = tag("header", title, tag("button", "Theme", class_="theme", type="button"), class_="top")
    footer = tag("footer", f"Made by nas {__version__}. This page is complete in itself and loads nothing.")
    return tag("main", top, [section_html(section, figure) for section in document.sections], footer, id="report")


def section_html(section: Section, figure: DrawFigure) -> Element:
    """A section with its heading; one that is folded opens by a click on it."""
    blocks = [block_html(block, figure) for block in section.blocks]
    if section.folded:
        return tag("section", tag("details", tag("summary", tag("h2", section.title)), blocks), id=section.anchor)
    return tag("section", tag("h2", section.title), blocks, id=section.anchor)


def figure_html(block: FigureBlock, still: PurePosixPath | None = None, *, shown: bool = False) -> Element:
    """A figure that `report.js` draws when it comes near the view, or the sentence in its place.

    Until it is drawn its still stands there, where there is one: shown, or as a link where the page may load nothing.
    """
    heading = tag("h3", block.title)
    if isinstance(block.drawing, str):
        return tag("figure", heading, tag("p", inline(block.drawing), class_="empty"), id=f"fig-{block.name}")
    height = f"height:{block.drawing.layout.height or 440}px"
    instead: Element | None = None
    if still is not None and shown:
        instead = tag("img", src=str(still), alt=block.title, loading="lazy")
    elif still is not None:
        instead = tag("noscript", "Without scripts: ", tag("a", f"the picture {still}", href=str(still)))
    plot = tag(
        "div", instead, class_="plot", data_figure=block.name, role="group", aria_label=block.title, style=height
    )
    return tag("figure", heading, plot, tag("figcaption", inline(block.caption)), id=f"fig-{block.name}")


def block_html(block: Block, figure: DrawFigure = figure_html) -> object:
    """One block of a report; `figure` draws figures, which each medium does its own way."""
    match block:
        case FigureBlock():
            return figure(block)
        case SideBySide():
            return tag("div", [block_html(part, figure) for part in block.blocks], class_="beside")
        case Paragraph():
            return tag("p", inline(block.text), class_=None if block.style == "normal" else block.style)
        case Picture():
            words = inline(block.words)
            return tag("figure", tag("img", src=block.address, alt=block.words), tag("figcaption", words))
        case Bullets():
            return tag("ul", [tag("li", inline(item)) for item in block.items], class_=block.style or None)
        case Facts():
            return tag("dl", [[tag("dt", name), tag("dd", inline(value))] for name, value in block.pairs])
        case Tiles():
            tiles = [
                tag("div", tag("strong", number), tag("span", label), class_="tile") for number, label in block.tiles
            ]
            return tag("div", tiles, class_="tiles")
        case Code():
            return tag("pre", tag("code", block.text))
        case Table():
            return _table(block)


def _table(block: Table) -> Element:
    head = [
        tag("th", tag("button", heading, type="button") if heading else None, class_=_kind(block, i), scope="col")
        for i, heading in enumerate(block.headings)
    ]
    rows = [tag("tr", [_table_cell(block, i, cell) for i, cell in enumerate(row)]) for row in block.rows]
    classes = f"sortable {block.name}".strip()
    more = f"Show all {len(rows)} rows" if len(rows) > FIRST_ROWS else None
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", rows), class_=classes)
    scroll = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=block.caption or block.name)
    caption = tag("p", inline(block.caption), class_="caption") if block.caption else None
    opener = tag("button", more, class_="plain more", type="button") if more else None
    return tag("div", caption, scroll, opener, tag("p", inline(block.note), class_="note") if block.note else None)


def _kind(block: Table, column: int) -> str | None:
    return "n" if column in block.numeric else None


def _table_cell(block: Table, column: int, cell: Cell) -> Element:
    label = block.headings[column] if column in block.numeric else None
    return tag("td", cell_html(cell), class_=_kind(block, column), data_label=label)


def cell_html(cell: Cell) -> object:
    """What a cell holds: text, a badge, two lines, a link, a bar."""
    match cell:
        case Badge():
            return tag("span", cell.text, class_=f"badge {cell.tone}") if cell.text else None
        case Stacked():
            return [inline(cell.top), tag("small", inline(cell.under)) if cell.under else None]
        case Link():
            return [tag("a", cell.text, href=cell.href), tag("small", cell.under) if cell.under else None]
        case Bar():
            widths = [(tone, f"width:{100 * number / cell.total:.2f}%") for tone, number in cell.parts]
            parts = [tag("span", style=width, class_=f"bar-{tone}") for tone, width in widths]
            ended = sum(number for tone, number in cell.parts if tone != "warn")
            done = {"aria_valuemin": "0", "aria_valuemax": cell.total, "aria_valuenow": ended}
            return tag(
                "div", parts, class_="progress", role="progressbar", title=cell.words, aria_label=cell.words, **done
            )
    return inline(cell)
