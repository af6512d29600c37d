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

from nas.data.devices import tf32
from nas.errors import DataError, unknown_name

METRICS = ("cosine", "euclidean")
KEY_COLUMNS, HASHED_AT_ONCE = 16, 1024
"""Columns that tell most features apart, and rows whose bits are widened to 64 at a time."""
SHORTEST = 1e-12
"""Length below which a feature counts as zero, as in torch.nn.functional.normalize."""


def as_features(values: Tensor | ArrayLike, what: str) -> Tensor:
    """Features as a float32 tensor (N, D) on the device they are on.

    Raises:
        DataError: no matrix of real numbers; masked; so small that float32 holds zero for them.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise DataError(f"{what} features are masked", "Leave the images out whose features are not known.")
    array = values.detach() if isinstance(values, Tensor) else np.asarray(values)
    if isinstance(array, np.ndarray) and array.dtype.kind not in "biuf":
        raise DataError(f"{what} features must be real numbers, not {array.dtype}")
    found = torch.from_numpy(array) if isinstance(array, np.ndarray) else array
    if found.is_complex():
        raise DataError(f"{what} features must be real numbers, not {found.dtype}")
    if found.ndim != 2:
        raise DataError(f"{what} features must be a matrix (images, numbers), not of shape {tuple(found.shape)}")
    single = found.float()
    if found.dtype == torch.float64 and bool(((single == 0).all(1) & (found != 0).any(1)).any()):
        raise DataError(f"{what} features are too small for numbers of 32 bits", "Divide them by their lengths first.")
    return single


@dataclass(frozen=True)
class Distances:
    """Distances from queries (Q, D) to a gallery (G, D), computed row by row as they are needed.

    Gallery images with equal features are equally far from a query to the last bit, however many queries are asked at
    once: a matrix product may round equal columns differently, so those of copies are copied.

    query, gallery: float32 on one device, queries of length 1 for cosine. divisor, offset: (G,), what orders gallery
    images is a product divided by the one plus the other: less the cosine, or the square of the distance less that of
    the query, exact for whole numbers. So no pass over gallery or matrix is needed beside the product and the
    counting. Divided, not times the reciprocal, whose own rounding would part features along one axis.
    copies, first: gallery places whose features stand earlier in the gallery too, and where.
    """

    query: Tensor
    gallery: Tensor
    divisor: Tensor
    offset: Tensor
    copies: Tensor
    first: Tensor
    metric: str

    @classmethod
    def between(cls, query: Tensor | ArrayLike, gallery: Tensor | ArrayLike, metric: str = "cosine") -> Distances:
        """Check features and prepare them.

        Raises:
            DataError: unknown metric, widths that differ, NaN or infinite features; cosine: features of zero.
        """
        if metric not in METRICS:
            raise DataError(unknown_name("metric", metric, METRICS))
        q, g = as_features(query, "query"), as_features(gallery, "gallery")
        if q.shape[1] != g.shape[1]:
            raise DataError(f"query features have {q.shape[1]} numbers, gallery features {g.shape[1]}")
        q = q.to(g.device)
        q_norm, g_norm = _norms(q, "query"), _norms(g, "gallery")
        copies, first = _copies(g)
        if metric == "cosine":
            _require_directions(q_norm, "query")
            _require_directions(g_norm, "gallery")
            q = q / q_norm[:, None]
            divisor, offset = -g_norm, torch.zeros_like(g_norm)
        else:
            divisor, offset = torch.full_like(g_norm, -0.5), torch.einsum("ij,ij->i", g, g)
        for values in (divisor, offset):
            values[copies] = values[first]
        return cls(q, g, divisor, offset, copies, first, metric)

    def rows(self, queries: Tensor) -> Tensor:
        """Distances of some queries to the whole gallery, float32 (B, G), freshly made; never below 0."""
        query = self.query[queries.to(self.query.device)]
        own = 1.0 if self.metric == "cosine" else (query**2).sum(1, keepdim=True)
        return self.order(queries).add_(own).clamp_(min=0)

    def order(self, queries: Tensor) -> Tensor:
        """Numbers (B, G) in the order of the distances of each query, freshly made."""
        return self.products(queries).div_(self.divisor).add_(self.offset)

    def products(self, queries: Tensor, out: Tensor | None = None) -> Tensor:
        """Products (B, G) of some queries with the whole gallery; freshly made, or written to `out`."""
        query = self.query[queries.to(self.query.device)]
        with full_precision(query.device.type):
            found = torch.mm(query, self.gallery.T, out=out)
        if len(self.copies):
            found[:, self.copies] = found[:, self.first]
        return found

    def pairs(self, queries: Tensor, places: Tensor) -> Tensor:
        """Distances of single pairs, float32 (n,); never below 0."""
        query, gallery = self.query[queries], self.gallery[places]
        if self.metric == "cosine":
            return (1 + (query * gallery).sum(1) / self.divisor[places]).clamp_(min=0)
        return ((query - gallery) ** 2).sum(1)

    def joined(self) -> Distances:
        """Distances among all images, queries first: what re-ranking looks at."""
        query = torch.cat([self.query, self.gallery])
        return Distances.between(query, query, self.metric)

    def __len__(self) -> int:
        return len(self.query)


def _require_directions(norms: Tensor, what: str) -> None:
    """Features of zero are equally far from everything: the gallery's order would decide."""
    short = int((norms < SHORTEST).sum())
    if short:
        raise DataError(f"the features of {short} of {len(norms)} {what} images are zero, so they have no direction")


def _copies(features: Tensor) -> tuple[Tensor, Tensor]:
    """Places of rows that stand earlier too, and the first place of each, (C,) and (C,); mostly none."""
    bits = features.contiguous().view(torch.int32)
    # A few columns first: what differs there, and that is nearly everything, is not looked at again.
    near = torch.arange(0, bits.shape[1], -(-bits.shape[1] // KEY_COLUMNS), device=bits.device)
    places = _repeated(_hashes(bits[:, near]))
    hashes = torch.cat([_hashes(bits[part]) for part in torch.split(places, HASHED_AT_ONCE)]) if len(places) else places
    order = hashes.argsort(stable=True)
    ordered = hashes[order]
    again = torch.zeros_like(ordered, dtype=torch.bool)
    again[1:] = ordered[1:] == ordered[:-1]
    starts = torch.where(again, 0, torch.arange(len(order), device=order.device)).cummax(0).values
    return places[order[again]], places[order[starts[again]]]


def _hashes(bits: Tensor) -> Tensor:
    """A 64-bit number a row, int64: equal for equal rows and, but by chance, for no others."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(2**62, (bits.shape[1],), generator=generator).mul_(2).add_(1).to(bits.device)
    return (bits.long() * weights).sum(1)


def _repeated(values: Tensor) -> Tensor:
    """Places of the values that occur several times, ascending."""
    order = values.argsort(stable=True)
    same = values[order[1:]] == values[order[:-1]]
    found = torch.zeros_like(values, dtype=torch.bool)
    found[order[1:]] = same
    found[order[:-1]] |= same
    places: Tensor = found.nonzero()[:, 0]
    return places


@contextlib.contextmanager
def full_precision(device: str) -> Iterator[None]:
    """Products in float32 proper, whatever autocast or fast-matmul setting a training has on."""
    with tf32(False), torch.autocast(device, enabled=False):
        yield


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
