"""How long networks take on the device: speed a position, whether costs add up, and every timed network."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from nas.reporting.document import Block, Cell, Facts, Section, Table, code
from nas.reporting.numbers import MISSING, count, fixed, is_missing, plural, signed
from nas.reporting.story.drawn import figure_block
from nas.reporting.story.setting import value_words
from nas.reporting.study_data import StudyData, rows_of
from nas.results.costs import HOW_WORDS
from nas.results.levels import plain_row

_SHOWN = 80


def times(data: StudyData) -> Section:
    """Figures, the protocol, and the fastest networks with drift and spread."""
    names = ("speed_by_position", "latency_spread", "additive_residuals")
    figures: list[Block] = [figure_block(name, data) for name in names]
    protocol = [(key, value_words(value)) for key, value in data.latency_protocol.items()]
    tables: list[Block] = [_table(data), Facts(protocol)] if len(data.latencies) else []
    title = "What networks cost" if data.pays_time else "How long networks take"
    return Section("times", title, [*figures, *tables])


def _table(data: StudyData) -> Table:
    latencies = data.latencies.dropna(subset=["median_ms"])
    plain = plain_row(latencies, data.backbone)
    zero = math.nan if plain is None else float(plain["median_ms"])
    ordered = latencies.assign(_ms=pd.to_numeric(latencies["median_ms"])).sort_values("_ms")
    rows = [_row(row, zero) for row in rows_of(ordered.head(_SHOWN))]
    heads = ["network", "median (ms)", "5–95 % (ms)", "batches/s", "over plain (ms)", "batches"]
    heads += ["drift", "as read (ms)", "how"]
    cut = len(ordered) - len(rows)
    note = f"Not shown: {plural(cut, 'slower network')}." if cut > 0 else ""
    lost = data.latencies["unknown"].notna().sum()
    note += f" Not known: the times of {plural(int(lost), 'network')}, see the protocol." if lost else ""
    caption = f"Times of a {data.batch_words}."
    return Table(heads, rows, caption, name="latencies", numeric=frozenset(range(1, 8)), note=note)


def _row(row: Any, zero: float) -> list[Cell]:
    return [
        code(row.notation),
        fixed(row.median_ms, 3),
        MISSING if is_missing(row.p5_ms) else f"{fixed(row.p5_ms, 3)}–{fixed(row.p95_ms, 3)}",
        fixed(row.batches_per_s, 2),
        signed(float(row.median_ms) - zero, 3),
        count(row.batches),
        MISSING if is_missing(row.drift) else f"{signed(100 * float(row.drift), 1)} %",
        fixed(row.raw_ms, 3),
        HOW_WORDS.get(str(row.how), "timed"),
    ]
