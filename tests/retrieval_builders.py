"""Small retrieval problems and the protocol in its plainest form, to hold fast forms against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Problem:
    """Distances (Q, G) with who is on each image and which camera took it."""

    distances: NDArray[np.floating]
    query_ids: NDArray[np.int64]
    query_cameras: NDArray[np.int64]
    gallery_ids: NDArray[np.int64]
    gallery_cameras: NDArray[np.int64]

    @property
    def people(self) -> tuple[Array, Array, Array, Array]:
        """In the order `evaluate_distances` takes them."""
        return self.query_ids, self.query_cameras, self.gallery_ids, self.gallery_cameras


def sorted_protocol(problem: Problem) -> tuple[list[float], list[float], list[int]]:
    """AP, INP and first rank of each query by sorting the whole gallery (Ye et al. 2021); NaN and 0 where skipped."""
    aps, inps, firsts = [], [], []
    for i, row in enumerate(problem.distances):
        identity, camera = problem.query_ids[i], problem.query_cameras[i]
        order = sorted(range(len(row)), key=lambda j: (row[j], j))
        kept = [j for j in order if not (problem.gallery_ids[j] == identity and problem.gallery_cameras[j] == camera)]
        hits = [n for n, j in enumerate(kept, 1) if problem.gallery_ids[j] == identity and identity != 0]
        if not hits:
            aps.append(float("nan"))
            inps.append(float("nan"))
            firsts.append(0)
            continue
        aps.append(sum(n / rank for n, rank in enumerate(hits, 1)) / len(hits))
        inps.append(len(hits) / hits[-1])
        firsts.append(hits[0])
    return aps, inps, firsts


@st.composite
def problems(draw: st.DrawFn, max_queries: int = 12, max_gallery: int = 60) -> Problem:
    """Random problems with few identities and cameras, distractors, and many ties."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries, gallery = draw(st.integers(1, max_queries)), draw(st.integers(1, max_gallery))
    levels = draw(st.sampled_from([2, 5, 1000]))
    distances = rng.integers(0, levels, (queries, gallery)) / 7 - draw(st.sampled_from([0, 0.5]))
    return Problem(
        distances.astype(draw(st.sampled_from([np.float32, np.float64]))),
        rng.integers(0, 5, queries),
        rng.integers(1, 4, queries),
        rng.integers(0, 5, gallery),
        rng.integers(1, 4, gallery),
    )


def features(
    seed: int = 0, queries: int = 15, gallery: int = 90, persons: int = 8, width: int = 12, noise: float = 0.7
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    """(features, ids, cameras) of queries and gallery, clustered by person."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(persons + 1, width))

    def part(count: int) -> tuple[Array, Array, Array]:
        ids = rng.integers(1, persons + 1, count)
        values = centres[ids] + noise * rng.normal(size=(count, width))
        return values.astype(np.float32), ids, rng.integers(1, 4, count)

    return part(queries), part(gallery)
