"""The Pareto explorer: filters, the front of what is shown, a selection that fills the table, click-through."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd
from dash import Input, Output, State, ctx, no_update

from nas.errors import NasError
from nas.files.shown import csv_text
from nas.reporting import style
from nas.reporting.dashboard.components import NARROW_PX, View, figure_for, graph_id, problem
from nas.reporting.dashboard.filters import Filters, level_key
from nas.reporting.dashboard.parts import dcc, html
from nas.reporting.dashboard.routing import Route, href, study_at
from nas.reporting.dashboard.source import Snapshot, StudySource
from nas.reporting.figures import ParetoFront
from nas.reporting.figures.pareto_front import SPEEDS, own_axis
from nas.reporting.html import cell_html
from nas.reporting.markup import Element, tag
from nas.reporting.notations import placements_of
from nas.reporting.numbers import count, plural
from nas.reporting.study_data import StudyData, mark_front
from nas.reporting.tables import FIRST_NUMBER, candidate_heads, candidate_rows, cost_heading
from nas.results.costs import COSTS
from nas.spaces.labels import block_title

PAGE_ROWS = 50
CONTROLS = ("level", "blocks", "sites", "counts", "stage", "max_ms", "text", "speed")
COLUMNS = ("notation", "", "map_mean", "rank1", "minp", "seeds", "latency_ms", "batches_per_s", "params", "macs")
"""What each column of the report's table of candidates is ordered by; the study's further costs follow."""
_FALLING = {"map_mean", "rank1", "minp", "seeds", "batches_per_s"}
GRAPH = graph_id("front")
_TABLE_ONLY = {"front-order", "front-selected"}
_SELECTING = {"modeBarButtonsToRemove": ["sendChartToCloud", "autoScale2d"]}


def layout(snapshot: Snapshot, route: Route) -> list[object]:
    """The page with its controls set as the address says."""
    filters = Filters.from_query(route.query)
    data = snapshot.data
    return [
        html.H1("Pareto front"),
        html.Div([_filter_panel(data, filters), _results()], className="explorer"),
        dcc.Store(id="front-selected", data=[]),
        dcc.Store(id="front-order", data={"column": "map_mean", "descending": True, "page": 0}),
        dcc.Download(id="front-download"),
    ]


def _filter_panel(data: StudyData, filters: Filters) -> object:
    used = {block for name in data.results["notation"].dropna().unique() for _, block in placements_of(str(name))}
    blocks = [{"label": block_title(name), "value": name} for name in style.block_order(used)]
    counts = sorted({int(n) for n in data.results["n_blocks"].dropna() if n > 0})
    stages = [str(name) for name in data.results["stage"].dropna().unique()]
    level = filters.chosen_level(data)
    found = [{"label": entry.words, "value": level_key(entry)} for entry in data.levels]
    return html.Details(
        [
            html.Summary("Filters"),
            _control(
                "Comparable set",
                dcc.Dropdown(found, level_key(level) if level else None, id="f-level", clearable=False),
            ),
            _group("Blocks", dcc.Checklist(blocks, _listed(filters.blocks), id="f-blocks", inline=True)),
            _group(
                "Number of blocks",
                dcc.Checklist(
                    [{"label": str(n), "value": str(n)} for n in counts],
                    _listed(filters.counts),
                    id="f-counts",
                    inline=True,
                ),
            ),
            _control("Positions", _text_input("f-sites", filters.sites, "all, or 6,8,14 or 5-8")),
            _control(
                f"At most, {cost_heading(data.cost)}",
                _text_input("f-max_ms", filters.max_ms, "no limit", mode="decimal"),
            ),
            _control("Stage", dcc.Dropdown(stages, filters.stage or None, id="f-stage", placeholder="every stage")),
            _control("Notation or note contains", _text_input("f-text", filters.text, "cnl@8, or ★")),
            _group(
                "Horizontal axis",
                dcc.RadioItems(_axes(data, filters.speed), _axis_value(data, filters.speed), id="f-speed", inline=True),
            ),
            html.Button("Clear filters", id="front-clear", className="plain"),
        ],
        open=True,
        className="filters",
    )


def _axis_value(data: StudyData, axis: str) -> str:
    """An axis as the control and the address name it: the study's own by nothing."""
    return "" if axis == own_axis(data) else axis


