"""k-reciprocal re-ranking (Zhong et al., "Re-ranking Person Re-identification", CVPR 2017).

Images are compared by the sets of their mutual neighbours (Jaccard distance), and that is mixed with
the original distance. Everything is sparse or in chunks, so no (Q + G)^2 matrix ever exists. Results
are always named as re-ranked: they use the whole test set at once and are no answer to one query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from nas.errors import DataError
from nas.retrieval.distances import Distances
from nas.retrieval.metrics import Floats, Ints

CHUNK_BYTES = 64 << 20


@dataclass(frozen=True)
class Rerank:
    """The numbers of k-reciprocal re-ranking.

    Args:
        k1: neighbours within which two images must find each other.
        k2: nearest images whose neighbour sets are averaged; 1 = none but its own.
        weight: of the original distance, 0 to 1.

    >>> str(Rerank())
    're-ranked (k-reciprocal 20, 6, 0.3)'
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1 or not 0 <= self.weight <= 1:
            raise DataError(f"re-ranking needs k1 and k2 of 1 or more and a weight in 0-1, not {self}")

    def __str__(self) -> str:
        return f"re-ranked (k-reciprocal {self.k1}, {self.k2}, {self.weight:g})"


class RerankedDistances:
    """Re-ranked distances from queries to a gallery, some queries at a time."""

    def __init__(self, distances: Distances, rerank: Rerank) -> None:
        self._rerank = rerank
        self._queries = len(distances.query)
        self._all = distances.joined()
        neighbours, self._farthest = nearest(self._all, max(rerank.k1 + 1, rerank.k2))
        sets = expanded_sets(neighbours, rerank.k1)
        encoding = _averaged(self._encode(sets), neighbours[:, : rerank.k2])
        self._query_sets = encoding[: self._queries].tocsr()
        self._gallery_sets = encoding[self._queries :].tocsc()

    def rows(self, queries: Ints) -> NDArray[np.float32]:
        """Re-ranked distances of some queries to the whole gallery, (B, G)."""
        w = self._rerank.weight
        jaccard = np.stack([self._jaccard(query) for query in queries])
        original = self._all.rows(torch.from_numpy(queries))[:, self._queries :].cpu().numpy()
        original /= self._farthest[queries, None]
        return (w * original + (1 - w) * jaccard).astype(np.float32)

    def _encode(self, sets: sparse.csr_matrix) -> sparse.csr_matrix:
        """Neighbour sets with weights exp(-distance), each row adding up to 1."""
        rows = np.repeat(np.arange(sets.shape[0]), np.diff(sets.indptr))
        step = max(1, CHUNK_BYTES // (8 * self._all.query.shape[1]))
        pairs = [(rows[at : at + step], sets.indices[at : at + step]) for at in range(0, len(rows), step)]
        found = [self._all.pairs(torch.from_numpy(i), torch.from_numpy(j)).cpu().numpy() for i, j in pairs]
        weights = np.exp(-np.concatenate(found) / self._farthest[rows])
        weights /= np.bincount(rows, weights, minlength=sets.shape[0])[rows]
        return sparse.csr_matrix((weights, sets.indices, sets.indptr), shape=sets.shape)

    def _jaccard(self, query: int) -> Floats:
        """1 - sum of minima / (2 - sum of minima) to every gallery image, (G,)."""
        mine, sets = self._query_sets, self._gallery_sets
        span = slice(mine.indptr[query], mine.indptr[query + 1])
        members, weights = mine.indices[span], mine.data[span]
        first, counts = sets.indptr[members], np.diff(sets.indptr)[members]
        flat = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
        minima = np.minimum(np.repeat(weights, counts), sets.data[flat])
        overlap = np.bincount(sets.indices[flat], minima, minlength=sets.shape[0])
        return 1 - overlap / (2 - overlap)


def nearest(distances: Distances, count: int) -> tuple[Ints, NDArray[np.float32]]:
    """The `count` nearest images of each image, itself among them, (N, count), and its largest distance, (N,).

    Of equally near ones those of the smaller index come first.
    """
    total = len(distances)
    step = max(1, CHUNK_BYTES // (4 * total))
    found: list[Tensor] = []
    farthest: list[Tensor] = []
    for start in range(0, total, step):
        rows = distances.rows(torch.arange(start, min(start + step, total)))
        found.append(_nearest(rows, min(count, total)).cpu())
        farthest.append(rows.amax(1).cpu())
    return torch.cat(found).numpy(), torch.cat(farthest).numpy().clip(min=1e-12)


def _nearest(rows: Tensor, count: int) -> Tensor:
    """Columns of the `count` smallest values of each row in order, (B, count), ties by column."""
    places = rows.topk(count, largest=False).indices.sort(1).values
    values = rows.gather(1, places)
    # `topk` takes any of several equal values: where more are equal to the last one, the whole row is sorted.
    torn = (rows <= values.amax(1, keepdim=True)).sum(1) > count
    places = places.gather(1, values.sort(dim=1, stable=True).indices)
    places[torn] = rows[torn].sort(dim=1, stable=True).indices[:, :count]
    return places


def expanded_sets(neighbours: Ints, k1: int) -> sparse.csr_matrix:
    """Mutual neighbours of each image, with the half-size sets of those that mostly lie inside, (N, N) of ones."""
    mutual = _mutual(neighbours[:, : k1 + 1])
    halves = _mutual(neighbours[:, : round(k1 / 2) + 1])
    overlap = (mutual @ halves.T).multiply(mutual).tocoo()
    size = np.diff(halves.indptr)
    inside = overlap.data > 2 / 3 * size[overlap.col]
    taken = sparse.csr_matrix((np.ones(inside.sum()), (overlap.row[inside], overlap.col[inside])), shape=mutual.shape)
    sets = (mutual + taken @ halves).tocsr()
    sets.data[:] = 1
    sets.sort_indices()
    return sets


def _mutual(neighbours: Ints) -> sparse.csr_matrix:
    """Pairs of images that are among each other's neighbours."""
    total, count = neighbours.shape
    pointers = np.arange(0, total * count + 1, count)
    near = sparse.csr_matrix((np.ones(total * count), neighbours.ravel(), pointers), shape=(total, total))
    return near.multiply(near.T).tocsr()


def _averaged(encoding: sparse.csr_matrix, neighbours: Ints) -> sparse.csr_matrix:
    """Each image's encoding replaced by the mean over its nearest images."""
    total, count = neighbours.shape
    if count == 1:
        return encoding
    pointers = np.arange(0, total * count + 1, count)
    mean = sparse.csr_matrix((np.full(total * count, 1 / count), neighbours.ravel(), pointers), shape=(total, total))
    return (mean @ encoding).tocsr()
