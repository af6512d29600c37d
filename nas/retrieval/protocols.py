"""Other ways to ask: expanded queries, several images a query, one gallery image a person. Never reported unnamed.

Each takes the six leading arguments of `evaluate` (features, identities and cameras of query and gallery). How a result
was measured stands in its protocol.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nas.errors import DataError
from nas.retrieval.distances import Distances
from nas.retrieval.evaluation import chunk_rows, evaluate
from nas.retrieval.matching import Persons
from nas.retrieval.metrics import RetrievalMetrics, cumulative_matches
from nas.retrieval.reranking import Rerank

Six = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]

EXPANSION = 5
"""Neighbours that a query is averaged with: fewer than the 14.7 right answers that a query of Market-1501 has."""
EXPANSION_POWER = 3.0
"""Of the neighbours' similarity as their weight (Radenovic et al., TPAMI 2019); 0: a plain mean (Chum et al., 2007)."""
DRAWS = 100
"""Random galleries of the single-shot protocol: the mean's error is then a tenth of one draw's."""


def expand_queries(
    query: Tensor, gallery: Tensor, neighbours: int = EXPANSION, power: float = EXPANSION_POWER
) -> Tensor:
    """Average query expansion: each query becomes the weighted mean of itself and its nearest gallery images.

    Args:
        query: (Q, D) of length 1.
        gallery: (G, D) of length 1. No identity is looked at, so images that the evaluation removes take part.
        power: weight of a neighbour is its cosine similarity (0 where negative) to this power.

    Returns:
        (Q, D), of length 1.
    """
    wanted = min(neighbours, len(gallery))
    parts = []
    for some in torch.split(query, chunk_rows(len(gallery), query.device.type)):
        near, places = (some @ gallery.T).topk(wanted, dim=1)
        weights = near.clamp_min(0.0).pow(power) if power else torch.ones_like(near)
        parts.append(some + (weights.unsqueeze(2) * gallery[places]).sum(dim=1))
    return functional.normalize(torch.cat(parts), dim=1) if parts else query


def join_queries(arguments: Six) -> Six:
    """Multi-query: the images of one identity in one camera are one query, the mean of their features.

    Those of the gallery count too, which the protocol removes from this query's ranking anyway. Market-1501's own
    multi-query protocol adds hand-drawn boxes instead (`gt_bbox`).

    Returns:
        The arguments with one query an identity and camera, in order of their first image.
    """
    features, ids, cameras, gallery, gallery_ids, gallery_cameras = arguments
    asked = torch.stack([ids, cameras], dim=1).to("cpu")
    keys, first = np.unique(asked.numpy(), axis=0, return_index=True)
    keys = keys[np.argsort(first, kind="stable")]
    own, others = asked, torch.stack([gallery_ids, gallery_cameras], dim=1).to("cpu")
    joined = []
    for key in torch.from_numpy(keys):
        mine = (own == key).all(dim=1).to(features.device), (others == key).all(dim=1).to(gallery.device)
        joined.append(torch.cat([features[mine[0]], gallery[mine[1]].to(features.device)]).mean(dim=0))
    found = torch.from_numpy(keys)
    return (functional.normalize(torch.stack(joined), dim=1), found[:, 0], found[:, 1], *arguments[3:])


def single_shot(arguments: Six, draws: int = DRAWS, seed: int = 0, max_rank: int = 50) -> RetrievalMetrics:
    """CUHK03's classic protocol: one random image a person in the gallery, from another camera; CMC, mean over draws.

    Args:
        arguments: as of `evaluate`. The gallery of a draw has one image of each identity; a query whose identity was
            drawn from its own camera is asked in the other draws.
        max_rank: length of the CMC.

    Returns:
        The mean CMC; mAP and mINP are those of the one right answer, 1 / rank on average.

    Raises:
        DataError: no query ever meets its identity in another camera.
    """
    features, ids, cameras, gallery, gallery_ids, gallery_cameras = arguments
    distances = Distances.between(features, gallery, "cosine")
    query = Persons.of(ids, cameras, len(features), "query")
    held = Persons.of(gallery_ids, gallery_cameras, len(gallery), "gallery")
    by_identity = [np.flatnonzero(held.identities == person) for person in np.unique(held.identities) if person > 0]
    rows = distances.rows(torch.arange(len(features))).cpu().numpy()
    rng = np.random.default_rng(seed)
    curves, inverse, met = [], [], np.zeros(len(query), dtype=np.bool_)
    for _ in range(draws):
        shown = np.array([rng.choice(places) for places in by_identity], dtype=np.int64)
        person, camera = held.identities[shown], held.cameras[shown]
        right = (person[None, :] == query.identities[:, None]) & (camera[None, :] != query.cameras[:, None])
        asked = right.any(axis=1)
        if not asked.any():
            continue
        near = rows[np.ix_(np.flatnonzero(asked), shown)]
        place = right[asked].argmax(axis=1)
        own = near[np.arange(len(near)), place]
        ties = (near == own[:, None]) & (np.arange(len(shown))[None, :] < place[:, None])
        rank = 1 + (near < own[:, None]).sum(axis=1) + ties.sum(axis=1)
        curves.append(cumulative_matches(rank, max_rank))
        inverse.append(float(np.mean(1.0 / rank)))
        met |= asked
    if not curves:
        raise DataError(
            "no query meets its identity in another camera", "Run `nas data check`: identities need two cameras."
        )
    curve, score = np.mean(curves, axis=0), float(np.mean(inverse))
    protocol = f"cosine, single shot: one gallery image a person from another camera, mean of {draws} draws"
    return RetrievalMetrics(score, score, tuple(map(float, curve)), len(query), int(met.sum()), protocol)


def evaluate_as(
    arguments: Six,
    *,
    expansion: int = 0,
    multi_query: bool = False,
    flipped: bool = False,
    per_query: bool = False,
    rerank: Rerank | None = None,
) -> RetrievalMetrics:
    """`evaluate` by cosine, with what was done to the features named in the protocol.

    Args:
        expansion: neighbours of average query expansion; 0: none.
        multi_query: the images of one identity and camera are one query.
        flipped: the features are means over images and their mirror images (named only).
    """
    named = ["mirror images averaged"] if flipped else []
    if multi_query:
        arguments, named = join_queries(arguments), [*named, "several images a query"]
    if expansion:
        expanded = expand_queries(arguments[0], arguments[3], expansion)
        arguments, named = (expanded, *arguments[1:]), [*named, f"average query expansion ({expansion})"]
    found = evaluate(*arguments, metric="cosine", rerank=rerank, per_query=per_query)
    return replace(found, protocol=", ".join([found.protocol, *named]))
