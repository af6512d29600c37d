"""Rank lists: what a query finds, in order, and whether each find is right, wrong or removed.

Here ranks are shown to a person, so removed images (same identity and camera) are kept in the list
and marked; they do not count. Only the queries asked for are sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nas.retrieval.distances import Distances
from nas.retrieval.matching import Matches, Persons

Verdict = Literal["right", "wrong", "removed"]


@dataclass(frozen=True, slots=True)
class Find:
    """One gallery image in a rank list; `rank` counts from 1 and is 0 for a removed image."""

    place: int
    distance: float
    verdict: Verdict
    rank: int


@dataclass(frozen=True, slots=True)
class RankList:
    """What one query found, nearest first; `right` counts the right answers in the whole gallery."""

    query: int
    finds: tuple[Find, ...]
    right: int


def rank_lists(
    query_features: Tensor | ArrayLike,
    query_ids: ArrayLike,
    query_cameras: ArrayLike,
    gallery_features: Tensor | ArrayLike,
    gallery_ids: ArrayLike,
    gallery_cameras: ArrayLike,
    queries: Sequence[int] | np.ndarray,
    *,
    top: int = 10,
    metric: str = "cosine",
) -> list[RankList]:
    """The rank lists of some queries down to rank `top`; removed images in between are listed too.

    Args:
        query_features, query_ids, query_cameras: (Q, D), (Q,), (Q,) as in `evaluate`.
        queries: places of the queries to list, e.g. `metrics.per_query.worst(5)`.
        top: last rank listed.

    Raises:
        DataError: as `evaluate`.
    """
    distances = Distances.between(query_features, gallery_features, metric)
    query = Persons.of(query_ids, query_cameras, len(distances.query), "query")
    gallery = Persons.of(gallery_ids, gallery_cameras, len(distances.gallery), "gallery")
    matches = Matches.find(query, gallery)
    chosen = np.asarray(queries, dtype=np.int64)
    order, rows = (values(torch.from_numpy(chosen)).cpu().numpy() for values in (distances.order, distances.rows))
    return [_rank_list(int(q), o, row, matches, top) for q, o, row in zip(chosen, order, rows, strict=True)]


def _rank_list(query: int, order: np.ndarray, distances: np.ndarray, matches: Matches, top: int) -> RankList:
    right, removed = set(matches.positives.of(query).tolist()), set(matches.removed.of(query).tolist())
    finds: list[Find] = []
    rank = 0
    for place in np.argsort(order, kind="stable").tolist():
        if rank == top:
            break
        out = place in removed
        rank += not out
        verdict: Verdict = "removed" if out else "right" if place in right else "wrong"
        finds.append(Find(place, float(distances[place]), verdict, 0 if out else rank))
    return RankList(query, tuple(finds), len(right))