def _axes(data: StudyData, chosen: str) -> list[dict[str, str]]:
    """The axes something is known for, the study's own and the chosen one."""
    known = {key for key, (column, _, _) in SPEEDS.items() if data.results[column].notna().any()}
    names = {key: "speed" if key == "batches_per_s" else COSTS[column].noun for key, (column, _, _) in SPEEDS.items()}
    return [
        {"label": f"{names[key]}, {unit}", "value": _axis_value(data, key)}
        for key, (_, _, unit) in SPEEDS.items()
        if key in known | {own_axis(data), chosen}
    ]


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _text_input(name: str, value: str, placeholder: str, mode: str = "text") -> object:
    return dcc.Input(id=name, value=value, placeholder=placeholder, debounce=0.25, type="text", inputMode=mode)


def _control(label: str, control: Any) -> object:
    return html.Div([html.Label(label, htmlFor=control.id), control], className="control")


def _group(label: str, control: Any) -> object:
    return html.Div(
        [html.Span(label, className="label"), control], className="control", role="group", **{"aria-label": label}
    )


def _results() -> object:
    return html.Div(
        [
            html.P(id="front-count", className="subtitle", role="status"),
            html.Div(
                dcc.Graph(id=GRAPH, config={**style.CONFIG, **_SELECTING}, style={"height": "520px"}),
                id="front-plot",
                role="group",
                **{"aria-label": "Pareto front; the table below holds the same candidates"},
            ),
            html.P(
                "Click a dot for its candidate; drag a box or a lasso (tools above the plot) to fill the table with a "
                "selection.",
                className="note",
            ),
            html.Div(
                [
                    html.P(id="front-table-count", role="status"),
                    html.Button("Clear selection", id="front-unselect", className="plain"),
                    html.Button("Download CSV", id="front-csv", className="plain"),
                ],
                className="bar",
            ),
            html.Div(id="front-table"),
            dcc.Store(id="front-rows"),
        ],
        className="results",
    )


def register(app: Any, source: StudySource) -> None:
    """Adds the callbacks of the page."""
    controls = [Input(f"f-{name}", "value") for name in CONTROLS]
    place = State("url", "pathname")

    def show(*values: Any) -> object:
        *given, _, view, selected, order, pathname, zooms = values
        causes = {str(cause["prop_id"]).partition(".")[0] for cause in ctx.triggered}
        nothing: tuple[Any, Any] = (no_update, no_update)
        try:
            data, filters = source.data(study_at(pathname)), filters_of(given)
            seen = cast("View", {**(view or {}), "scope": pathname, "zooms": zooms or {}})
            drawn = nothing if causes and causes <= _TABLE_ONLY else draw_front(data, filters, seen, selected or [])
            table = (
                nothing
                if causes == {"view"}
                else tabulate_front(data, filters, selected or [], order, study_at(pathname))
            )
        except NasError as error:
            return no_update, problem(error.message, error.hint), *nothing
        return *drawn, *table

    def download(clicks: int | None, *values: Any) -> object:
        *given, selected, pathname = values
        if not clicks:
            return no_update
        rows = _chosen(source.data(study_at(pathname)), filters_of(given), selected or [])
        public = rows[[column for column in rows.columns if not column.startswith("_")]]
        return dcc.send_string(csv_text(public), "candidates.csv")

    # One callback for both: two would ask the same of one interpreter at the same time.
    app.callback(
        [
            Output(GRAPH, "figure"),
            Output("front-count", "children"),
            Output("front-rows", "data"),
            Output("front-table-count", "children"),
        ],
        [*controls, *(Input(name, "data") for name in ("version", "view", "front-selected", "front-order"))],
        [place, State("zooms", "data")],
    )(show)
    app.callback(
        Output("front-download", "data"),
        [
            Input("front-csv", "n_clicks"),
            *[State(f"f-{name}", "value") for name in CONTROLS],
            State("front-selected", "data"),
            place,
        ],
        prevent_initial_call=True,
    )(download)
    _register_browser_side(app)


