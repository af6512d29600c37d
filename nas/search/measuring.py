"""Latencies of a study's networks: measured once an architecture, stored with their whole record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nas.progress import Progress, silent
from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.latency import LatencyRecord
    from nas.search.context import StudyContext


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
) -> bool:
    """Measures what has no figure yet; False when it was stopped before the end.

    Each figure is stored as soon as it is there, so that a killed worker loses one measurement.
    """
    from nas.latency import measure

    tell = progress or silent
    missing = unmeasured(context, networks)
    for done, candidate in enumerate(missing):
        if stopping():
            return False
        tell(done, len(missing), candidate.notation)
        store(context, candidate, measure(candidate, context.protocol, lock_timeout_s=None))
    tell(len(missing), len(missing), "")
    return True


def store(context: StudyContext, candidate: Candidate, record: LatencyRecord) -> None:
    """Files one measurement."""
    context.repository.store_latency(
        record.to_dict(),
        architecture_id=candidate.architecture.id,
        notation=candidate.architecture.notation,
        protocol_id=context.protocol.id,
        device=context.device_name,
        environment_id=context.environment_id,
    )


def measure_trained(context: StudyContext, candidate: Candidate, stopping: Callable[[], bool]) -> None:
    """Times the network of a finished training, unless its study takes latencies from elsewhere."""
    if context.measures_here and context.replay is None:
        measure_networks(context, [candidate], stopping)
