"""Ranks of the right answers by counting, not sorting, and what follows from them for each query.

AP, INP and CMC need only the ranks of a query's right answers, and a rank is one more than the number
of gallery images that come before. Distances arrive in blocks of queries, on the CPU (counted by
`nas.retrieval.counting` in threads) or on a GPU (counted there).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nas.errors import DataError
from nas.retrieval.counting import AnyFloats, count_before
from nas.retrieval.matching import Matches
from nas.retrieval.metrics import Floats, Ints, PerQuery

FAR = np.iinfo(np.int64).max
PIECES_A_WORKER = 4
"""Pieces of a block for each thread, so that one with many right answers does not keep the others waiting."""


@dataclass(frozen=True, slots=True)
class Block:
    """Distances of B queries: those of query i are `values[rows[i]]`. A tensor is overwritten, an array is not.

    With `divisor` and `offset` (G,), of the type of an array, distances are values divided by the one plus the other.
    """

    values: AnyFloats | Tensor
    rows: Ints
    divisor: AnyFloats | None = None
    offset: AnyFloats | None = None

    @classmethod
    def fresh(
        cls, values: AnyFloats | Tensor, divisor: AnyFloats | None = None, offset: AnyFloats | None = None
    ) -> Block:
        """Distances made for these queries alone, (B, G)."""
        return cls(values, np.arange(len(values)), divisor, offset)


DistanceBlock = Callable[[Ints], Block]
"""Gives the distances of the queries at these places to the whole gallery."""


def evaluate_blocks(matches: Matches, block: DistanceBlock, rows: int, gallery: int) -> PerQuery:
    """Rank every query with a right answer, `rows` queries at a time, with as many threads as torch uses."""
    counts = matches.positives.counts
    found = PerQuery(
        ap=np.full(len(counts), np.nan),
        inp=np.full(len(counts), np.nan),
        first_rank=np.zeros(len(counts), np.int64),
        positives=counts,
    )
    valid = np.flatnonzero(counts)
    comparisons = int(counts.sum()) * gallery
    workers = torch.get_num_threads()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for start in range(0, len(valid), rows):
            queries = valid[start : start + rows]
            ready = block(queries)
            pieces = list(_pieces(len(queries), 1 if isinstance(ready.values, Tensor) else workers * PIECES_A_WORKER))
            rank = partial(_rank_piece, matches, queries, ready, comparisons)
            for piece, ranks in zip(pieces, pool.map(rank, pieces), strict=True):
                mine = queries[piece]
                found.ap[mine], found.inp[mine], found.first_rank[mine] = scores(ranks, counts[mine])
    return found


def _pieces(rows: int, number: int) -> Iterator[slice]:
    step = -(-rows // number)
    return (slice(at, min(at + step, rows)) for at in range(0, rows, step))


def _rank_piece(matches: Matches, queries: Ints, block: Block, comparisons: int, piece: slice) -> Ints:
    return rank_positives(matches.take(queries[piece]), replace(block, rows=block.rows[piece]), comparisons)


def rank_positives(matches: Matches, block: Block, comparisons: int = 0) -> Ints:
    """Ranks of the right answers of some queries, (B, R) ascending, filled up with a huge number.

    Args:
        matches: of these queries alone; each has a right answer.
        comparisons: of the whole evaluation (see `count_before`).

    Raises:
        DataError: a distance is NaN or infinite.
    """
    if isinstance(block.values, Tensor):
        before = _count_on_device(matches, block.values)
    else:
        before = count_before(block.values, block.rows, matches, comparisons, block.divisor, block.offset)
    if before is None:
        raise DataError("the distances hold NaN or infinite values", "Look at the features: the network has diverged.")
    ranks = _padded(matches.positives.counts, before + 1, FAR)
    ranks.sort(axis=1)
    return ranks


def _padded(counts: Ints, values: Ints, fill: int) -> Ints:
    """Flat lists as a matrix (B, longest), short ones filled up."""
    matrix = np.full((len(counts), int(counts.max())), fill, dtype=np.int64)
    matrix[np.arange(matrix.shape[1]) < counts[:, None]] = values
    return matrix


def _count_on_device(matches: Matches, distances: Tensor) -> Ints | None:
    """`count_before` on the device of `distances` (B, G): the k-th right answer of all queries at once."""
    if bool((~torch.isfinite(distances)).any()):
        return None
    device, counts = distances.device, matches.positives.counts
    rows, places = (torch.from_numpy(v).to(device) for v in (matches.removed.rows, matches.removed.places))
    distances[rows, places] = torch.inf
    place = torch.from_numpy(_padded(counts, matches.positives.places, 0)).to(device)
    limit = distances.gather(1, place)
    index = torch.arange(distances.shape[1], device=device)
    before = torch.zeros_like(place)
    for k in range(place.shape[1]):
        at, own = limit[:, k, None], place[:, k, None]
        before[:, k] = ((distances < at) | ((distances == at) & (index < own))).sum(1)
    found: Ints = before.cpu().numpy()[np.arange(place.shape[1]) < counts[:, None]]
    return found


def scores(ranks: Ints, counts: Ints) -> tuple[Floats, Floats, Ints]:
    """AP, INP and first rank of each row of `rank_positives`, whose first `counts` entries are ranks."""
    hits = np.arange(1, ranks.shape[1] + 1)
    ap = np.where(hits <= counts[:, None], hits / ranks, 0.0).sum(1) / counts
    last = np.take_along_axis(ranks, counts[:, None] - 1, axis=1)[:, 0]
    return ap, counts / last, ranks[:, 0]
