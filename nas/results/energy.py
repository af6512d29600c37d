"""Energy that trainings took, from counters of machines and cards: each instant of a counter once."""

from __future__ import annotations

from typing import Final

import pandas as pd

ENERGY_COLUMNS: Final = ("training_id", "counter", "joules", "begun", "ended")
"""One row a training and counter: what the counter ran up between two instants, in seconds since 1970."""


def joules_spent(readings: pd.DataFrame) -> float:
    """What all counters ran up while trainings ran.

    A counter counts for a whole processor or card, whoever works there: where trainings ran at the same time they
    read the same joules, so their mean power holds there and not its sum.

    >>> row = ("m/package-0", 100.0, 0.0, 10.0)
    >>> two = [(1, *row), (2, "m/package-0", 100.0, 5.0, 15.0)]
    >>> joules_spent(pd.DataFrame(two, columns=list(ENERGY_COLUMNS)))
    150.0

    Args:
        readings: columns `ENERGY_COLUMNS`.
    """
    return sum(_of_one_counter(rows) for _, rows in readings.groupby("counter"))


def _of_one_counter(rows: pd.DataFrame) -> float:
    known = rows[rows["ended"] > rows["begun"]]
    power = known["joules"] / (known["ended"] - known["begun"])
    edges = [(at, watts, +1) for at, watts in zip(known["begun"], power, strict=True)]
    edges += [(at, -watts, -1) for at, watts in zip(known["ended"], power, strict=True)]
    total, watts, running, before = 0.0, 0.0, 0, 0.0
    for at, change, more in sorted(edges):
        total += (at - before) * watts / running if running else 0.0
        watts, running, before = (watts + change if running + more else 0.0), running + more, at
    return total
