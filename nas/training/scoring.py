"""The score of a network on prepared data: embeddings, then the one evaluation protocol."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nas.data.augmentation import Augmentation
from nas.data.prepared import PreparedData
from nas.networks import ReidNetwork
from nas.progress import Progress
from nas.retrieval import RetrievalMetrics, evaluate
from nas.retrieval.reranking import Rerank
from nas.training.extraction import check_features, embed_split
from nas.training.recipe import Recipe


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of query (Q, D) and gallery (G, D): fp32, L2-normalised, after the BNNeck."""

    query: Tensor
    gallery: Tensor

    def with_persons(self, data: PreparedData) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The six leading arguments of the functions in `nas.retrieval`."""
        q, g = data.query, data.gallery
        return self.query, q.identities, q.cameras, self.gallery, g.identities, g.cameras


def embed(
    network: ReidNetwork,
    data: PreparedData,
    augmentation: Augmentation,
    progress: Progress | None = None,
    *,
    flip: bool = False,
) -> Embeddings:
    """Embeddings of query and gallery with a network in any mode, which is left as it was; `flip`: the flip test.

    Raises:
        Diverged: a feature is NaN, infinite or zero, or all are alike (the gallery's order would decide).
    """
    query, gallery = (
        embed_split(network, s, augmentation, progress=progress, flip=flip) for s in (data.query, data.gallery)
    )
    check_features(torch.cat([query, gallery]))
    return Embeddings(query, gallery)


def score_embeddings(
    embeddings: Embeddings, data: PreparedData, *, rerank: bool = False, per_query: bool = False
) -> RetrievalMetrics:
    """mAP, CMC and mINP by cosine; `rerank` is k-reciprocal (20, 6, 0.3), named in the result's protocol."""
    arguments = embeddings.with_persons(data)
    return evaluate(*arguments, metric="cosine", rerank=Rerank() if rerank else None, per_query=per_query)


def score(
    network: ReidNetwork, data: PreparedData, recipe: Recipe, *, progress: Progress | None = None
) -> RetrievalMetrics:
    """mAP, CMC and mINP of a network as the recipe evaluates it."""
    return score_embeddings(embed(network, data, recipe.augmentation, progress), data, rerank=recipe.rerank)
