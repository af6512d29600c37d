"""How many gallery images come before each right answer: the one hot loop of an evaluation.

An image comes before another when its distance is smaller, or equal and its gallery index smaller.
The loop exists twice with the same result: compiled by numba when that is installed and there is
enough to count (`nas.retrieval.compiled`), and in plain NumPy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nas.retrieval.matching import Matches
from nas.retrieval.metrics import Ints

AnyFloats = NDArray[np.floating]
Kernel = Callable[[AnyFloats, AnyFloats, AnyFloats, Ints, Ints, Ints, Ints, Ints, Ints], int]

WORTH_COMPILING = 50_000_000
"""Comparisons from which the compiled loop is used; below, NumPy is done before numba is loaded."""


def count_before(
    distances: AnyFloats,
    rows: Ints,
    matches: Matches,
    comparisons: int = 0,
    divisor: AnyFloats | None = None,
    offset: AnyFloats | None = None,
) -> Ints | None:
    """Kept gallery images before each right answer, flat in the order of `matches.positives`.

    Args:
        distances: (N, G), float32 or float64, C-contiguous; left as they are.
        rows: (B,), the row of each query in `distances`.
        comparisons: of the whole evaluation, to choose between compiling and NumPy.
        divisor, offset: (G,) of the type of `distances`: divided by the one, the other added, while they are
            counted; None: they are distances already.

    Returns:
        Counts from 0, or None when a distance is NaN or infinite.
    """
    kernel = (compiled() if comparisons >= WORTH_COMPILING else None) or count_with_numpy
    found = np.zeros(len(matches.positives.places), dtype=np.int64)
    positives, removed = matches.positives, matches.removed
    none = np.empty(0, distances.dtype)
    line = (none if divisor is None else divisor, none if offset is None else offset)
    wrong = kernel(distances, *line, rows, positives.starts, positives.places, removed.starts, removed.places, found)
    return None if wrong else found


def count_with_numpy(
    distances: AnyFloats,
    divisor: AnyFloats,
    offset: AnyFloats,
    rows: Ints,
    starts: Ints,
    places: Ints,
    removed_starts: Ints,
    removed_places: Ints,
    found: Ints,
) -> int:
    """The loop in NumPy: fills `found`, returns how many distances are not finite."""
    wrong = 0
    for query, number in enumerate(rows):
        row = distances[number] / divisor + offset if len(divisor) else distances[number].copy()
        wrong += int(row.size - np.count_nonzero(np.isfinite(row)))
        row[removed_places[removed_starts[query] : removed_starts[query + 1]]] = np.inf
        for k in range(starts[query], starts[query + 1]):
            place = places[k]
            earlier, later = row[:place], row[place:]
            found[k] = np.count_nonzero(earlier <= row[place]) + np.count_nonzero(later < row[place])
    return wrong


@cache
def compiled() -> Kernel | None:
    """The compiled loop, or None where numba is not installed."""
    try:
        kernel: Kernel = importlib.import_module("nas.retrieval.compiled").count
    except ImportError:
        return None
    return kernel
