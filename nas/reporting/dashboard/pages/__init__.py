"""The pages of the dashboard, one module each.

A plain page has `render(snapshot, route, view)` and is drawn anew whenever the study changes; the explorer
and the rules page keep controls and have callbacks of their own (`layout`, `register`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nas.reporting.dashboard.components import View
from nas.reporting.dashboard.pages import candidate, data, front, latency, overview, rules, spaces
from nas.reporting.dashboard.routing import Route
from nas.reporting.dashboard.source import Snapshot

Render = Callable[[Snapshot, Route, View], list[Any]]

PLAIN: dict[str, Render] = {
    "overview": overview.render,
    "candidate": candidate.render,
    "spaces": spaces.render,
    "latency": latency.render,
    "data": data.render,
}
"""Page -> what draws it."""

WITH_CONTROLS = {"front": front, "rules": rules}
"""Page -> module with `layout` and `register`."""
