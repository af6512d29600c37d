"""What a candidate costs: one table of costs, one reading of times, one rule for "slower than".

A time is read in one way everywhere. Where a network was timed in pairs with a reference, it is the pairs' ratio times
the reference's own time; else it is the median, divided by the machine's drift where that was read. Past `DISTURBED` of
drift, or of load by others, it is not known: no network is judged by how the machine felt when its turn came.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from statistics import stdev
from typing import Literal, TypedDict, cast

Kind = Literal["timed", "measured", "counted"]
How = Literal["paired", "corrected", "measured", "counted", "table", "told", "predicted", "unknown"]

DISTURBED = 0.10
"""Drift, load by others, or half the width of a ratio's interval past which a time is not known. On a shared machine,
medians corrected for drifts of up to 70 % still scattered by 2 to 19 % (sd) from one reading to the next; blocks cost 2
to 17 %, so what is corrected by more than a tenth tells no two of them apart."""
SLOWER = 0.01
"""Share of another network's time up to which two count as equally fast: ratios of pairs scatter by 0.4 to 1.3 % (sd)
there, so a smaller difference is not one that a machine can be held to."""
_CONFIDENCE = 0.95  # as everywhere in reports


# -- the table of costs


@dataclass(frozen=True)
class CostKind:
    """Something that mAP is paid with.

    Attributes:
        name: as a study writes it.
        column: of the results table that holds what is paid; less of it is better. Speeds are paid as times.
        kind: `timed` (follows from a time), `measured` beside it, or `counted` from the network alone.
        noun: what is paid: `time`.
        title: of the figure that is measured or counted: `latency`.
        what: what the noun stands for, with `{batch}` for the batch it was measured on.
        unit: of a value: `ms`.
        scale: what one unit is in the results table.
        more_is_better: of the named figure itself.
    """

    name: str
    column: str
    kind: Kind
    noun: str
    title: str
    what: str
    unit: str
    scale: float = 1.0
    more_is_better: bool = False


_TIME = ("time", "latency", "the time of a {batch}")
_SLOW = ("slow batches", "slow latency", "the 95th percentile of a {batch}'s times")
_MEMORY = ("memory", "peak memory", "the peak memory of a {batch}")
_ELEMENTS = ("activations", "activations", "the elements that layers put out for an image")
COSTS: Mapping[str, CostKind] = {
    cost.name: cost
    for cost in (
        CostKind("latency_ms", "latency_ms", "timed", *_TIME, "ms"),
        CostKind("batches_per_s", "latency_ms", "timed", *_TIME, "batches/s", more_is_better=True),
        CostKind("slowdown_percent", "latency_ms", "timed", *_TIME, "%"),
        CostKind("latency_p95_ms", "latency_p95_ms", "measured", *_SLOW, "ms"),
        CostKind("peak_memory_mb", "peak_memory_mb", "measured", *_MEMORY, "MB"),
        CostKind("energy_j", "energy_j", "measured", "energy", "energy", "what a {batch} takes", "J"),
        CostKind("params", "params", "counted", "size", "size", "the parameters", "million parameters", scale=1e6),
        CostKind("macs", "macs", "counted", "work", "work", "an image's multiply-adds", "million multiply-adds", 1e6),
        CostKind("activations", "activations", "counted", *_ELEMENTS, "million elements", 1e6),
    )
}
"""Everything that mAP can be paid with, by name."""


# -- what one network costs


@dataclass(frozen=True)
class Quote:
    """What one network costs, less is better; how that is known, and how surely.

    Attributes:
        value: in the unit of its column; None where it is not known.
        low, high: 95 % interval; None where the spread is not known.
        how: `paired` or `corrected` times, `measured` beside a time, `counted`, from a replayed
            `table`, `told` by one's own trainer, `predicted`, or `unknown`.
        why: why it is not known; empty otherwise.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    how: How = "unknown"
    why: str = ""

    @classmethod
    def exactly(cls, value: float, how: How = "table") -> Quote:
        """A value that is what it is: counted, or given by a table."""
        return cls(value, value, value, how)


UNKNOWN = Quote(why="not measured")
HOW_WORDS: Mapping[str, str] = {
    "paired": "timed in pairs",
    "corrected": "timed",
    "table": "the table's",
    "told": "the trainer's",
    "predicted": "predicted",
}
"""How a time is known, for people; where a table does not say, it was timed."""


@dataclass(frozen=True)
class Ratio:
    """One network's cost over another's.

    Attributes:
        value: the ratio.
        low, high: its 95 % interval; None where one of the spreads is not known.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def slower(self, margin: float = SLOWER) -> bool | None:
        """The rule "slower than": the interval's lower end exceeds 1 + margin; None where it does not tell."""
        if self.low is None or self.high is None:
            return None
        if self.low > 1.0 + margin:
            return True
        return False if self.high <= 1.0 + margin else None


