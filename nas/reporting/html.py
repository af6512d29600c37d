"""A report as one HTML page that opens offline: plotly.js embedded once, no request to anywhere.

Figures are drawn when they come near the view, in the reader's light or dark theme. Everything is escaped
by `markup`; the page forbids itself every outside connection.
"""

from __future__ import annotations

import json
from functools import singledispatch
from importlib.resources import files

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from nas import __version__
from nas.reporting import style
from nas.reporting.document import (
    Badge,
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Facts,
    FigureBlock,
    Paragraph,
    Section,
    Stacked,
    Table,
    Tiles,
)
from nas.reporting.markup import Html, inline, join, tag

PLOTLY_FILE = "plotly.min.js"
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


def render_html(document: Document, *, plotlyjs: str = "inline") -> str:
    """The page.

    Args:
        document: the report.
        plotlyjs: `inline` embeds plotly.js (4.8 MB), `directory` links to `plotly.min.js` beside the page.
    """
    drawn = any(isinstance(block.drawing, go.Figure) for block in document.figures)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY) if plotlyjs == "inline" else "",
        tag("title", f"{document.title} · nas report"),
        tag("style", Html(theme_css() + _asset("report.css"))),
    )
    body = tag(
        "body",
        tag("a", "Skip to the report", class_="skip", href="#report"),
        tag("div", _navigation(document), _main(document), class_="page"),
        _data_script("settings", {"dark": style.DARK, "config": style.CONFIG}),
        *[_data_script(f"figure-{f.name}", f.drawing) for f in document.figures if isinstance(f.drawing, go.Figure)],
        _plotly_script(plotlyjs) if drawn else "",
        tag("script", Html(_asset("report.js"))),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _asset(name: str) -> str:
    return (files("nas.reporting") / "assets" / name).read_text(encoding="utf-8")


def _plotly_script(plotlyjs: str) -> Html:
    if plotlyjs == "directory":
        return tag("script", src=PLOTLY_FILE)
    return tag("script", Html(get_plotlyjs()))


def _data_script(name: str, value: object) -> Html:
    """JSON in the page; no `<` survives, so no text in it can close the script."""
    text = str(value.to_json()) if isinstance(value, go.Figure) else json.dumps(value)
    escaped = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return tag("script", Html(escaped), type="application/json", id=name)


def _navigation(document: Document) -> Html:
    links = [tag("li", tag("a", section.title, href=f"#{section.anchor}")) for section in document.sections]
    return tag("nav", tag("p", "nas report", class_="brand"), tag("ol", *links), aria_label="Sections")


def _main(document: Document) -> Html:
    title = tag("div", tag("h1", document.title), tag("p", document.subtitle, class_="subtitle"))
    top = tag("header", title, tag("button", "Theme", class_="theme", type="button"), class_="top")
    footer = tag("footer", f"Made by nas {__version__}. This page is complete in itself and loads nothing.")
    return tag("main", top, *[_section(section) for section in document.sections], footer, id="report")


def _section(section: Section) -> Html:
    return tag("section", tag("h2", section.title), *[block_html(block) for block in section.blocks], id=section.anchor)


@singledispatch
def block_html(block: Block) -> Html:
    """One block of a report as HTML."""
    raise TypeError(f"no HTML for {type(block).__name__}")


@block_html.register
def _(block: Paragraph) -> Html:
    return tag("p", inline(block.text), class_=None if block.style == "normal" else block.style)


@block_html.register
def _(block: Bullets) -> Html:
    return tag("ul", *[tag("li", inline(item)) for item in block.items])


@block_html.register
def _(block: Facts) -> Html:
    return tag("dl", *[join([tag("dt", name), tag("dd", inline(value))]) for name, value in block.pairs])


@block_html.register
def _(block: Tiles) -> Html:
    return tag(
        "div",
        *[tag("div", tag("strong", number), tag("span", label), class_="tile") for number, label in block.tiles],
        class_="tiles",
    )


@block_html.register
def _(block: Code) -> Html:
    return tag("pre", tag("code", block.text))


@block_html.register
def _(block: FigureBlock) -> Html:
    heading = tag("h3", block.title)
    if isinstance(block.drawing, str):
        return tag("figure", heading, tag("p", inline(block.drawing), class_="empty"), id=f"fig-{block.name}")
    height = block.drawing.layout.height or 440
    plot = tag(
        "div", class_="plot", data_figure=block.name, role="img", aria_label=block.title, style=f"height:{height}px"
    )
    return tag("figure", heading, plot, tag("figcaption", inline(block.caption)), id=f"fig-{block.name}")


@block_html.register
def _(block: Table) -> Html:
    head = [
        tag("th", tag("button", heading, type="button") if heading else "", class_=_kind(block, i), scope="col")
        for i, heading in enumerate(block.headings)
    ]
    rows = [tag("tr", *[_table_cell(block, i, cell) for i, cell in enumerate(row)]) for row in block.rows]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows), class_=block.name or None)
    scroll = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=block.caption or block.name)
    caption = tag("p", inline(block.caption), class_="caption") if block.caption else ""
    note = tag("p", inline(block.note), class_="note") if block.note else ""
    return tag("div", caption, scroll, note)


def _kind(block: Table, column: int) -> str | None:
    return "n" if column in block.numeric else None


def _table_cell(block: Table, column: int, cell: Cell) -> Html:
    label = block.headings[column] if column in block.numeric else None
    return tag("td", _cell(cell), class_=_kind(block, column), data_label=label)


def _cell(cell: Cell) -> Html:
    if isinstance(cell, Badge):
        return tag("span", cell.text, class_=f"badge {cell.tone}") if cell.text else Html("")
    if isinstance(cell, Stacked):
        return join([inline(cell.top), tag("small", inline(cell.under)) if cell.under else ""])
    return inline(cell)
