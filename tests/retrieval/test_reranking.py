"""k-reciprocal re-ranking against a dense form in loops, written from the paper's definitions."""

from __future__ import annotations

import numpy as np
import pytest
from retrieval_builders import features

from nas.errors import DataError
from nas.retrieval import evaluate
from nas.retrieval.distances import Distances
from nas.retrieval.reranking import Rerank, RerankedDistances, nearest


def dense(distances: np.ndarray, queries: int, k1: int, k2: int, weight: float) -> np.ndarray:
    """Zhong et al. 2017 with full matrices: distances (N, N), squared, to (Q, N - Q)."""
    total = len(distances)
    original = distances / distances.max(1, keepdims=True)
    order = np.argsort(original, axis=1, kind="stable")

    def reciprocal(i: int, k: int) -> list[int]:
        return [int(j) for j in order[i, : k + 1] if i in order[j, : k + 1]]

    encoding = np.zeros((total, total))
    for i in range(total):
        own = reciprocal(i, k1)
        members = set(own)
        for j in own:
            theirs = reciprocal(j, round(k1 / 2))
            if len(set(theirs) & set(own)) > 2 / 3 * len(theirs):
                members |= set(theirs)
        for j in members:
            encoding[i, j] = np.exp(-original[i, j])
        encoding[i] /= encoding[i].sum()
    encoding = np.stack([encoding[order[i, :k2]].mean(0) for i in range(total)])
    result = np.empty((queries, total))
    for i in range(queries):
        overlap = np.minimum(encoding[i], encoding).sum(1)
        result[i] = (1 - weight) * (1 - overlap / (2 - overlap)) + weight * original[i]
    return result[:, queries:]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("queries", "gallery", "k1", "k2", "weight"), [(10, 80, 20, 6, 0.3), (6, 40, 7, 1, 0.0), (3, 12, 20, 6, 1.0)]
)
def test_against_the_dense_form(metric: str, queries: int, gallery: int, k1: int, k2: int, weight: float) -> None:
    (q, *_), (g, *_) = features(queries, queries=queries, gallery=gallery)
    everything = np.concatenate([q, g]).astype(np.float64)
    if metric == "cosine":
        everything /= np.linalg.norm(everything, axis=1, keepdims=True)
    squared = ((everything[:, None] - everything[None]) ** 2).sum(-1)
    found = RerankedDistances(Distances.between(q, g, metric), Rerank(k1, k2, weight)).rows(np.arange(queries))
    np.testing.assert_allclose(found, dense(squared, queries, k1, k2, weight), atol=2e-6)


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"k2": 0}, {"weight": 1.1}, {"weight": -0.1}])
def test_wrong_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match="re-ranking needs"):
        Rerank(**wrong)  # type: ignore[arg-type]


def test_equally_near_images_come_by_index() -> None:
    features = np.zeros((40, 3), np.float32)
    features[:, 0] = 1
    places, _ = nearest(Distances.between(features, features), 7)
    assert (places == np.arange(7)).all()


def test_collapsed_features_are_re_ranked_without_a_crash() -> None:
    rng = np.random.default_rng(1)
    features = np.full((30, 16), 0.25, np.float32) + rng.normal(0, 1e-9, (30, 16)).astype(np.float32)
    ids, cameras = np.arange(30) % 5 + 1, np.arange(30) % 2
    found = evaluate(features, ids, cameras, features, ids, cameras, rerank=Rerank())
    assert 0 <= found.map <= 1
