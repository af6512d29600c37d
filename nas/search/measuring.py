"""Latencies of a study's networks: measured once an architecture, stored with their whole record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nas.progress import Progress
from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.search.context import StudyContext

log = logging.getLogger("nas.worker")
DRIFT_EVERY = 8


def unmeasured(context: StudyContext, networks: Iterable[Candidate]) -> list[Candidate]:
    """Architectures among `networks` without a figure under the study's protocol, each once."""
    architectures = list(dict.fromkeys(c.architecture for c in networks))
    ids = [c.id for c in architectures]
    known = context.repository.find_latencies(ids, context.protocol.id, context.device_name)
    return [c for c in architectures if c.id not in known]


def measure_networks(
    context: StudyContext,
    networks: Iterable[Candidate],
    stopping: Callable[[], bool],
    progress: Progress | None = None,
    *,
    drift_every: int = 0,
) -> bool:
    """Measures what has no figure yet; False when it was stopped before the end.

    Each figure is stored as soon as its drift is known, so that a killed worker loses few.

    Args:
        drift_every: networks between two timings of the first of `networks`, which shows the machine's drift; 0 never
            times it again.
    """
    from nas.latency import measure
    from nas.latency.placements import Planned, profile
    from nas.latency.store import RepositoryStore

    wanted = list(dict.fromkeys(candidate.architecture for candidate in networks))
    found = profile(
        [Planned(candidate, "single") for candidate in wanted],
        context.protocol,
        RepositoryStore(context.repository),
        progress,
        drift_every=drift_every,
        should_stop=stopping,
        measure_one=lambda candidate, protocol: measure(candidate, protocol, lock_timeout_s=None),
        device=context.device_name,
    )
    for warning in found.warnings:
        log.warning(warning)
    for candidate, reason in found.failures.items():
        log.warning("latency of %s not measured: %s", candidate.notation, reason)
    return all(candidate in found.records or candidate in found.failures for candidate in wanted)


def measure_trained(context: StudyContext, candidate: Candidate, stopping: Callable[[], bool]) -> None:
    """Times the network of a finished training here, or asks the study's far device to."""
    if context.replay is not None:
        return
    if context.measures_here:
        # Minutes after the profile the machine may be faster or slower: the baseline, timed before and after, tells.
        measure_networks(context, [candidate.baseline, candidate], stopping, drift_every=1)
        return
    from nas.search.far_device import ask_device

    ask_device(context, [candidate])
