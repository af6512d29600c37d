"""Ranks of the right answers by counting, not sorting: the one hot loop of an evaluation.

AP, INP and CMC need only the ranks of a query's positives, and a rank is one more than the number of
gallery images that come before it: those at a smaller distance, and those at the same distance with
a smaller gallery index. Queries with about as many positives are counted together, the k-th positive
of all of them in one vectorised comparison, on the CPU or a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.errors import DataError
from nas.retrieval.matching import Matches
from nas.retrieval.metrics import Floats, Ints, PerQuery

AnyFloats = NDArray[np.floating]
DistanceBlock = Callable[[Ints], "AnyFloats | Tensor"]
"""Distances of some queries to the whole gallery, (B, G): NumPy or torch, freshly made, free to overwrite."""

CPU_BLOCK_BYTES = 1 << 20
"""Distances compared at once on the CPU: about what a core's own cache holds."""
WORD = 8
LARGEST_BYTE = 255
FAR = np.iinfo(np.int64).max


def rank_positives(matches: Matches, queries: Ints, distances: AnyFloats | Tensor) -> Ints:
    """Ranks of the positives of some queries, (B, R) ascending, filled up with a huge number.

    Args:
        matches: of all queries.
        queries: which of them, (B,), each with a positive at least.
        distances: theirs, (B, G); overwritten at removed places.

    Raises:
        DataError: a distance is NaN or infinite.
    """
    mine = matches.take(queries)
    return _rank_torch(mine, distances) if isinstance(distances, Tensor) else _rank_numpy(mine, distances)


def _rank_numpy(matches: Matches, distances: AnyFloats) -> Ints:
    _require_finite(bool(np.isfinite(distances).all()))
    distances[matches.removed.rows, matches.removed.places] = np.inf
    place = _padded(matches.positives.counts, matches.positives.places, 0)
    limit = np.take_along_axis(distances, place, axis=1)
    counter = _Counter(distances)
    ranks = np.full(place.shape, FAR)
    for k, rows in _steps(matches.positives.counts):
        before, upto = counter.count(np.less, limit[:rows, k]), counter.count(np.less_equal, limit[:rows, k])
        for row in np.flatnonzero(upto - before > 1):
            before[row] += np.count_nonzero(distances[row, : place[row, k]] == limit[row, k])
        ranks[:rows, k] = before + 1
    ranks.sort(axis=1)
    return ranks


def _steps(counts: Ints) -> Iterator[tuple[int, int]]:
    """(k, rows): the rows that have a k-th positive are the first `rows`, as counts descend."""
    for k in range(int(counts[0])):
        yield k, int((counts > k).sum())


def _padded(counts: Ints, values: Ints, fill: int) -> Ints:
    """Flat lists as a matrix (B, longest), short ones filled up."""
    matrix = np.full((len(counts), int(counts.max())), fill, dtype=np.int64)
    matrix[np.arange(matrix.shape[1]) < counts[:, None]] = values
    return matrix


class _Counter:
    """Counts entries of each row of a matrix (B, G) that compare true with the row's limit.

    Truth values are bytes; eight of them are added as one machine word, at most 255 words into each
    sum so that no byte overflows. That is several times faster than counting row by row.
    """

    def __init__(self, values: AnyFloats) -> None:
        rows, columns = values.shape
        self.values = values
        words = -(-columns // WORD)
        groups = -(-words // LARGEST_BYTE)
        self._truth = np.zeros((rows, groups * -(-words // groups) * WORD), dtype=np.bool_)
        self._groups = groups

    def count(self, compare: np.ufunc, limit: AnyFloats) -> Ints:
        """How many entries of each of the first rows are `compare` (less, less_equal) the row's limit."""
        rows, columns = len(limit), self.values.shape[1]
        compare(self.values[:rows], limit[:, None], out=self._truth[:rows, :columns])
        words = self._truth[:rows].view(np.uint64).reshape(rows, self._groups, -1)
        total: Ints = words.sum(axis=-1).view(np.uint8).reshape(rows, -1).sum(axis=-1, dtype=np.int64)
        return total


def _rank_torch(matches: Matches, distances: Tensor) -> Ints:
    device = distances.device
    _require_finite(bool(torch.isfinite(distances).all()))
    counts = matches.positives.counts
    rows, places = (torch.from_numpy(v).to(device) for v in (matches.removed.rows, matches.removed.places))
    distances[rows, places] = torch.inf
    place = torch.from_numpy(_padded(counts, matches.positives.places, 0)).to(device)
    limit = distances.gather(1, place)
    index = torch.arange(distances.shape[1], device=device)
    ranks = torch.full(place.shape, FAR, device=device)
    for k, few in _steps(counts):
        mine, at = distances[:few], limit[:few, k, None]
        before = (mine < at) | ((mine == at) & (index < place[:few, k, None]))
        ranks[:few, k] = before.sum(1) + 1
    return ranks.sort(dim=1).values.cpu().numpy()


def _require_finite(finite: bool) -> None:
    if not finite:
        raise DataError("the distances hold NaN or infinite values", "Look at the features: the network has diverged.")


def per_query(ranks: Ints, counts: Ints) -> tuple[Floats, Floats, Ints]:
    """AP, INP and first rank of each row of `rank_positives`, whose first `counts` entries are ranks."""
    hits = np.arange(1, ranks.shape[1] + 1)
    ap = np.where(hits <= counts[:, None], hits / ranks, 0.0).sum(1) / counts
    last = np.take_along_axis(ranks, counts[:, None] - 1, axis=1)[:, 0]
    return ap, counts / last, ranks[:, 0]


def evaluate_blocks(matches: Matches, block: DistanceBlock, rows: int, gallery: int, workers: int) -> PerQuery:
    """Rank every query with a positive, `rows` queries at a time.

    Args:
        matches: right answers and removed images of every query.
        block: gives the distances of some queries.
        rows: queries a call of `block`.
        gallery: gallery images.
        workers: threads that count (on the CPU).
    """
    counts = matches.positives.counts
    found = PerQuery(
        ap=np.full(len(counts), np.nan),
        inp=np.full(len(counts), np.nan),
        first_rank=np.zeros(len(counts), np.int64),
        positives=counts,
    )
    valid = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        for start in range(0, len(valid), rows):
            queries = valid[start : start + rows]
            distances = block(queries)
            pieces = _pieces(len(queries), gallery, distances)
            rank = partial(_rank_piece, matches, queries, distances)
            for piece, ranks in zip(pieces, pool.map(rank, pieces), strict=True):
                mine = queries[piece]
                found.ap[mine], found.inp[mine], found.first_rank[mine] = per_query(ranks, counts[mine])
    return found


def _rank_piece(matches: Matches, queries: Ints, distances: AnyFloats | Tensor, piece: slice) -> Ints:
    return rank_positives(matches, queries[piece], distances[piece])


def _pieces(rows: int, gallery: int, distances: AnyFloats | Tensor) -> list[slice]:
    """Rows of a block that are counted together."""
    if isinstance(distances, Tensor):
        return [slice(0, rows)]
    step = max(1, CPU_BLOCK_BYTES // (gallery * distances.itemsize))
    return [slice(at, min(at + step, rows)) for at in range(0, rows, step)]
