"""Latencies of a study's networks: measured once an architecture, stored with their whole record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nas.latency.measuring import measure
from nas.latency.placements import profile
from nas.latency.store import RepositoryStore
from nas.progress import Progress
from nas.search.far_device import ask_device
from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.search.context import StudyContext

log = logging.getLogger("nas.worker")


def measure_networks(
    context: StudyContext, networks: Sequence[Candidate], stopping: Callable[[], bool], progress: Progress | None = None
) -> bool:
    """Measures what has no figure yet; False when it was stopped before the end.

    Each figure is stored at once, so that a killed worker loses one.
    """

    waits = partial(_wait_on, stopping, context.say)
    try:
        found = profile(
            networks,
            context.protocol,
            RepositoryStore(context.repository),
            progress,
            plain=context.baselines[0],
            should_stop=stopping,
            measure_one=partial(measure, lock_timeout_s=None, while_waiting=waits),
            device=context.device_name,
        )
    except _StoppedError:
        return False
    for warning in found.warnings:
        log.warning(warning)
    for candidate, reason in found.failures.items():
        log.warning("latency of %s not measured: %s", candidate.notation, reason)
    return all(candidate in found.records or candidate in found.failures for candidate in networks)


class _StoppedError(Exception):
    """The worker was asked to stop while it waited for the machine."""


def _wait_on(stopping: Callable[[], bool], say: Callable[[str], None], words: str) -> None:
    if stopping():
        raise _StoppedError
    if words:
        say(words)


def measure_trained(context: StudyContext, candidate: Candidate, stopping: Callable[[], bool]) -> None:
    """Times the network of a finished training here, or asks the study's far device to."""
    if not context.times:
        return
    if context.measures_here:
        measure_networks(context, [candidate.architecture], stopping)
        return
    ask_device(context, [candidate])
