"""The score of a network on prepared data: embeddings, then the one evaluation protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nas.data.augmentation import Augmentation
from nas.data.prepared import PreparedData
from nas.errors import TrainingError
from nas.networks import ReidNetwork
from nas.progress import Progress
from nas.retrieval import RetrievalMetrics, evaluate
from nas.retrieval.distances import full_precision
from nas.retrieval.reranking import Rerank
from nas.spaces.plugins import find_part, metric_name
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
    network: ReidNetwork,
    data: PreparedData,
    recipe: Recipe,
    *,
    metrics: Sequence[str] = (),
    progress: Progress | None = None,
) -> RetrievalMetrics:
    """mAP, CMC and mINP of a network as the recipe evaluates it, and metrics of one's own."""
    embeddings = embed(network, data, recipe.augmentation, progress)
    found = score_embeddings(embeddings, data, rerank=recipe.rerank)
    return replace(found, own=own_metrics(metrics, embeddings, data))


def own_metrics(names: Sequence[str], embeddings: Embeddings, data: PreparedData) -> dict[str, float]:
    """Numbers by the name of their function, or entry point.

    Each function takes features, identities and cameras of query and of gallery, six tensors on the CPU, and gives a
    number.

    Raises:
        SpaceError: there is no such metric.
        TrainingError: it raises, or gives no finite number.
    """
    found: dict[str, float] = {}
    for name in names:
        metric = find_part("metric", name, {})
        try:
            with full_precision("cpu"):  # as mAP, where `evaluation_precision: training` is for the embeddings
                value = float(metric(*(values.cpu() for values in embeddings.with_persons(data))))
        except Exception as error:  # whatever somebody's own code raises
            raise TrainingError(f"metric {name} raised {type(error).__name__}: {error}") from error
        if not math.isfinite(value):
            raise TrainingError(f"metric {name} gave {value}, which is no number")
        found[metric_name(name)] = value
    return found
