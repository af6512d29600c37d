"""Candidates worth scoring: uniform draws, and what lies one change away from the promising ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from nas.search.proposals.base import Request
from nas.spaces import Candidate
from nas.spaces.arms import changes

_WHOLE = 600  # spaces up to this size are scored whole


class Pool:
    """Feasible candidates that are new and affordable, each once.

    Args:
        request: the space and what is known of it.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._seen = set(request.known)
        self._rng = request.rng("pool")

    def drawn(self, count: int) -> list[Candidate]:
        """Uniform draws; all there is in a small space."""
        space = self._request.space
        if not space.continuous and space.size() <= max(count, _WHOLE):
            return list(self._new(space.enumerate()))
        return list(self._new(space.sample(count, self._rng, distinct=False)))

    def around(self, centres: Sequence[Candidate], count: int) -> list[Candidate]:
        """At most `count` candidates one change away from some candidates, shared among these."""
        space = self._request.space
        found: list[Candidate] = []
        for i, centre in enumerate(centres):
            changed = list(changes(space.definition, space.arms, centre))
            self._rng.shuffle(changed)
            share = (count - len(found)) // (len(centres) - i)
            # Asking whether a candidate obeys all rules takes longest, so only those that are needed are asked about.
            inside = (candidate for candidate in changed if space.contains(candidate))
            found += islice(self._new(inside), share)
        return found

    def _new(self, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        for candidate in candidates:
            if candidate.id not in self._seen and self._request.affordable(candidate):
                self._seen.add(candidate.id)
                yield candidate