def ratio(network: Quote, other: Quote) -> Ratio | None:
    """The cost of a network over that of another; None where either is not known.

    The interval joins both spreads on the logarithm (Donner and Zou, Statistics in Medicine 2012): their distances from
    the values add as squares, so each may be lopsided.
    """
    if not network.value or not other.value or network.value < 0 or other.value < 0:
        return None
    value = network.value / other.value
    mine, theirs = _reach(network), _reach(other)
    if mine is None or theirs is None:
        return Ratio(value)
    down = math.hypot(math.log(mine[0]), math.log(theirs[1]))
    up = math.hypot(math.log(mine[1]), math.log(theirs[0]))
    return Ratio(value, value * math.exp(-down), value * math.exp(up))


def _reach(quote: Quote) -> tuple[float, float] | None:
    """How far the interval reaches from the value, as factors; None where it is not known."""
    if quote.low is None or quote.high is None or not quote.value or quote.low <= 0:
        return None
    return min(1.0, quote.low / quote.value), max(1.0, quote.high / quote.value)


# -- times as records hold them


def without_drift(ms: float, drift: float | None) -> float:
    """A time as it would have been when the machine's drift was 0: the one place where drift is divided out."""
    return ms / (1.0 + (drift or 0.0))


def read_times(records: Mapping[str, Mapping[str, object]], limit: float = DISTURBED) -> dict[str, Quote]:
    """Times of networks, ms a batch, of one protocol and device.

    Args:
        records: the newest latency record of each network as plain data, by notation; read are `median_ms`, `drift`,
            `isolated`, `builds`, and of paired ones `reference`, `ratio`, `ratio_low` and `ratio_high` (`reference_ms`
            where the reference has no record).
        limit: drift, load or spread past which a time is not known.

    Returns:
        A quote for every record, by notation. Times of paired networks are shares of their reference's, which is exact
        by definition: its own spread moves all of them alike.
    """
    references = {str(record["reference"]) for record in records.values() if record.get("ratio") is not None}
    return {notation: _time(notation, records, references, limit) for notation in records}


def number(value: object) -> float | None:
    """A number as records and tables hold it; None where there is none."""
    return float(value) if isinstance(value, Real) and value == value else None


def _own_ms(record: Mapping[str, object]) -> float:
    return without_drift(number(record["median_ms"]) or math.nan, number(record.get("drift")))


def disturbed(record: Mapping[str, object], limit: float = DISTURBED) -> str:
    """Why a record's time is not to be believed; empty where it is."""
    if record.get("ratio") is not None:
        value, low, high = (number(record.get(key)) for key in ("ratio", "ratio_low", "ratio_high"))
        if low is None or high is None:
            return "too few pairs for an interval"
        half = (high - low) / (2.0 * (value or 1.0))
        return f"its time relative to the reference's is known to {half:.0%} only" if half > limit else ""
    drift = number(record.get("drift")) or 0.0
    if abs(drift) > limit:
        return f"the machine had drifted by {drift:+.0%}"
    # Records say `isolated` by the limit of their day, and the share of others beside.
    environment = record.get("environment")
    share = number(environment.get("others_cpu_share")) if isinstance(environment, Mapping) else None
    if share is not None and share > limit:
        return f"other programs used {share:.0%} of the processors"
    isolated = record.get("isolated")
    return "other programs kept the machine busy" if isolated is not None and not isolated else ""


def _time(notation: str, records: Mapping[str, Mapping[str, object]], references: set[str], limit: float) -> Quote:
    record = records[notation]
    if notation in references and record.get("ratio") is None:
        # 1 by definition: the common scale of all that were timed beside it.
        return Quote.exactly(_own_ms(record), "paired")
    if doubt := disturbed(record, limit):
        return Quote(why=doubt)
    if record.get("ratio") is None:
        return _with_spread(_own_ms(record), cast("Sequence[Build]", record.get("builds") or ()))
    beside = str(record["reference"])
    base = _own_ms(records[beside]) if beside in records else number(record.get("reference_ms"))
    if base is None:
        return Quote(why=f"{beside}, which it was timed beside, has no time of its own")
    value, low, high = ((number(record[key]) or math.nan) * base for key in ("ratio", "ratio_low", "ratio_high"))
    return Quote(value, low, high, "paired")


class Build(TypedDict):
    """What a record tells of one build of a network."""

    median_ms: float
    block_medians_ms: Sequence[float]


def _with_spread(value: float, builds: Sequence[Build]) -> Quote:
    """A time with Student's interval over its builds, or over the blocks of batches of its only build."""
    units = [b["median_ms"] for b in builds] if len(builds) > 1 else [m for b in builds for m in b["block_medians_ms"]]
    if len(units) < 2:
        return Quote(value, how="corrected")
    # Relative to what was read, so that drift divides the spread as it divides the time.
    half = _quantile(len(units) - 1) * stdev(units) / math.sqrt(len(units)) / (sum(units) / len(units)) * value
    return Quote(value, value - half, value + half, "corrected")


@lru_cache(maxsize=256)
def _quantile(df: int) -> float:
    # Here, for study files and the command line read the names above: SciPy would be most of what they load.
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + _CONFIDENCE / 2))
