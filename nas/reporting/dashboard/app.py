"""The Dash application: shell, navigation, live updates. Pages are in `pages`, access rules in `access`."""

from __future__ import annotations

import logging
from importlib.resources import files
from typing import Any

from dash import ALL, Dash, Input, Output, State, no_update, set_props

from nas.errors import NasError, StudyError
from nas.files.hashes import hash_of_data
from nas.reporting.dashboard import access
from nas.reporting.dashboard.components import View, problem
from nas.reporting.dashboard.pages import PLAIN, WITH_CONTROLS, comparison, studies
from nas.reporting.dashboard.parts import dcc, html
from nas.reporting.dashboard.routing import PAGES, Route, href, read_route, serve_below
from nas.reporting.dashboard.source import StudySource
from nas.reporting.html import asset, theme_css

REFRESH_S = 3.0
_INDEX = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{%title%}</title>
{%favicon%}
<style>THEME</style>
<script>TABLES</script>
{%css%}
</head>
<body>
<a class="skip" href="#page">Skip to the page</a>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>
"""


def create_app(*urls: str, token: str | None = None, refresh_s: float = REFRESH_S, below: str = "/") -> Dash:
    """The dashboard of one database, or of several.

    Args:
        token: what visitors must bring; None serves this machine only.
        below: path of its start page, where a reverse proxy serves it among others.

    Raises:
        StorageError: the only database cannot be read.
    """
    source = StudySource(*urls)
    source.names()  # a wrong address is told before serving begins
    app = Dash(
        "nas",
        title="nas dashboard",
        url_base_pathname=serve_below(below),
        update_title="",
        assets_folder=str(files("nas.reporting.dashboard") / "assets"),
        suppress_callback_exceptions=True,
        index_string=_INDEX.replace("THEME", theme_css()).replace("TABLES", asset("tables.js")),
        compress=False,
        on_error=_told,
    )
    access.guard(app.server, token)
    app.layout = shell(refresh_s, serve_below(below))
    _register(app, source)
    for page in WITH_CONTROLS.values():
        page.register(app, source)
    source.warm()
    return app


def _told(error: Exception) -> None:
    """Our own mistakes: one sentence on the page, the traceback in the log."""
    logging.getLogger("nas.dashboard").error("a page could not be drawn", exc_info=error)
    words = f"This could not be drawn: {type(error).__name__}: {error}"
    set_props("trouble", {"children": problem(words, "It is our mistake; the log of `nas dashboard` says more.")})


def shell(refresh_s: float, start: str) -> object:
    """What stays while pages change."""
    return html.Div(
        [
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Interval(id="clock", interval=int(refresh_s * 1000)),
            dcc.Store(id="view"),
            dcc.Store(id="version"),
            dcc.Store(id="zooms", data={}),
            html.Header(
                [
                    dcc.Link("nas", href=start, className="brand", title="All studies"),
                    html.Nav(id="navigation", **{"aria-label": "Pages"}),
                    html.Button("Theme", id="theme", className="theme", type="button"),
                ],
                className="top",
            ),
            html.Div(id="trouble"),
            html.Main(id="page", tabIndex=-1),
        ]
    )


def _register(app: Any, source: StudySource) -> None:
    def navigate(pathname: str | None, search: str | None) -> object:
        route = read_route(pathname, search)
        return navigation(route), page_of(source, route)

    def look(_: int | None, pathname: str | None, known: Any) -> object:
        route = read_route(pathname)
        try:
            version = {"of": route.study or "", "token": token_of(source, route)}
        except StudyError:  # no such study: the page itself says so
            version = {"of": route.study or "", "token": ""}
        except NasError as error:
            return no_update, problem(error.message, "Trying again every few seconds.")
        return (no_update if version == known else version), None

    def fill(version: Any, view: View | None, pathname: str | None, search: str | None, zooms: Any) -> object:
        if view is None:
            return no_update
        seen: View = {**view, "scope": pathname or "", "zooms": zooms or {}}
        return body_of(source, read_route(pathname, search), seen)

    app.callback(
        [Output("navigation", "children"), Output("page", "children")], Input("url", "pathname"), State("url", "search")
    )(navigate)
    app.callback(
        [Output("version", "data"), Output("trouble", "children")],
        [Input("clock", "n_intervals"), Input("url", "pathname")],
        State("version", "data"),
    )(look)
    app.callback(
        Output("body", "children"),
        [Input("version", "data"), Input("view", "data")],
        [State("url", "pathname"), State("url", "search"), State("zooms", "data")],
    )(fill)
    app.clientside_callback(
        "window.nas.zooms",
        Output("zooms", "data"),
        Input({"type": "figure", "name": ALL}, "relayoutData"),
        State("zooms", "data"),
    )
    app.clientside_callback("window.nas.view", Output("view", "data"), Input("theme", "n_clicks"))
    app.clientside_callback("window.nas.arrived", Output("page", "title"), Input("page", "children"))


def token_of(source: StudySource, route: Route) -> str:
    """What must change for a page to be drawn anew."""
    if route.study is None:
        unread: list[NasError] = []
        known = source.studies(unread) if route.page in ("studies", "compare") else []
        return _digest([*known, *map(str, unread)])
    token = source.token(route.study)
    if route.page != "overview":
        return token
    status, workers = source.status(route.study)
    signs = [(worker["id"], worker["state"], int(worker["silent_s"] // 30)) for worker in workers]
    return _digest([token, status["trainings"], [row["training_id"] for row in status["running"]], signs])


def _digest(value: Any) -> str:
    # Statuses carry the database's clock, which is no news.
    kept = [{k: v for k, v in row.items() if k != "now"} if isinstance(row, dict) else row for row in value]
    return hash_of_data(kept)


def navigation(route: Route) -> list[object]:
    """Links to the pages of the study that is open."""
    if route.study is None:
        return []
    here = "front" if route.page == "candidate" else route.page
    return [
        dcc.Link(title, href=href(route.study, page), className="here" if page == here else None)
        for page, title in PAGES.items()
    ]


def page_of(source: StudySource, route: Route) -> list[object]:
    """A page's frame; plain pages are filled by a callback, so that they can be drawn anew."""
    if route.page == "unknown":
        return [problem("There is no such page.", "The navigation above, or the start page, leads on.")]
    if route.study is None:
        try:
            known = source.names()
        except NasError as error:
            return [problem(error.message, error.hint)]
        return comparison.studies_layout(known, route) if route.page == "compare" else studies.layout(source.shown_urls)
    if route.page not in WITH_CONTROLS:
        return [html.Div(id="body", className=f"body {route.page}")]
    try:
        return list(WITH_CONTROLS[route.page].layout(source.snapshot(str(route.study)), route))
    except NasError as error:
        return [problem(error.message, error.hint)]


def body_of(source: StudySource, route: Route, view: View) -> list[object]:
    """The content of a plain page; nothing where the browser asks for another's, which it is about to show."""
    try:
        if route.study is None:
            unread: list[NasError] = []
            return studies.render(source.studies(unread), unread, source.find)
        if route.page not in PLAIN:
            return []
        return PLAIN[route.page](source.snapshot(route.study), route, view)
    except NasError as error:
        return [problem(error.message, error.hint)]
