"""What is timed: a network made anew for each build, from a candidate or from a function.

Left to the backends: what they make of it. Left to `nas.networks`: building, folding, exporting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas import latency
from nas.latency.protocol import LatencyProtocol
from nas.spaces import Candidate, as_candidate

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Subject:
    """A network to time.

    Attributes:
        name: for people; the notation of a candidate.
        make: builds the network, in evaluation mode, for float images (B, 3, H, W).
    """

    name: str
    make: Callable[[LatencyProtocol], nn.Module]
    candidate: Candidate | None = None


def as_subject(what: Candidate | str | Callable[[], nn.Module] | Subject) -> Subject:
    """A subject from a candidate, its notation, or a function that makes a network."""
    if isinstance(what, Subject):
        return what
    if isinstance(what, (Candidate, str)):
        candidate = as_candidate(what).architecture
        return Subject(candidate.notation, lambda protocol: latency.network_of(candidate, protocol), candidate)
    name = getattr(what, "__name__", type(what).__name__)
    return Subject(name, lambda protocol: latency.network_from(what, protocol))
