"""What candidates cost, as columns of tables: read from latency records, or given by a replayed table."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache
from typing import cast

import numpy as np
import pandas as pd

from nas.results.costs import COSTS, DISTURBED, UNKNOWN, How, Quote, number, read_times
from nas.spaces import Candidate

COST_COLUMNS: tuple[str, ...] = (
    *("latency_ms", "latency_low_ms", "latency_high_ms", "latency_p5_ms", "latency_p95_ms", "batches_per_s"),
    *("latency_measured", "latency_how", "latency_unknown", "peak_memory_mb", "energy_j"),
)
"""What the results table says of an architecture beside what its trainings gave. `latency_low_ms` and `latency_high_ms`
are the 95 % interval of the time, `latency_p5_ms` and `latency_p95_ms` percentiles of the timed batches;
`latency_measured` is False for a prediction; `latency_unknown` says why a network that was timed has no time."""

_WORDS = ("latency_measured", "latency_how", "latency_unknown")


def time_table(records: Iterable[Mapping[str, object]], limit: float = DISTURBED) -> pd.DataFrame:
    """Costs that records hold, one row an architecture, by `architecture_id`; columns `notation` and `COST_COLUMNS`.

    Args:
        records: the newest record of each architecture: `architecture_id`, `notation`, `measured`, what `read_times`
            reads, and `p5_ms`, `p95_ms`, `peak_memory_mb` and `energy_mj` where they were read.
        limit: see `read_times`.
    """
    found = {str(record["notation"]): record for record in records}
    quotes = read_times(found, limit)
    rows = {r["architecture_id"]: _row(r, quotes[notation]) for notation, r in found.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["notation", *COST_COLUMNS])


def _row(record: Mapping[str, object], quote: Quote) -> dict[str, object]:
    ms, energy, measured = quote.value, number(record.get("energy_mj")), bool(record.get("measured", True))
    scale = math.nan if ms is None else ms / (number(record["median_ms"]) or math.nan)
    return {
        "notation": record["notation"],
        "latency_ms": ms,
        "latency_low_ms": quote.low,
        "latency_high_ms": quote.high,
        "latency_p5_ms": scale * (number(record.get("p5_ms")) or math.nan),
        "latency_p95_ms": scale * (number(record.get("p95_ms")) or math.nan),
        "batches_per_s": 1000.0 / ms if ms else None,
        "latency_measured": measured,
        "latency_how": quote.how if measured else "predicted",
        "latency_unknown": quote.why or None,
        "peak_memory_mb": record.get("peak_memory_mb"),
        "energy_j": None if energy is None else energy / 1000.0,
    }


def given_table(costs: Mapping[str, Mapping[str, float]], how: How = "table") -> pd.DataFrame:
    """Costs that a replayed table or one's own trainer gives, in the form of `time_table`, the counted ones beside.

    Args:
        costs: value by notation, by column: a name of `COSTS`. Times follow from speeds; a slow-down alone has no time.
        how: `table`, whose times are what they are, or `told`: times whose spread is not known.
    """
    by_column = {name: dict(values) for name, values in costs.items()}
    if "latency_ms" not in by_column and "batches_per_s" in by_column:
        by_column["latency_ms"] = {notation: 1000.0 / speed for notation, speed in by_column["batches_per_s"].items()}
    notations = dict.fromkeys(notation for values in by_column.values() for notation in values)
    architectures = {notation: parse_once(notation).architecture for notation in notations}
    table = pd.DataFrame({name: pd.Series(values, dtype=float) for name, values in by_column.items()})
    table = table.reindex(list(notations)).groupby([architectures[notation].id for notation in notations]).mean()
    names = {network.id: network.notation for network in architectures.values()}
    ms = table["latency_ms"] if "latency_ms" in table else pd.Series(math.nan, index=table.index)
    table = table.assign(
        notation=[names[key] for key in table.index],
        latency_ms=ms,
        latency_low_ms=ms if how == "table" else math.nan,
        latency_high_ms=ms if how == "table" else math.nan,
        batches_per_s=1000.0 / ms,
        latency_measured=True,
        latency_how=how,
    )
    columns = ["notation", *COST_COLUMNS, *(name for name in COSTS if name in table and name not in COST_COLUMNS)]
    return table.reindex(columns=columns)


def beside_told(timed: pd.DataFrame, told: pd.DataFrame) -> pd.DataFrame:
    """Costs that were told, and for what was not told, those that were measured; both in the form of `time_table`."""
    if told["latency_ms"].notna().any() or timed.empty:
        return told
    times = [name for name in told if str(name).startswith(("latency", "batches"))]
    return told.drop(columns=times).combine_first(timed)


def with_costs(results: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """A results table (with `architecture_id`) with the costs that `time_table` or `given_table` gave for its networks;
    a replayed table's stand for what was counted, too."""
    given = [str(name) for name in costs if name in COSTS and name in results]
    row = costs.index.get_indexer(pd.Index(results["architecture_id"]))
    columns: dict[str, pd.Series] = {}
    for name in dict.fromkeys([*COST_COLUMNS, *given]):
        if name in _WORDS:
            known = costs[name].astype(object)
            values = np.array([*known.where(known.notna(), None), None], dtype=object)
        else:
            values = np.append(pd.to_numeric(costs[name]).to_numpy(dtype=np.float64), np.nan)
        # The last for -1, a network without a cost.
        columns[name] = pd.Series(values[row], results.index, dtype=values.dtype)
    results = results.assign(**columns)
    numbers = [str(name) for name in results if name in COSTS and name not in columns]
    return results.assign(**{name: pd.to_numeric(results[name]).astype("float64") for name in numbers})


def time_quote(row: Mapping[Hashable, object] | pd.Series) -> Quote:
    """The time in a row of a table with `COST_COLUMNS`; of one that does not say how it was read, as it stands."""
    ms, low, high = (number(row[name]) for name in ("latency_ms", "latency_low_ms", "latency_high_ms"))
    how, why = row["latency_how"], row["latency_unknown"]
    if ms is None:
        return Quote(why=why) if isinstance(why, str) else UNKNOWN
    return Quote(ms, low, high, cast(How, how)) if isinstance(how, str) else Quote.exactly(ms)


@lru_cache(maxsize=1 << 16)
def parse_once(notation: str) -> Candidate:
    """`Candidate.parse`, remembered: tables name the same candidates again and again."""
    return Candidate.parse(notation)
