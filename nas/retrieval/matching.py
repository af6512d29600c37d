"""Which gallery images are right answers for a query and which are removed, from identities and cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from nas.data.records import DISTRACTOR, JUNK
from nas.errors import DataError
from nas.retrieval.metrics import Ints


@dataclass(frozen=True)
class Persons:
    """Who is on each of N images and which camera took it: int64 (N,) each."""

    identities: Ints
    cameras: Ints

    @classmethod
    def of(cls, identities: Tensor | ArrayLike, cameras: Tensor | ArrayLike, length: int, what: str) -> Persons:
        """Take tensors, arrays or lists; `DataError` when their number is not `length`."""
        found = _integers(identities), _integers(cameras)
        if any(values.shape != (length,) for values in found):
            shapes = " and ".join(str(values.shape) for values in found)
            raise DataError(f"{what}: identities and cameras of shape {shapes} do not go with {length} images")
        return cls(*found)

    def __len__(self) -> int:
        return len(self.identities)

    def at(self, places: Ints) -> Persons:
        """The images at these places."""
        return Persons(self.identities[places], self.cameras[places])


def _integers(values: Tensor | ArrayLike) -> Ints:
    found = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
    if found.size and found.dtype.kind not in "iu":
        # A column with a gap is read as floats: whole ones are meant, others would be cut to one person.
        whole = found.dtype.kind == "f" and bool(np.isfinite(found).all() and (found == np.floor(found)).all())
        if not whole:
            raise DataError(
                f"identities and cameras must be whole numbers, not {found.dtype}",
                "Number names first, for instance by numpy.unique(names, return_inverse=True)[1] + 1.",
            )
    return found.astype(np.int64)


@dataclass(frozen=True)
class Pairs:
    """Gallery places listed query by query: those of query i are `places[starts[i]:starts[i + 1]]`, ascending."""

    starts: Ints
    places: Ints

    @classmethod
    def of_flat(cls, query: Ints, places: Ints, queries: int) -> Pairs:
        """From a flat list sorted by query."""
        return cls(np.searchsorted(query, np.arange(queries + 1)).astype(np.int64), places)

    @property
    def counts(self) -> Ints:
        """How many places each query has, (Q,)."""
        return np.diff(self.starts)

    def of(self, query: int) -> Ints:
        """The places of one query."""
        return self.places[self.starts[query] : self.starts[query + 1]]

    def take(self, queries: Ints) -> Pairs:
        """The lists of some queries, in that order."""
        counts = self.counts[queries]
        starts = np.concatenate([[0], np.cumsum(counts)])
        flat = np.arange(starts[-1]) + np.repeat(self.starts[queries] - starts[:-1], counts)
        return Pairs(starts, self.places[flat])

    @property
    def rows(self) -> Ints:
        """The query of each place, to index a distance matrix with."""
        return np.repeat(np.arange(len(self.starts) - 1), self.counts)


@dataclass(frozen=True)
class Matches:
    """Right answers and removed gallery images of every query.

    positives: same identity, another camera. removed: same identity, same camera.
    """

    positives: Pairs
    removed: Pairs

    @classmethod
    def find(cls, query: Persons, gallery: Persons) -> Matches:
        """Compare identities and cameras; distractors (identity 0) are never right, junk (-1) is a `DataError`."""
        for name, persons in (("query", query), ("gallery", gallery)):
            if (persons.identities == JUNK).any():
                raise DataError(f"the {name} holds junk images (identity -1); leave them out")
        row, place = _same_identity(query.identities, gallery.identities)
        same_camera = gallery.cameras[place] == query.cameras[row]
        right = ~same_camera & (query.identities[row] != DISTRACTOR)
        return cls(
            Pairs.of_flat(row[right], place[right], len(query)),
            Pairs.of_flat(row[same_camera], place[same_camera], len(query)),
        )

    def take(self, queries: Ints) -> Matches:
        """Those of some queries, in that order."""
        return Matches(self.positives.take(queries), self.removed.take(queries))


def _same_identity(query: Ints, gallery: Ints) -> tuple[Ints, Ints]:
    """All (query, gallery) places of equal identity, sorted by query, then gallery."""
    order = np.argsort(gallery, kind="stable")
    ordered = gallery[order]
    first, last = np.searchsorted(ordered, query, "left"), np.searchsorted(ordered, query, "right")
    row = np.repeat(np.arange(len(query)), last - first)
    offset = np.repeat(first - np.concatenate([[0], np.cumsum(last - first)[:-1]]), last - first)
    return row, order[np.arange(len(row)) + offset]
