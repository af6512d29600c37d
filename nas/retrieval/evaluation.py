"""Evaluate features by the protocol of Ye et al. 2021: mAP, mINP and CMC in one pass, without sorting.

Distances are computed a chunk of queries at a time and ranked while they are still in the cache, so
the whole matrix never exists: MSMT17 (11 659 x 82 161) needs little more than its features.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nas.errors import DataError
from nas.retrieval.counting import AnyFloats
from nas.retrieval.distances import Distances
from nas.retrieval.matching import Matches, Persons
from nas.retrieval.metrics import Ints, PerQuery, RetrievalMetrics
from nas.retrieval.ranking import Block, evaluate_blocks
from nas.retrieval.reranking import Rerank, RerankedDistances

CHUNK_BYTES = {"cpu": 32 << 20, "cuda": 1 << 30}
"""Distances held at once, by kind of device; the product of few queries at a time is slower."""
SMALLEST_CHUNK = 64
"""Fewer queries at a time would slow the matrix product down."""


def evaluate(
    query_features: Tensor | ArrayLike,
    query_ids: ArrayLike,
    query_cameras: ArrayLike,
    gallery_features: Tensor | ArrayLike,
    gallery_ids: ArrayLike,
    gallery_cameras: ArrayLike,
    *,
    metric: str = "cosine",
    max_rank: int = 50,
    rerank: Rerank | None = None,
    chunk: int | None = None,
    per_query: bool = False,
) -> RetrievalMetrics:
    """mAP, mINP and CMC of features, on the device the gallery features are on.

    Gallery images of the query's identity and camera are removed; queries without a right answer
    left are skipped and counted; ties are ordered by gallery index; identity 0 is never right.

    Args:
        query_features: (Q, D), any float type.
        query_ids, query_cameras: (Q,) raw identities and cameras.
        gallery_features: (G, D).
        gallery_ids, gallery_cameras: (G,).
        metric: `cosine` or `euclidean`.
        max_rank: length of the CMC.
        rerank: k-reciprocal re-ranking; named in the result's protocol.
        chunk: queries at a time; chosen by memory when None. Equal gallery features stay equally far whatever it is;
            other distances may differ in the last bit.
        per_query: keep the results of single queries.

    Raises:
        DataError: NaN or infinite features, sizes that do not fit, or no query with a right answer left.
    """
    distances = Distances.between(query_features, gallery_features, metric)
    query = Persons.of(query_ids, query_cameras, len(distances.query), "query")
    gallery = Persons.of(gallery_ids, gallery_cameras, len(distances.gallery), "gallery")
    matches = Matches.find(query, gallery)
    if rerank is None:
        found = _evaluate_features(distances, matches, chunk)
    else:
        found = _evaluate_reranked(distances, matches, rerank)
    return _summary(found, max_rank, protocol_name(metric, rerank), per_query)


def evaluate_distances(
    distances: NDArray[np.floating] | Tensor,
    query_ids: ArrayLike,
    query_cameras: ArrayLike,
    gallery_ids: ArrayLike,
    gallery_cameras: ArrayLike,
    *,
    max_rank: int = 50,
    per_query: bool = False,
) -> RetrievalMetrics:
    """The same for given distances (Q, G), an array or a tensor on any device; they are not changed."""
    if distances.ndim != 2:
        raise DataError(f"distances must be a matrix (queries, gallery), not of shape {tuple(distances.shape)}")
    query = Persons.of(query_ids, query_cameras, distances.shape[0], "query")
    gallery = Persons.of(gallery_ids, gallery_cameras, distances.shape[1], "gallery")
    matches = Matches.find(query, gallery)
    if isinstance(distances, Tensor):
        distances = distances.detach() if distances.is_cuda else distances.detach().numpy()
    device = distances.device.type if isinstance(distances, Tensor) else "cpu"
    rows = chunk_rows(len(gallery), device)
    found = evaluate_blocks(matches, partial(_given_block, distances), rows, len(gallery))
    return _summary(found, max_rank, "distances given", per_query)


def protocol_name(metric: str, rerank: Rerank | None) -> str:
    """How results were measured, in words.

    >>> protocol_name("cosine", None)
    'cosine, same identity and camera removed'
    """
    named = f", {rerank}" if rerank else ""
    return f"{metric}, same identity and camera removed{named}"


def chunk_rows(gallery: int, device: str) -> int:
    """Queries whose distances to the gallery fit the memory meant for them."""
    return max(SMALLEST_CHUNK, CHUNK_BYTES.get(device, CHUNK_BYTES["cpu"]) // (4 * max(gallery, 1)))


def _evaluate_features(distances: Distances, matches: Matches, chunk: int | None) -> PerQuery:
    device, gallery = distances.gallery.device.type, len(distances.gallery)
    rows = min(chunk or chunk_rows(gallery, device), len(distances))
    # One block for all: fresh memory costs as much as counting in it.
    buffer = torch.empty((rows if device == "cpu" else 0, gallery))
    divisor, offset = (values.cpu().numpy() for values in (distances.divisor, distances.offset))

    def block(queries: Ints) -> Block:
        places = torch.from_numpy(queries)
        if device == "cpu":
            return Block.fresh(distances.products(places, buffer[: len(queries)]).numpy(), divisor, offset)
        return Block.fresh(distances.order(places))

    return evaluate_blocks(matches, block, rows, gallery)


def _evaluate_reranked(distances: Distances, matches: Matches, rerank: Rerank) -> PerQuery:
    reranked = RerankedDistances(distances, rerank)
    gallery = len(distances.gallery)
    return evaluate_blocks(matches, lambda q: Block.fresh(reranked.rows(q)), chunk_rows(gallery, "cpu"), gallery)


def _given_block(matrix: AnyFloats | Tensor, queries: Ints) -> Block:
    """Of a matrix somebody else computed: read in place where its layout allows, else copied piece by piece."""
    if isinstance(matrix, Tensor):
        return Block.fresh(matrix[torch.from_numpy(queries).to(matrix.device)])
    if matrix.dtype in (np.float32, np.float64) and matrix.flags.carray:
        return Block(matrix, queries)
    exact = np.float32 if matrix.dtype in (np.float16, np.float32) else np.float64
    return Block.fresh(matrix[queries].astype(exact))


def _summary(found: PerQuery, max_rank: int, protocol: str, keep: bool) -> RetrievalMetrics:
    if not (found.positives > 0).any():
        raise DataError(
            f"none of the {len(found.positives)} queries has a right answer in another camera",
            "Run `nas data check`: identities must be seen by two cameras, and their numbers must match.",
        )
    return RetrievalMetrics.from_per_query(found, max_rank, protocol, keep)
