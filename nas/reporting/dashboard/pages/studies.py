"""All studies of the database: where each stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.reporting.dashboard.components import blocks
from nas.reporting.dashboard.parts import html
from nas.reporting.dashboard.progress import progress_bar, study_state
from nas.reporting.dashboard.routing import href
from nas.reporting.document import Cell, Link, Table
from nas.reporting.numbers import count, hours


def render(studies: Sequence[Mapping[str, Any]], database: str) -> list[Any]:
    """A row a study, the newest first."""
    head = [html.H1("Studies"), html.P(["Database ", html.Code(database)], className="subtitle")]
    if not studies:
        empty = [
            html.P("There is no study in this database yet.", className="lead"),
            html.P(["Start one: ", html.Code("nas run studies/quickstart.yaml"), ". It appears here by itself."]),
        ]
        return [*head, html.Div(empty, className="problem")]
    names = ("study", "state", "progress", "finished", "failed", "running", "training time")
    rows = [_row(study) for study in studies]
    return [*head, *blocks([Table(names, rows, name="studies", numeric=frozenset(range(3, 7)))], {})]


def _row(study: Mapping[str, Any]) -> list[Cell]:
    counts = study["trainings"]
    seconds = sum(stage["seconds"] or 0 for stage in study["stages"])
    return [
        Link(study["study"], href(study["study"])),
        study_state(study),
        progress_bar(counts, study["study"]),
        *[count(counts[key]) for key in ("finished", "failed", "running")],
        hours(seconds) if seconds else "–",
    ]
