"""Same person or not: ROC, true positive rate at a false positive rate, and distances by kind of pair.

A pair is accepted when its distance is at most a threshold, so larger thresholds accept more: the
true positive rate is the share of accepted pairs of one person (seen by two cameras), the false
positive rate that of accepted pairs of different persons. Pairs that the evaluation removes are left
out here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nas.errors import DataError
from nas.retrieval.distances import Distances
from nas.retrieval.evaluation import chunk_rows
from nas.retrieval.matching import Matches, Persons
from nas.retrieval.metrics import Floats, Ints


@dataclass(frozen=True)
class Roc:
    """The ROC curve at the distances of the positive pairs, ascending.

    thresholds, tpr, fpr: (P,). fpr_below: (P,), share of negative pairs strictly nearer.
    positives, negatives: numbers of pairs.
    """

    thresholds: Floats
    tpr: Floats
    fpr: Floats
    fpr_below: Floats
    positives: int
    negatives: int

    def tpr_at(self, fpr: float) -> float:
        """The largest true positive rate of a threshold whose false positive rate is at most `fpr`."""
        allowed = self.fpr <= fpr
        return float(self.tpr[allowed].max(initial=0.0))

    @property
    def auc(self) -> float:
        """Share of (positive, negative) pairs in the right order, ties counted half."""
        return float(1 - np.mean((self.fpr + self.fpr_below) / 2))


@dataclass(frozen=True)
class DistanceHistogram:
    """Pairs by distance: edges (B + 1,), positive and negative (B,) counts."""

    edges: Floats
    positive: Ints
    negative: Ints


class PairDistances:
    """All counted pairs of an evaluation, a chunk of queries at a time.

    Args: as `evaluate`.

    Raises:
        DataError: as `evaluate`; also when there is no positive or no negative pair.
    """

    def __init__(
        self,
        query_features: Tensor | ArrayLike,
        query_ids: ArrayLike,
        query_cameras: ArrayLike,
        gallery_features: Tensor | ArrayLike,
        gallery_ids: ArrayLike,
        gallery_cameras: ArrayLike,
        *,
        metric: str = "cosine",
    ) -> None:
        self._distances = Distances.between(query_features, gallery_features, metric)
        query = Persons.of(query_ids, query_cameras, len(self._distances.query), "query")
        gallery = Persons.of(gallery_ids, gallery_cameras, len(self._distances.gallery), "gallery")
        self._matches = Matches.find(query, gallery)
        total = len(query) * len(gallery) - len(self._matches.removed.places)
        self.positives = len(self._matches.positives.places)
        self.negatives = total - self.positives
        if not self.positives or not self.negatives:
            raise DataError(
                f"a ROC needs both kinds of pairs; there are {self.positives} of one person and {self.negatives} of two"
            )

    def _chunks(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Distances of the positive and of the negative pairs of some queries, flat."""
        total, step = len(self._distances), chunk_rows(len(self._distances.gallery), "cpu")
        for start in range(0, total, step):
            queries = np.arange(start, min(start + step, total))
            rows = self._distances.rows(torch.from_numpy(queries)).cpu().numpy()
            mine = self._matches.take(queries)
            positive = rows[mine.positives.rows, mine.positives.places]
            negative = np.ones(rows.shape, dtype=np.bool_)
            for pairs in (mine.positives, mine.removed):
                negative[pairs.rows, pairs.places] = False
            yield positive, rows[negative]

    def roc(self) -> Roc:
        """The exact curve: every corner of it lies at the distance of a positive pair."""
        thresholds = np.sort(np.concatenate([positive for positive, _ in self._chunks()]))
        nearer, upto = (np.zeros(self.positives + 1, dtype=np.int64) for _ in range(2))
        for _, negative in self._chunks():
            upto += np.bincount(np.searchsorted(thresholds, negative, "left"), minlength=self.positives + 1)
            nearer += np.bincount(np.searchsorted(thresholds, negative, "right"), minlength=self.positives + 1)
        return Roc(
            thresholds=thresholds.astype(np.float64),
            tpr=np.searchsorted(thresholds, thresholds, "right") / self.positives,
            fpr=np.cumsum(upto)[:-1] / self.negatives,
            fpr_below=np.cumsum(nearer)[:-1] / self.negatives,
            positives=self.positives,
            negatives=self.negatives,
        )

    def histogram(self, bins: int = 100) -> DistanceHistogram:
        """How distances spread, in equal bins from the smallest to the largest."""
        extremes = [(k.min(), k.max()) for chunk in self._chunks() for k in chunk if len(k)]
        edges = np.linspace(min(low for low, _ in extremes), max(high for _, high in extremes), bins + 1)
        positive, negative = (np.zeros(bins, dtype=np.int64) for _ in range(2))
        for p, n in self._chunks():
            positive += np.histogram(p, edges)[0]
            negative += np.histogram(n, edges)[0]
        return DistanceHistogram(edges, positive, negative)
