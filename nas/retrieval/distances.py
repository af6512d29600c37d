"""Distances between features, a few queries at a time: the matrix product of an evaluation.

Cosine distances are 1 - cos; Euclidean ones are squared (the order is the same). Products run in
float32 whatever precision the features came in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nas.errors import DataError, unknown_name

METRICS = ("cosine", "euclidean")


def as_features(values: Tensor | ArrayLike, what: str) -> Tensor:
    """Features as a float32 tensor (N, D) on the device they are on.

    Raises:
        DataError: no matrix, or NaN or infinite entries.
    """
    found = values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))
    if found.ndim != 2:
        raise DataError(f"{what} features must be a matrix (images, numbers), not of shape {tuple(found.shape)}")
    return found.float()


@dataclass(frozen=True)
class Distances:
    """Distances from queries (Q, D) to a gallery (G, D), computed row by row as they are needed.

    query, gallery: float32 on one device. offset: (G,) what each gallery image adds; scale: (G,) or
    a number, what the product is multiplied by.
    """

    query: Tensor
    gallery: Tensor
    scale: Tensor
    offset: Tensor
    metric: str

    @classmethod
    def between(cls, query: Tensor | ArrayLike, gallery: Tensor | ArrayLike, metric: str = "cosine") -> Distances:
        """Check features and prepare them.

        Raises:
            DataError: unknown metric, widths that differ, NaN or infinite features.
        """
        if metric not in METRICS:
            raise DataError(unknown_name("metric", metric, METRICS))
        q, g = as_features(query, "query"), as_features(gallery, "gallery")
        if q.shape[1] != g.shape[1]:
            raise DataError(f"query features have {q.shape[1]} numbers, gallery features {g.shape[1]}")
        q = q.to(g.device)
        q_norm, g_norm = _norms(q, "query"), _norms(g, "gallery")
        if metric == "cosine":
            one = torch.ones_like(g_norm)
            return cls(q / q_norm.clamp(min=1e-12)[:, None], g, -1 / g_norm.clamp(min=1e-12), one, metric)
        return cls(q, g, torch.full_like(g_norm, -2.0), g_norm**2, metric)

    def rows(self, queries: Tensor) -> Tensor:
        """Distances of some queries to the whole gallery, float32 (B, G), freshly made."""
        query = self.query[queries.to(self.query.device)]
        with full_precision(query.device.type):
            product = query @ self.gallery.T
        found = torch.addcmul(self.offset, product, self.scale, out=product)
        if self.metric == "euclidean":
            found += (query**2).sum(1, keepdim=True)
            found.clamp_(min=0)
        return found

    def pairs(self, queries: Tensor, places: Tensor) -> Tensor:
        """Distances of single pairs, float32 (n,)."""
        query, gallery = self.query[queries], self.gallery[places]
        found = self.offset[places] + (query * gallery).sum(1) * self.scale[places]
        return found + (query**2).sum(1) if self.metric == "euclidean" else found

    def joined(self) -> Distances:
        """Distances among all images, queries first: what re-ranking looks at."""
        query = torch.cat([self.query, self.gallery])
        return Distances.between(query, query, self.metric)

    def __len__(self) -> int:
        return len(self.query)


@contextlib.contextmanager
def full_precision(device: str) -> Iterator[None]:
    """Products in float32 proper, whatever autocast or fast-matmul setting a training has on."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _norms(features: Tensor, what: str) -> Tensor:
    """Euclidean length of each feature; the pass over the data that also finds NaN and infinity."""
    norms: Tensor = torch.linalg.vector_norm(features, dim=1)
    wrong = int((~torch.isfinite(norms)).sum())
    if wrong:
        raise DataError(
            f"the features of {wrong} of {len(features)} {what} images hold NaN or infinite values",
            "The network that made them has diverged; lower its learning rate or look at its losses.",
        )
    return norms
