"""The data and the protocol of a study, its seed noise, and what its numbers were made with."""

from __future__ import annotations

from typing import Any

from nas.reporting.dashboard.components import View, blocks, figure
from nas.reporting.dashboard.parts import html
from nas.reporting.dashboard.routing import Route
from nas.reporting.dashboard.source import Snapshot
from nas.reporting.story.drawn import figure_block
from nas.reporting.story.setting import data_section, protocol
from nas.reporting.story.trust import provenance, reproduce


def render(snapshot: Snapshot, route: Route, view: View) -> list[Any]:
    """The page."""
    data = snapshot.data
    parts: list[Any] = [html.H1("Data and protocol")]
    for section in (data_section(data), protocol(data)):
        parts += [html.H2(section.title), *blocks(section.blocks, view)]
    parts += [html.H2("Seed noise"), figure(figure_block("seed_noise", data), view)]
    for section in (provenance(data), reproduce(data)):
        parts += [html.H2(section.title), *blocks(section.blocks, view)]
    return parts
