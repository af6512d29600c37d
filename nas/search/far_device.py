"""A study whose latencies come from a device elsewhere: jobs are left in the database, what came back is filed.

The study waits for the device only where its file says so, and never for a network that the device gave up. How a job
is made and done is `nas.latency`'s.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nas.errors import StudyError
from nas.search.measuring import unmeasured
from nas.spaces import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nas.search.context import StudyContext
    from nas.storage import StageInfo

log = logging.getLogger("nas.worker")


def check_far_device(context: StudyContext) -> None:
    """Finds what would keep every job from being made, before the study starts.

    Raises:
        NasError: the backend is unknown, or cannot be written for from here.
    """
    from nas.latency.backends import get_backend
    from nas.latency.backends.base import installed
    from nas.latency.jobs import ENGINE_BACKENDS

    backend = context.protocol.backend
    get_backend(backend)
    missing = installed("onnx") if backend in ENGINE_BACKENDS else None
    if missing:
        raise StudyError(f"latency: jobs for a device are ONNX files, and {missing}", "pip install 'nas-reid[latency]'")


def ask_device(context: StudyContext, networks: Iterable[Candidate]) -> None:
    """Leaves a job for each network that has no figure yet; one that cannot be sent is told in the log, once."""
    from nas.latency.exchange import request_jobs

    asked = request_jobs(
        context.repository, unmeasured(context, networks), context.protocol, context.device_name, context.progress
    )
    for candidate, reason in asked.refused.items():
        log.warning("%s cannot be timed on %s: %s", candidate.notation, context.device_name, reason)


def collect_figures(context: StudyContext) -> None:
    """Files what the device has measured since; nothing for a study that measures by itself."""
    if context.measures_here or context.replay is not None:
        return
    from nas.latency.exchange import collect_jobs

    collect_jobs(context.repository, context.device_name)


def has_answered(context: StudyContext, networks: Iterable[Candidate]) -> bool:
    """Asks for what is missing; whether the study may go on, because all is there or nothing is waited for."""
    from nas.latency.exchange import still_open

    wanted = list(networks)
    ask_device(context, wanted)
    collect_figures(context)
    if not context.definition.latency.wait_for_device:
        return True
    return not still_open(context.repository, unmeasured(context, wanted), context.protocol, context.device_name)


def ready_to_plan(context: StudyContext, stage: StageInfo) -> bool:
    """Whether a stage may plan on: a study that waits knows the latency of everything the stage has trained so far.

    So what is proposed next, and what counts as the front, does not depend on how fast the device is.
    """
    if context.measures_here or context.replay is not None:
        return True
    results = context.results()
    trained = results[(results["stage"] == stage.name) & (results["status"] == "finished")]
    return has_answered(context, [Candidate.parse(text) for text in trained["notation"].unique()])
