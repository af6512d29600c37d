"""Asks a device elsewhere for latencies, through the study's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.search.context import StudyContext


def ask_device(context: StudyContext, networks: list[Candidate]) -> None:
    """Leaves a job for each network that has no figure yet, and collects those that were done."""
    from nas.latency.exchange import collect_jobs, request_jobs

    request_jobs(context.repository, networks, context.protocol, context.device_name)
    collect_jobs(context.repository, context.device_name)
