"""Design spaces compared: lineage, sizes, the rules that made them, their error distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.reporting.dashboard.components import View, block, figure
from nas.reporting.dashboard.parts import html
from nas.reporting.dashboard.routing import Route
from nas.reporting.dashboard.source import Snapshot
from nas.reporting.document import Badge, Cell, Stacked, Table, code, words
from nas.reporting.findings import rule_words
from nas.reporting.numbers import MISSING, count, fixed, interval, p_value, signed
from nas.reporting.story.drawn import figure_block


def render(snapshot: Snapshot, route: Route, view: View) -> list[Any]:
    """The page."""
    data = snapshot.data
    return [
        html.H1("Design spaces"),
        figure(figure_block("space_lineage", data), view),
        html.H2("Sizes and rules"),
        block(_table(snapshot)),
        html.H2("How good their candidates are"),
        figure(figure_block("error_distribution", data), view),
        figure(figure_block("placement_map", data), view),
        figure(figure_block("pair_map", data), view),
        figure(figure_block("importances", data), view),
    ]


def _table(snapshot: Snapshot) -> Table:
    spaces = {space.get("id"): space for space in snapshot.data.spaces}
    rows = [_row(space, spaces.get(space.get("parent_id"))) for space in snapshot.data.spaces]
    heads = ["space", "candidates", "of its parent", "verdict", "area between EDFs", "KS p", "new rules"]
    return Table(heads, rows, name="spaces", numeric=frozenset({1, 2, 4, 5}))


def _row(space: Mapping[str, Any], parent: Mapping[str, Any] | None) -> list[Cell]:
    said = space.get("confirmation") or {}
    share = float(space.get("size") or 0) / float(parent["size"]) if parent and parent.get("size") else None
    before = [rule_words(rule) for rule in (parent or {}).get("rules") or ()]
    new = [rule_words(rule) for rule in space.get("rules") or () if rule_words(rule) not in before]
    area = signed(said.get("area"))
    bounds = interval(said.get("low"), said.get("high"))
    return [
        Stacked(code(space.get("name", "")), words(space.get("stage") or "")),
        count(space.get("size")),
        MISSING if share is None else f"{fixed(100 * share, 3)} %",
        _verdict(space, parent),
        area if bounds == MISSING else f"{area} {bounds}",
        p_value(said.get("ks_p")),
        "; ".join(words(rule) for rule in new) or MISSING,
    ]


def _verdict(space: Mapping[str, Any], parent: Mapping[str, Any] | None) -> Badge:
    if parent is None:
        return Badge("start")
    if space.get("adopted") is None:
        return Badge("not decided")
    return Badge("kept", "good") if space["adopted"] else Badge("undone", "bad")
