"""The numbers of person re-identification, from the ranks of a query's right answers.

Protocol of Ye et al. 2021 (ReID-Survey): gallery images of the query's identity and camera are
removed first; ranks count from 1 among what is left. How ranks are found is `ranking`'s matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def average_precision(ranks: ArrayLike) -> float:
    """AP = (1/R) * sum over the R right answers of hits(k)/k, from their ranks in ascending order.

    >>> average_precision([1, 3])
    0.8333333333333333
    """
    found = np.asarray(ranks, dtype=np.float64)
    return float(np.mean(np.arange(1, len(found) + 1) / found))


def inverse_negative_penalty(ranks: ArrayLike) -> float:
    """INP = R / rank of the last right answer: how much must be looked at to find them all.

    >>> inverse_negative_penalty([1, 4])
    0.5
    """
    found = np.asarray(ranks, dtype=np.float64)
    return float(len(found) / found[-1])


def cumulative_matches(first_ranks: ArrayLike, max_rank: int = 50) -> Floats:
    """CMC: entry k-1 is the share of queries whose first right answer has rank k or better, (max_rank,).

    Short galleries are padded: the curve simply stays where it is.

    >>> cumulative_matches([1, 3], max_rank=3).tolist()
    [0.5, 0.5, 1.0]
    """
    first = np.asarray(first_ranks, dtype=np.int64)
    hits = np.bincount(np.minimum(first, max_rank + 1) - 1, minlength=max_rank + 1)[:max_rank]
    return np.cumsum(hits) / max(len(first), 1)


@dataclass(frozen=True)
class PerQuery:
    """Results of single queries, in the order they were asked; NaN and 0 where no right answer was left.

    ap, inp: (Q,) in 0-1. first_rank: (Q,) from 1. positives: (Q,) right answers left.
    """

    ap: Floats
    inp: Floats
    first_rank: Ints
    positives: Ints

    def worst(self, count: int = 10) -> Ints:
        """Places of the valid queries with the lowest AP, worst first."""
        order = np.argsort(self.ap, kind="stable")
        return order[: min(count, int((self.positives > 0).sum()))]


@dataclass(frozen=True)
class RetrievalMetrics:
    """What one evaluation found; means are over the valid queries.

    Args:
        map, minp: mean AP and mean INP in 0-1.
        cmc: (max_rank,) cumulative matches; `rank1` is its first.
        queries: all queries asked. valid_queries: those with a right answer left.
        per_query: results of single queries, when asked for.
    """

    map: float
    minp: float
    cmc: tuple[float, ...]
    queries: int
    valid_queries: int
    protocol: str
    per_query: PerQuery | None = None
    own: Mapping[str, float] = field(default_factory=dict)

    @property
    def rank1(self) -> float:
        """Share of valid queries whose nearest gallery image is right."""
        return self.cmc[0]

    @property
    def skipped_queries(self) -> int:
        """Queries that lost every right answer to the removal of same-camera images."""
        return self.queries - self.valid_queries

    def to_dict(self) -> dict[str, float | str]:
        """Plain numbers for JSON: mAP, mINP, CMC at 1, 5, 10, 20 and counts."""
        ranks = {f"rank{k}": self.cmc[k - 1] for k in (1, 5, 10, 20) if k <= len(self.cmc)}
        counts = {"queries": self.queries, "valid_queries": self.valid_queries, "skipped_queries": self.skipped_queries}
        return {"map": self.map, "minp": self.minp, **ranks, **self.own, **counts, "protocol": self.protocol}

    @classmethod
    def from_per_query(cls, found: PerQuery, max_rank: int, protocol: str, keep: bool) -> RetrievalMetrics:
        """Means over the valid queries; `keep` the single ones."""
        valid = found.positives > 0
        return cls(
            map=float(found.ap[valid].mean()),
            minp=float(found.inp[valid].mean()),
            cmc=tuple(cumulative_matches(found.first_rank[valid], max_rank).tolist()),
            queries=len(valid),
            valid_queries=int(valid.sum()),
            protocol=protocol,
            per_query=found if keep else None,
        )
