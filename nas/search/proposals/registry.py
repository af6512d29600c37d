"""Samplers by name, and the one function that asks them."""

from __future__ import annotations

import pkgutil

from nas.errors import StudyError, unknown_name
from nas.search.proposals.base import Proposal, Request, Sampler
from nas.search.proposals.feasible import NewCandidates


def uniform(request: Request) -> list[Proposal]:
    """Exactly uniform draws from what the space admits."""
    fresh = NewCandidates(request)
    found = (fresh.take(None) for _ in range(request.count))
    return [Proposal(candidate) for candidate in found if candidate is not None]


def brute_force(request: Request) -> list[Proposal]:
    """The space in order, one after the other."""
    fresh = NewCandidates(request)
    found: list[Proposal] = []
    for candidate in request.space.enumerate():
        if len(found) == request.count:
            break
        if fresh.admits(candidate):
            found.append(Proposal(candidate))
    return found


def _made_when_asked(path: str, *arguments: str) -> Sampler:
    """A sampler of another module: its libraries take a second to load, and most commands only want the names."""
    return lambda request: pkgutil.resolve_name(f"nas.search.proposals.{path}")(*arguments)(request)


SAMPLERS: dict[str, Sampler] = {
    "placement": _made_when_asked("placement:PlacementSampler"),
    "random": uniform,
    "brute_force": brute_force,
    **{
        name: _made_when_asked("optuna_samplers:OptunaProposals", name)
        for name in ("tpe", "gp", "nsga2", "nsga3", "qmc")
    },
}


def propose(sampler: str, request: Request) -> list[Proposal]:
    """Feasible, new candidates; fewer than asked for only when the space is exhausted.

    Args:
        sampler: a key of `SAMPLERS`.
        request: what is known and wanted.

    Raises:
        StudyError: the sampler is unknown.
    """
    if sampler not in SAMPLERS:
        raise StudyError(unknown_name("sampler", sampler, SAMPLERS))
    return SAMPLERS[sampler](request)