def _register_browser_side(app: Any) -> None:
    """What needs no server: the table's elements, selection, click-through, the address, clearing."""
    app.clientside_callback("window.nas.table", Output("front-table", "title"), Input("front-rows", "data"))
    given = [Input(f"f-{name}", "value") for name in CONTROLS]
    app.clientside_callback("window.nas.address", Output("front-plot", "title"), given)
    kept = [Output(f"f-{name}", "value") for name in CONTROLS if name not in ("level", "speed")]
    selected, figure = (
        Output("front-selected", "data", allow_duplicate=True),
        Output(GRAPH, "figure", allow_duplicate=True),
    )
    leads = Output("url", "pathname", allow_duplicate=True)
    for name, outputs, inputs, states in (
        ("firstPage", Output("front-order", "data"), given, [State("front-order", "data")]),
        ("selected", Output("front-selected", "data"), [Input(GRAPH, "selectedData")], []),
        ("unselect", [selected, figure], [Input("front-unselect", "n_clicks")], [State(GRAPH, "figure")]),
        ("clickThrough", leads, [Input(GRAPH, "clickData")], [State("url", "pathname")]),
        ("clear", kept, [Input("front-clear", "n_clicks")], []),
    ):
        app.clientside_callback(f"window.nas.{name}", outputs, inputs, states, prevent_initial_call=True)


def filters_of(values: Sequence[Any]) -> Filters:
    """The filters that the controls (in the order of `CONTROLS`) say."""
    texts = {
        name: ",".join(sorted(map(str, value))) if isinstance(value, list) else str(value or "").strip()
        for name, value in zip(CONTROLS, values, strict=True)
    }
    return Filters(**texts)


def shown_candidates(data: StudyData, filters: Filters) -> pd.DataFrame:
    """The candidates the filters let through, with the front among them.

    Figure, table and download ask for the same ones; the last answer is kept with the data.
    """
    kept: dict[Filters, pd.DataFrame] = data.once("shown", dict)
    shown = kept.get(filters)
    if shown is None:
        shown = _shown_candidates(data, filters)
        kept.clear()
        kept[filters] = shown
    return shown


def _shown_candidates(data: StudyData, filters: Filters) -> pd.DataFrame:
    table = ParetoFront(speed=filters.speed, level=filters.chosen_level(data)).table(data)
    shown = table[filters.mask(table, data)]
    shown = mark_front(shown, *data.costs) if len(shown) else shown
    shown.attrs = table.attrs
    return shown


def draw_front(data: StudyData, filters: Filters, view: View, selected: Sequence[str]) -> tuple[Any, str]:
    """The figure, and how many candidates it shows."""
    figure = ParetoFront(speed=filters.speed, level=filters.chosen_level(data))
    shown = shown_candidates(data, filters)
    whole = len(figure.table(data))
    drawing = figure.draw(shown)
    if isinstance(drawing, str):
        sentence = drawing if not whole or len(shown) else "No candidate passes these filters."
        return figure_for(_blank(sentence, view), view), f"0 of {plural(whole, 'candidate')}"
    drawing.update_layout(uirevision=f"{filters.speed}/{filters.level}")
    plain = figure_for(drawing, view, "front")
    _mark_selected(plain["data"], set(selected))
    level = filters.chosen_level(data)
    return plain, f"{count(len(shown))} of {plural(whole, 'candidate')} ({level.words if level else ''})"


