"""The pages of the dashboard: overview, front, rules and one candidate have modules; the others are report sections.

A plain page has `render(snapshot, route, view)` and is drawn anew whenever the study changes; the explorer,
the rules and the comparison keep controls and have callbacks of their own (`layout`, `register`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nas.reporting.dashboard.components import View, sections
from nas.reporting.dashboard.pages import candidate, comparison, explorer, overview, rule_choice
from nas.reporting.dashboard.parts import html
from nas.reporting.dashboard.routing import PAGES, Route
from nas.reporting.dashboard.source import Snapshot
from nas.reporting.document import Section
from nas.reporting.story import course, elsewhere, results, setting, shrinking, times, tried, trust
from nas.reporting.study_data import StudyData

Render = Callable[[Snapshot, Route, View], list[Any]]

TOLD: dict[str, tuple[Callable[[StudyData], Section | None], ...]] = {
    "positions": (results.positions, course.course),
    "spaces": (shrinking.shrinking, tried.tried, elsewhere.rules_elsewhere, elsewhere.transfer),
    "latency": (times.times,),
    "data": (setting.data_section, setting.protocol, trust.failures, trust.provenance, trust.reproduce),
}
"""Page -> sections of the report that it shows."""


def told(snapshot: Snapshot, route: Route, view: View) -> list[object]:
    """A page of the report's own sections."""
    found = [section for part in TOLD[route.page] if (section := part(snapshot.data)) is not None]
    return [html.H1(PAGES[route.page]), *sections(found, view)]


PLAIN: dict[str, Render] = {"overview": overview.render, "candidate": candidate.render, **dict.fromkeys(TOLD, told)}
"""Page -> what draws it."""

WITH_CONTROLS = {"front": explorer, "rules": rule_choice, "compare": comparison}
"""Page -> module with `layout` and `register`."""
