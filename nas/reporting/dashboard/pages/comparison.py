"""Two candidates of a study side by side, and several studies in one view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dash import Input, Output, State, no_update

from nas import reporting
from nas.errors import NasError
from nas.reporting.combined import combine
from nas.reporting.compare import Comparison, compare_studies
from nas.reporting.dashboard.components import View, blocks, problem, sections
from nas.reporting.dashboard.parts import dcc, html
from nas.reporting.dashboard.routing import Route, study_at
from nas.reporting.dashboard.source import Snapshot, StudySource
from nas.reporting.document import Block, Bullets, Cell, Paragraph, Section, Table, code, words
from nas.reporting.numbers import fixed, interval, signed
from nas.reporting.story.beside import beside, choices, first_pair, lists_beside
from nas.reporting.study_data import StudyData, records_of
from nas.storage import Database

_SIDES = ("first", "second")
_MOST_CHOICES = 100
"""Candidates in a list to choose from: thousands keep the browser so busy that a page which is drawn anew every few
seconds never gets ready. The best stand first, and what is typed finds the others."""


def layout(snapshot: Snapshot, route: Route) -> list[object]:
    """Two lists to choose from, set as the address says."""
    data = snapshot.data
    pair = first_pair(data)
    if pair is None:
        return [html.H1("Compare"), problem("Two candidates must have finished before they can be compared.")]
    known = choices(data)
    chosen = [route.query.get(key, default) for key, default in zip(_SIDES, pair, strict=True)]
    lists = [
        html.Div(
            [
                html.Label(side.title(), htmlFor=f"compare-{side}"),
                _dropdown(f"compare-{side}", options_of(known, value), value),
            ]
        )
        for side, value in zip(_SIDES, chosen, strict=True)
    ]
    more = f"The lists show the best {_MOST_CHOICES} of {len(known):,} candidates; type part of a name to find others."
    return [
        html.H1("Compare"),
        html.Div(lists, className="pair"),
        html.P(more, className="note") if len(known) > _MOST_CHOICES else None,
        dcc.Loading(html.Div(id="compare-body"), delay_show=400),
        html.H2("Rank lists of the same queries"),
        html.Div(
            [
                html.Button("Make them", id="compare-make", className="plain"),
                html.P("From the weights that were kept, on this machine's processor; some seconds to minutes."),
            ],
            className="bar",
        ),
        dcc.Loading(html.Div(id="compare-lists"), delay_show=400),
    ]


def options_of(known: Sequence[tuple[str, str]], chosen: str, typed: str | None = None) -> list[dict[str, str]]:
    """The first of the candidates whose names hold what was typed, and the chosen one, as a list to choose from."""
    wanted = (typed or "").strip().lower()
    found = [(name, label) for name, label in known if wanted in label.lower()][:_MOST_CHOICES]
    if chosen not in dict(found):
        found.insert(0, (chosen, dict(known).get(chosen, chosen)))
    return [{"label": label, "value": name} for name, label in found]


def _dropdown(name: str, options: Sequence[Mapping[str, str]], value: Any, *, multi: bool = False) -> object:
    return dcc.Dropdown(options, value, id=name, clearable=multi, multi=multi)


def studies_layout(names: Mapping[str, str], route: Route) -> list[object]:
    """A list of studies to choose from; two newest where the address names none."""
    asked = [key for key in route.query.get("studies", "").split(",") if key in names]
    options = [{"label": shown, "value": key} for key, shown in names.items()]
    return [
        html.H1("Several studies"),
        html.Label("Studies", htmlFor="together-studies"),
        _dropdown("together-studies", options, asked or list(names)[:2], multi=True),
        dcc.Loading(html.Div(id="together-body"), delay_show=400),
    ]


def register(app: Any, source: StudySource) -> None:
    """Adds the callbacks of both pages."""

    def pair(first: str, second: str, version: Any, view: View | None, pathname: str) -> object:
        try:
            return pair_of(source.data(study_at(pathname)), first, second, view or {})
        except NasError as error:
            return [problem(error.message, error.hint)]

    def lists(clicks: int | None, first: str, second: str, view: View | None, pathname: str) -> object:
        if not clicks:
            return no_update
        try:
            study = study_at(pathname)
            both = with_lists(source.database(study), source.data(study), first, second)
            return blocks(lists_beside(both, first, second), view or {})
        except NasError as error:
            return [problem(error.message, error.hint)]

    def offered(typed: str | None, chosen: str, pathname: str) -> object:
        known = choices(source.data(study_at(pathname)))
        return options_of(known, chosen, typed) if len(known) > _MOST_CHOICES else no_update

    def studies(names: Sequence[str] | None, version: Any, view: View | None) -> object:
        try:
            return together(told_apart({key: source.data(key) for key in names or ()}, source.names()), view or {})
        except NasError as error:
            return [problem(error.message, error.hint)]

    chosen = [Input(f"compare-{side}", "value") for side in _SIDES]
    held = [State(f"compare-{side}", "value") for side in _SIDES]
    seen = [Input("version", "data"), Input("view", "data")]
    place = State("url", "pathname")
    app.callback(Output("compare-body", "children"), [*chosen, *seen, place])(pair)
    for side in _SIDES:
        app.callback(
            Output(f"compare-{side}", "options"),
            [Input(f"compare-{side}", "search_value"), State(f"compare-{side}", "value"), place],
            prevent_initial_call=True,
        )(offered)
    app.callback(
        Output("compare-lists", "children"),
        [Input("compare-make", "n_clicks"), *held, State("view", "data"), place],
        prevent_initial_call=True,
    )(lists)
    app.callback(Output("together-body", "children"), [Input("together-studies", "value"), *seen])(studies)
    app.clientside_callback("window.nas.pair", Output("compare-body", "title"), chosen)
    app.clientside_callback("window.nas.together", Output("together-body", "title"), Input("together-studies", "value"))


def pair_of(data: StudyData, first: str, second: str, view: View) -> list[object]:
    """Everything about two candidates, or why there is nothing."""
    known = set(data.results["notation"])
    missing = [name for name in (first, second) if name not in known]
    if missing or first == second:
        said = f"There is no candidate {missing[0]} in this study." if missing else "Choose two different candidates."
        return [problem(said)]
    return sections(beside(data, first, second), view)


def with_lists(database: Database, data: StudyData, first: str, second: str, queries: int = 4) -> StudyData:
    """The study with rank lists of both candidates, of the queries that are spread over the first one's precisions.

    Raises:
        StudyError: no weights of one of them were kept, of the second on the split that the first is judged on.
        DataError: the images are not where the study file says.
    """
    mine = reporting.make_rank_lists(database, data, notation=first, queries=queries)
    asked = list(dict.fromkeys(row["query"] for row in mine[first]))
    split = mine[first][0]["split"]
    theirs = reporting.make_rank_lists(database, data, notation=second, queries=asked, split=split)
    return replace(data, rank_lists={**mine, **theirs})


def told_apart(studies: Mapping[str, StudyData], names: Mapping[str, str]) -> list[StudyData]:
    """Studies by their keys, those of one name named by their databases, too."""
    used = [data.name for data in studies.values()]
    return [
        data if used.count(data.name) == 1 else replace(data, name=names.get(key, data.name))
        for key, data in studies.items()
    ]


def together(studies: Sequence[StudyData], view: View) -> list[object]:
    """One view of several studies: the combined report, and of two what they share."""
    if len(studies) < 2:
        return [problem("Choose two studies or more.")]
    found = list(combine(studies).sections)
    if len(studies) == 2:
        try:
            found.insert(1, _shared(compare_studies(*studies)))
        except NasError as error:
            found.insert(1, Section("shared", "What both trained", [Paragraph(words(error.message))]))
    return sections(found, view)


def _shared(found: Comparison) -> Section:
    rows: list[list[Cell]] = [
        [
            code(row["notation"]),
            fixed(row["map_first"], 4),
            fixed(row["map_second"], 4),
            f"{signed(row['difference'])} {interval(row['low'], row['high'])}",
            str(row["verdict"]),
        ]
        for row in records_of(found.networks)
    ]
    heads = ["network", *found.names, "first minus second, 95 %", "the first is"]
    kinds = (
        ("Rules of both", found.both),
        *((f"Only of {n}", r) for n, r in zip(found.names, (found.only_first, found.only_second), strict=True)),
    )
    rules = [f"{heading}: {words(rule)}" for heading, sentences in kinds for rule in sentences]
    parts: list[Block] = [
        Paragraph(words(found.sentence())),
        Table(heads, rows, name="shared", numeric=frozenset({1, 2, 3})),
    ]
    return Section("shared", "What both trained", [*parts, *([Bullets(rules)] if rules else [])])
