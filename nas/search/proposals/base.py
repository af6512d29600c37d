"""What a sampler is asked and what it answers; plain values, no database, no torch."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from nas.files.hashes import hash_of_text
from nas.spaces import Candidate, DesignSpace


@dataclass(frozen=True)
class Observation:
    """What is known of one candidate: the mean over its trainings.

    Attributes:
        candidate: the candidate.
        map: mean mAP of its finished trainings, 0-1; None when every training failed.
        cost: what is paid, in the study's unit (ms a batch); None when unknown.
        replicates: number of finished trainings.
        attrs: what the sampler noted when it proposed the candidate.
        more: the study's further costs, less is better.
    """

    candidate: Candidate
    map: float | None
    cost: float | None
    replicates: int = 1
    attrs: Mapping[str, object] = field(default_factory=dict)
    more: tuple[float | None, ...] = ()

    @property
    def values(self) -> tuple[float, ...] | None:
        """mAP and all costs; None where one of them is not known."""
        found = (self.map, self.cost, *self.more)
        return None if any(value is None for value in found) else tuple(float(value or 0.0) for value in found)


@dataclass(frozen=True)
class Proposal:
    """A candidate to train, and what the sampler wants to be reminded of later."""

    candidate: Candidate
    attrs: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One call for proposals.

    Attributes:
        space: where candidates may lie.
        history: observations in a fixed order.
        count: how many candidates are wanted.
        seed: seed of the stage.
        batch: number of this batch; with `seed` it fixes every random draw.
        cost: cost of a candidate before it is trained, or None where unknown.
        max_cost: candidates known to cost more are not proposed.
        admits: further limits on what may be proposed; None admits everything.
        taken: ids of candidates that must not be proposed (trained or waiting), beside the history's.
        noise: standard deviation of mAP between seeds, when known.
        costs: how many costs the study pays; the first is `cost`.
        pending: candidates that are waiting or being trained, as far as they are known; also in `taken`.
    """

    space: DesignSpace
    history: Sequence[Observation]
    count: int
    seed: int
    batch: int = 0
    cost: Callable[[Candidate], float | None] | None = None
    max_cost: float | None = None
    admits: Callable[[Candidate], bool] | None = None
    taken: frozenset[str] = frozenset()
    noise: float | None = None
    pending: Sequence[Candidate] = ()
    costs: int = 1

    @cached_property
    def known(self) -> frozenset[str]:
        """Ids of all candidates that are not new."""
        return self.taken | {o.candidate.id for o in self.history} | {c.id for c in self.pending}

    def rng(self, purpose: str = "") -> random.Random:
        """A generator fixed by seed, batch and purpose."""
        return random_draws(self.seed, self.batch, purpose)

    def number(self, purpose: str = "") -> int:
        """A seed below 2**31 fixed by seed, batch and purpose."""
        return draw_seed(self.seed, self.batch, purpose)

    def affordable(self, candidate: Candidate) -> bool:
        """Whether the candidate is not known to be over a limit."""
        if self.admits is not None and not self.admits(candidate):
            return False
        if self.max_cost is None or self.cost is None:
            return True
        cost = self.cost(candidate)
        return cost is None or cost <= self.max_cost


def draw_seed(seed: int, number: int, purpose: str) -> int:
    """A seed below 2**31 fixed by a seed, the number of a batch or stage, and a purpose."""
    return int(hash_of_text(f"{seed}/{number}/{purpose}", digits=8), 16) % 2**31


def random_draws(seed: int, number: int, purpose: str) -> random.Random:
    """A generator with that seed."""
    return random.Random(draw_seed(seed, number, purpose))


class Sampler(Protocol):
    """Anything that answers a request with up to `request.count` feasible, new candidates."""

    def __call__(self, request: Request) -> list[Proposal]: ...
