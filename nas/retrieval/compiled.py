"""The hot loop of `nas.retrieval.counting`, compiled by numba; importing this module needs numba.

Compiled code is kept beside this file (or in numba's own cache folder), so that only the first
evaluation of an installation waits for the compiler.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np

from nas.retrieval.counting import AnyFloats
from nas.retrieval.metrics import Ints

numba = importlib.import_module("numba")

P = ParamSpec("P")
T = TypeVar("T")

STRIP = 1024
"""Distances compared at a time with every right answer, so that they stay in the first-level cache."""


def _jit(loop: Callable[P, T]) -> Callable[P, T]:
    try:
        compiled: Callable[P, T] = numba.njit(nogil=True, cache=True, error_model="numpy")(loop)
    except RuntimeError:  # there is no folder to keep compiled code in
        compiled = numba.njit(nogil=True, error_model="numpy")(loop)
    return compiled


# Plain loops over a slice, with a counter as narrow as the values: numba turns these into vector instructions.
def _smaller(values: AnyFloats, limit: object) -> np.int32:
    count = np.int32(0)
    for i in range(len(values)):
        if values[i] < limit:
            count += np.int32(1)
    return count


def _upto(values: AnyFloats, limit: object) -> np.int32:
    count = np.int32(0)
    for i in range(len(values)):
        if values[i] <= limit:
            count += np.int32(1)
    return count


def _not_finite(values: AnyFloats) -> np.int32:
    count = np.int32(0)
    for i in range(len(values)):
        if not (abs(values[i]) < np.inf):
            count += np.int32(1)
    return count


smaller, upto, not_finite = _jit(_smaller), _jit(_upto), _jit(_not_finite)


def _line(values: AnyFloats, divisor: AnyFloats, offset: AnyFloats, line: AnyFloats) -> None:
    for i in range(len(values)):
        line[i] = values[i] / divisor[i] + offset[i]


make_line = _jit(_line)


def _one(row: AnyFloats, first: int, last: int, places: Ints, removed: Ints, found: Ints) -> int | np.int32:
    wrong: int | np.int32 = 0
    for begin in range(0, len(row), STRIP):
        strip = row[begin : begin + STRIP]
        wrong += not_finite(strip)
        for k in range(first, last):
            middle = min(max(places[k] - begin, 0), len(strip))
            limit = row[places[k]]
            found[k] += upto(strip[:middle], limit) + smaller(strip[middle:], limit)
    for k in range(first, last):
        own = row[places[k]]
        for other in removed:
            if row[other] < own or (row[other] == own and other < places[k]):
                found[k] -= 1
    return wrong


one = _jit(_one)


def _count(
    distances: AnyFloats,
    divisor: AnyFloats,
    offset: AnyFloats,
    rows: Ints,
    starts: Ints,
    places: Ints,
    removed_starts: Ints,
    removed_places: Ints,
    found: Ints,
) -> int | np.int32:
    wrong: int | np.int32 = 0
    line = np.empty(len(divisor), distances.dtype)  # of one query: it stays in the second-level cache
    for query in range(len(rows)):
        row, first, last = distances[rows[query]], starts[query], starts[query + 1]
        removed = removed_places[removed_starts[query] : removed_starts[query + 1]]
        if len(divisor) > 0:
            make_line(row, divisor, offset, line)
            wrong += one(line, first, last, places, removed, found)
        else:
            wrong += one(row, first, last, places, removed, found)
    return wrong


count = _jit(_count)