def _blank(sentence: str, view: View) -> object:
    figure = style.new_figure(520)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    place = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "showarrow": False}
    columns = 38 if int(view.get("width") or 1280) < NARROW_PX else 90
    lines = "<br>".join(textwrap.wrap(style.plain(sentence), columns))
    figure.add_annotation(text=lines, font={"size": 15, "color": style.MUTED}, **place)
    return figure


def _mark_selected(traces: Sequence[dict[str, Any]], selected: set[str]) -> None:
    """A selection is of candidates, not of dots: it holds when new dots arrive."""
    if not selected:
        return
    for trace in traces:
        rows = trace.get("customdata")
        if rows is not None:
            trace["selectedpoints"] = [i for i, row in enumerate(rows) if row[0] in selected]
            trace["unselected"] = {"marker": {"opacity": 0.12}}


def _chosen(data: StudyData, filters: Filters, selected: Sequence[str]) -> pd.DataFrame:
    shown = shown_candidates(data, filters)
    return shown[shown["candidate_id"].isin(selected)] if selected else shown


def tabulate_front(
    data: StudyData, filters: Filters, selected: Sequence[str], order: Mapping[str, Any], study: str
) -> tuple[str, str]:
    """A page of the report's table of candidates as HTML for `window.nas.table`, and how many rows there are.

    `study` is the key that links lead to.

    The browser sets it as it is: as some six hundred Dash components it took longer than all the rest of a
    filter (`benchmarks/dashboard.py`).
    """
    rows = _chosen(data, filters, selected)
    columns = (*COLUMNS, *(cost.column for cost in data.further_costs))
    column = order["column"] if order["column"] in columns else "map_mean"
    ordered = rows.sort_values(column, ascending=not order["descending"], kind="stable", na_position="last")
    pages = max(1, -(-len(ordered) // PAGE_ROWS))
    page = min(int(order["page"]), pages - 1)
    part = ordered.iloc[page * PAGE_ROWS : (page + 1) * PAGE_ROWS]
    shown = candidate_rows(part, data, lambda candidate: href(study, "candidate", candidate))
    titles = zip(columns, candidate_heads(data), strict=True)
    heads = [_heading(i, name, title, order) for i, (name, title) in enumerate(titles)]
    cells = [tag("tr", [tag("td", cell_html(cell), class_=_kind(i)) for i, cell in enumerate(row)]) for row in shown]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", cells), class_="candidates")
    scroll = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="Candidates")
    what = "selected" if selected else "shown"
    return str(tag("div", scroll, _pager(order, page, pages))), f"{plural(len(ordered), 'candidate')} {what}"


def _kind(column: int) -> str | None:
    return "n" if column >= FIRST_NUMBER else None


def _heading(place: int, name: str, title: str, order: Mapping[str, Any]) -> Element:
    """A heading, and the order that a click on it asks for: the other way round, or a column's natural one."""
    if not name:
        return tag("th", scope="col")
    own = order["column"] == name
    down = not order["descending"] if own else name in _FALLING
    sort = ("descending" if order["descending"] else "ascending") if own else None
    click = {"column": name, "descending": down, "page": 0}
    return tag("th", _asking(title, name, click), scope="col", aria_sort=sort, class_=_kind(place))


def _asking(words: str, key: str, order: Mapping[str, Any] | None, style_class: str | None = None) -> Element:
    """A button that asks for another order or page of the table."""
    asked = {"data_key": key, "data_order": json.dumps(order), "disabled": order is None}
    return tag("button", words, type="button", class_=style_class, **asked)


def _pager(order: Mapping[str, Any], page: int, pages: int) -> Element | None:
    if pages == 1:
        return None
    before, after = ({**order, "page": p} if 0 <= p < pages else None for p in (page - 1, page + 1))
    words = tag("span", f"Page {page + 1} of {pages}")
    buttons = (_asking("Previous", "previous", before, "plain"), words, _asking("Next", "next", after, "plain"))
    return tag("div", buttons, class_="bar", role="navigation", aria_label="Pages of the table")
