"""Who is on the front, and how large it is: moocore, two or three objectives.

Equal points share the front, as nobody beats them. A point that lacks one of its numbers is on no front and adds no
volume. Directions: `less` (True where less is better) a column.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SCORE_AND_COST = (False, True)
"""Directions of (score, cost): more score and less cost are better."""


def _smaller_is_better(points: npt.ArrayLike, less: Sequence[bool]) -> Floats:
    """(n, objectives) as minimisation; infinities count as missing."""
    values = np.asarray(points, dtype=np.float64).reshape(-1, len(less))
    return np.where(np.isfinite(values), values, np.nan) * np.where(less, 1.0, -1.0)


def on_front(points: npt.ArrayLike, less: Sequence[bool] = SCORE_AND_COST) -> Flags:
    """(n,) which points no other beats: none is at least as good in all objectives and better in one.

    >>> on_front([[0.80, 30.0], [0.82, 35.0], [0.79, 31.0], [0.82, 35.0], [0.9, float("nan")]]).tolist()
    [True, True, False, True, False]

    Args:
        points: (n, objectives).
        less: (objectives,) whether less is better.
    """
    values = _smaller_is_better(points, less)
    known = ~np.isnan(values).any(axis=1)
    front = np.zeros(len(values), dtype=bool)
    if known.any():
        front[known] = moocore.is_nondominated(values[known], keep_weakly=True)
    return front


def layers(points: npt.ArrayLike, less: Sequence[bool] = SCORE_AND_COST) -> npt.NDArray[np.intp]:
    """(n,) rank by non-domination: 0 on the front, 1 on the front of the others, ...; the last for missing numbers.

    >>> layers([[0.80, 30.0], [0.79, 31.0], [0.9, float("nan")]]).tolist()
    [0, 1, 2]
    """
    values = _smaller_is_better(points, less)
    known = ~np.isnan(values).any(axis=1)
    rank = np.zeros(len(values), dtype=np.intp)
    if known.any():
        rank[known] = moocore.pareto_rank(values[known])
    rank[~known] = int(rank[known].max(initial=-1)) + 1
    return rank


def crowding(points: npt.ArrayLike) -> Floats:
    """(n,) crowding distance of the points of one layer; infinite at its ends (Deb et al. 2002).

    >>> crowding([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]]).tolist()
    [inf, 2.0, inf]
    """
    values = np.asarray(points, dtype=np.float64)
    distance = np.zeros(len(values))
    for column in values.T if len(values) else ():
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if spread > 0 and len(values) > 2:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distance


def hypervolume(points: npt.ArrayLike, reference: Sequence[float], less: Sequence[bool] = SCORE_AND_COST) -> float:
    """The volume between the front and a reference point; points beyond it, or without all numbers, add nothing.

    >>> round(hypervolume([[0.80, 30.0], [0.82, 35.0]], (0.70, 40.0)), 6)
    1.1
    """
    values = _smaller_is_better(points, less)
    values = values[~np.isnan(values).any(axis=1)]
    return float(moocore.hypervolume(values, ref=_smaller_is_better(reference, less)[0])) if len(values) else 0.0


def growing_hypervolume(
    points: npt.ArrayLike, reference: Sequence[float], less: Sequence[bool] = SCORE_AND_COST
) -> Floats:
    """(n,) the hypervolume of the first 1, 2, ..., n points."""
    values = np.asarray(points, dtype=np.float64).reshape(-1, len(less))
    front, volume = values[:0], 0.0
    volumes = np.zeros(len(values))
    for i, point in enumerate(values):
        both = np.vstack([front, point])
        kept = on_front(both, less)
        if kept[-1]:
            front, volume = both[kept], hypervolume(both[kept], reference, less)
        volumes[i] = volume
    return volumes
