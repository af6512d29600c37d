"""Makes any suggestion feasible and new: the nearest change that obeys the rules.

A sampler that knows nothing of rules suggests; the space repairs the suggestion at as few sites as
possible, then single changes are tried, then exactly uniform draws. The number of tries is bounded.
"""

from __future__ import annotations

from nas.search.proposals.base import Request
from nas.spaces import Candidate

_FRESH_DRAWS = 256
"""Uniform draws before a space counts as nearly exhausted: with 2 % of it new, one search in 170 is told so wrongly."""
_SMALL = 100_000  # candidates that can be looked through within a second or two


class NewCandidates:
    """Turns suggestions into feasible candidates that nobody has proposed before.

    Args:
        request: the space, the limit and the candidates already known.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._given: set[str] = set(request.known)
        self._rng = request.rng("feasible")

    def admits(self, candidate: Candidate) -> bool:
        """Whether the candidate lies in the space, is new and not known to be too expensive."""
        fresh = candidate.id not in self._given
        return fresh and self._request.space.contains(candidate) and self._request.affordable(candidate)

    def take(self, suggestion: Candidate | None) -> Candidate | None:
        """The suggestion, or the nearest feasible new candidate; None when the space has none left."""
        found = self._nearest(suggestion) if suggestion is not None else None
        found = found or self._drawn()
        if found is not None:
            self._given.add(found.id)
        return found

    def _nearest(self, suggestion: Candidate) -> Candidate | None:
        if self.admits(suggestion):
            return suggestion
        feasible = self._request.space.repair(suggestion)
        if self.admits(feasible):
            return feasible
        neighbours = self._request.space.neighbours(feasible)
        self._rng.shuffle(neighbours)
        return next((n for n in neighbours if self.admits(n)), None)

    def _drawn(self) -> Candidate | None:
        space = self._request.space
        for _ in range(_FRESH_DRAWS):
            candidate = space.sample(1, self._rng)[0]
            if self.admits(candidate):
                return candidate
        if space.continuous or space.size() > _SMALL:
            return None
        # A nearly exhausted space: look through it once, from its start.
        return next((c for c in space.enumerate() if self.admits(c)), None)
