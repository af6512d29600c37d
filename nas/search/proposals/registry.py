"""Samplers by name, and the one function that asks them."""

from __future__ import annotations

from nas.errors import StudyError, unknown_name
from nas.search.proposals.base import Proposal, Request, Sampler
from nas.search.proposals.feasible import NewCandidates
from nas.search.proposals.optuna_samplers import OPTUNA_SAMPLERS, OptunaProposals
from nas.search.proposals.placement import PlacementSampler


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


SAMPLERS: dict[str, Sampler] = {
    "placement": PlacementSampler(),
    "random": uniform,
    "brute_force": brute_force,
    **{name: OptunaProposals(name) for name in OPTUNA_SAMPLERS},
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
