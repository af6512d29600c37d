"""All studies of the databases: where each stands, what it found so far, what limits it; with search and order."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nas.errors import NasError
from nas.reporting.dashboard.components import blocks, problem
from nas.reporting.dashboard.parts import dcc, html
from nas.reporting.dashboard.progress import progress_bar, study_state
from nas.reporting.dashboard.routing import compare_href, href
from nas.reporting.document import Badge, Cell, Link, Stacked, Table
from nas.reporting.numbers import count, hours, plural

HEADS = ("study", "state", "progress", "difference found", "to mind", "finished", "failed", "running", "time", "begun")


def layout(databases: Sequence[str]) -> list[object]:
    """What stays while rows change: the heading and the search."""
    search = dcc.Input(id="find-study", type="text", placeholder="part of any cell", autoComplete="off")
    return [
        html.H1("Studies"),
        html.P(
            ["Database " if len(databases) == 1 else "Databases ", html.Code(", ".join(databases))],
            className="subtitle",
        ),
        html.Div(
            [
                html.Label("Search", htmlFor="find-study"),
                search,
                dcc.Link("Compare several studies", href=compare_href()),
            ],
            className="bar find",
        ),
        html.Div(id="body", className="body studies"),
    ]


def render(
    studies: Sequence[Mapping[str, Any]], unread: Sequence[NasError] = (), find: Sequence[str] = ()
) -> list[object]:
    """A row a study, the newest first; a click on a heading orders them. Above it what cannot be read, and why.

    `find` are options by which a command finds the only database.
    """
    told = [problem(error.message, error.hint) for error in unread]
    if not studies and told:
        return told
    if not studies:
        empty = [
            html.P("There is no study here yet.", className="lead"),
            html.P(
                [
                    "Start one: ",
                    html.Code(shlex.join(["nas", "run", "studies/quickstart.yaml", *find])),
                    ". It appears here by itself.",
                ]
            ),
        ]
        return [html.Div(empty, className="problem")]
    table = Table(HEADS, [_row(study) for study in studies], name="studies", numeric=frozenset(range(5, 9)))
    return [*told, *blocks([table], {})]


def _row(study: Mapping[str, Any]) -> list[Cell]:
    counts, told = study["trainings"], study["told"]
    seconds = sum(stage["seconds"] or 0 for stage in study["stages"])
    return [
        Link(study["study"], href(study["key"]), study["database"]),
        study_state(study),
        progress_bar(counts, study["study"]),
        Stacked(told["difference"], told["of"]) if told else "being read …",
        "" if not told else Badge(plural(told["limits"], "limit"), "warn") if told["limits"] else Badge("none", "good"),
        *[count(counts[key]) for key in ("finished", "failed", "running")],
        hours(seconds) if seconds else "–",
        datetime.fromtimestamp(study["created_at"], UTC).strftime("%Y-%m-%d %H:%M"),
    ]
