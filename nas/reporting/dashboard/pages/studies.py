"""All studies of the database: where each stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.reporting.dashboard.components import badge
from nas.reporting.dashboard.parts import dcc, html
from nas.reporting.dashboard.progress import progress_bar, study_state
from nas.reporting.dashboard.routing import href
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
    heads = html.Tr([html.Th(name, scope="col", className="n" if i > 2 else None) for i, name in enumerate(names)])
    table = html.Table([html.Thead(heads), html.Tbody([_row(study) for study in studies])], className="studies")
    return [*head, html.Div(table, className="scroll", tabIndex=0, role="region", **{"aria-label": "Studies"})]


def _row(study: Mapping[str, Any]) -> Any:
    counts = study["trainings"]
    seconds = sum(stage["seconds"] or 0 for stage in study["stages"])
    cells = [
        html.Td(dcc.Link(study["study"], href=href(study["study"]))),
        html.Td(badge(study_state(study))),
        html.Td(progress_bar(counts, study["study"])),
        *[html.Td(count(counts[key]), className="n") for key in ("finished", "failed", "running")],
        html.Td(hours(seconds) if seconds else "–", className="n"),
    ]
    return html.Tr(cells)
