"""The score of a network on prepared data: embeddings, then the one evaluation protocol."""

from __future__ import annotations

from nas.data.prepared import PreparedData
from nas.networks import ReidNetwork
from nas.progress import Progress
from nas.retrieval import RetrievalMetrics, evaluate
from nas.retrieval.reranking import Rerank
from nas.training.extraction import embed_split
from nas.training.failures import Diverged
from nas.training.recipe import Recipe


def score(
    network: ReidNetwork,
    data: PreparedData,
    recipe: Recipe,
    *,
    per_query: bool = False,
    progress: Progress | None = None,
) -> RetrievalMetrics:
    """mAP, CMC and mINP of a network: L2-normalised feature after the BNNeck, cosine, fp32.

    Args:
        network: in any mode; left as it was.
        data: query and gallery are used.
        recipe: its normalisation and `rerank`.
        per_query: also keep each query's average precision.

    Raises:
        Diverged: a feature is NaN or infinite.
    """
    query = embed_split(network, data.query, recipe.augmentation, progress=progress)
    gallery = embed_split(network, data.gallery, recipe.augmentation, progress=progress)
    if not (query.isfinite().all() and gallery.isfinite().all()):
        raise Diverged("the trained network's features are not finite", "Lower base_lr, or set clip_norm.")
    return evaluate(
        query,
        data.query.identities,
        data.query.cameras,
        gallery,
        data.gallery.identities,
        data.gallery.cameras,
        metric="cosine",
        rerank=Rerank() if recipe.rerank else None,
        per_query=per_query,
    )
