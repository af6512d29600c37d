"""Latency: speed a position, whether costs add up, drift and spread, and every measured network."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nas.reporting.dashboard.components import View, block, figure
from nas.reporting.dashboard.parts import html
from nas.reporting.dashboard.routing import Route
from nas.reporting.dashboard.source import Snapshot
from nas.reporting.document import Badge, Facts, Table, code
from nas.reporting.numbers import MISSING, count, fixed, is_missing, plural
from nas.reporting.story.drawn import figure_block
from nas.reporting.story.setting import value_words
from nas.reporting.study_data import StudyData, rows_of
from nas.results.costs import HOW_WORDS

_SHOWN = 80


def render(snapshot: Snapshot, route: Route, view: View) -> list[Any]:
    """The page."""
    data = snapshot.data
    facts = [(key, value_words(value)) for key, value in data.latency_protocol.items()]
    return [
        html.H1("Latency"),
        html.P(f"Times of a {data.batch_words}.", className="subtitle"),
        figure(figure_block("speed_by_position", data), view),
        figure(figure_block("additive_residuals", data), view),
        html.H2("Measured networks"),
        block(_table(data)),
        html.H2("Protocol"),
        block(Facts(facts)),
    ]


def _table(data: StudyData) -> Table:
    latencies = data.latencies.dropna(subset=["median_ms"])
    plain = (latencies["n_blocks"] == 0) & (latencies["backbone"] == data.backbone)
    base = latencies[plain & (latencies["role"] != "reference")]["median_ms"]
    zero = float(base.iloc[0]) if len(base) else float("nan")
    ordered = latencies.assign(_ms=pd.to_numeric(latencies["median_ms"])).sort_values("_ms")
    rows = [_row(row, zero) for row in rows_of(ordered.head(_SHOWN))]
    heads = ["network", "median (ms)", "5–95 % (ms)", "batches/s", "over plain (ms)", "batches"]
    heads += ["drift", "as read (ms)", "how"]
    cut = len(ordered) - len(rows)
    note = f"Not shown: {plural(cut, 'slower network')}." if cut > 0 else ""
    lost = data.latencies["unknown"].notna().sum()
    note += f" Not known: the times of {plural(int(lost), 'network')}, see the report's protocol." if lost else ""
    return Table(heads, rows, name="latencies", numeric=frozenset(range(1, 8)), note=note)


def _row(row: Any, zero: float) -> list[str | Badge]:
    added = float(row.median_ms) - zero
    return [
        code(row.notation),
        fixed(row.median_ms, 3),
        f"{fixed(row.p5_ms, 3)}–{fixed(row.p95_ms, 3)}",
        fixed(row.batches_per_s, 2),
        MISSING if is_missing(added) else f"{added:+.3f}".replace("-", "−"),
        count(row.batches),
        MISSING if is_missing(row.drift) else f"{100 * float(row.drift):+.1f} %".replace("-", "−"),
        fixed(row.raw_ms, 3),
        HOW_WORDS.get(str(row.how), "timed"),
    ]
