"""Which candidates to train next: a pure function of what is known so far.

`propose` takes a space, the observations and a seed and gives candidates that are feasible and new.
Nothing is remembered between calls, so the same facts give the same proposals in any process and a
killed worker loses nothing.
"""

from __future__ import annotations

from nas.search.proposals.base import Observation, Proposal, Request
from nas.search.proposals.registry import SAMPLERS, propose

__all__ = ["SAMPLERS", "Observation", "Proposal", "Request", "propose"]
