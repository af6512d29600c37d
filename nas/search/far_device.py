"""Latencies that come from a device elsewhere: jobs are left in the database, figures come back to it.

Who brings them is either `nas latency bridge`, for a board that runs the stand-alone agent, or a worker on the device
itself (`nas worker --measures-for NAME`). The study waits for the device only where its file says so, and never for a
network that the device gave up. How a job is made and done is `nas.latency`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nas.latency.backends import get_backend
from nas.latency.exchange import answer_jobs, request_jobs, require_onnx, still_open
from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.search.context import StudyContext, StudyParts
    from nas.storage import StageInfo

log = logging.getLogger("nas.worker")


def check_far_device(context: StudyParts) -> None:
    """Finds what would keep every job from being made, before the study starts.

    Raises:
        NasError: the backend is unknown, or cannot be written for from here.
    """
    get_backend(context.protocol.backend)
    require_onnx(context.protocol)


def unmeasured(context: StudyContext, networks: Iterable[Candidate]) -> list[Candidate]:
    """Architectures among `networks` without a figure under the study's protocol, each once."""
    architectures = list(dict.fromkeys(c.architecture for c in networks))
    ids = [c.id for c in architectures]
    known = context.repository.find_latencies(ids, context.protocol.id, context.device_name)
    return [c for c in architectures if c.id not in known]


def ask_device(context: StudyContext, networks: Iterable[Candidate]) -> None:
    """Leaves a job for each network that has no figure yet; one that cannot be sent is told in the log, once."""
    refused = request_jobs(
        context.repository,
        unmeasured(context, networks),
        context.protocol,
        context.device_name,
        context.progress,
        plain=context.baselines[0],
    )
    for candidate, reason in refused.items():
        log.warning("%s cannot be timed on %s: %s", candidate.notation, context.device_name, reason)


def answer(context: StudyContext) -> bool:
    """Times what waits for the device that this worker was said to be; True when something was timed."""
    if context.measures_for is None or context.measures_for != context.device_name:
        return False
    measured = answer_jobs(
        context.repository, context.device_name, context.owner, stopping=context.stopping, plain=context.baselines[0]
    )
    for candidate, reason in measured.failures.items():
        log.warning("latency of %s not measured: %s", candidate.notation, reason)
    return bool(measured.records or measured.failures)


def has_answered(context: StudyContext, networks: Iterable[Candidate]) -> bool:
    """Asks for what is missing; whether the study may go on, because all is there or nothing is waited for."""
    wanted = list(networks)
    ask_device(context, wanted)
    if not context.definition.latency.wait_for_device:
        return True
    return not still_open(context.repository, unmeasured(context, wanted), context.protocol, context.device_name)


def ready_to_plan(context: StudyContext, stage: StageInfo) -> bool:
    """Whether a stage may plan on: a study that waits knows the latency of everything the stage has trained so far.

    So what is proposed next, and what counts as the front, does not depend on how fast the device is.
    """
    if context.measures_here or not context.times:
        return True
    results = context.results()
    trained = results[(results["stage"] == stage.name) & (results["status"] == "finished")]
    return has_answered(context, [Candidate.parse(text) for text in trained["notation"].unique()])
