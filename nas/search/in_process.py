"""Works on a study inside the process that asked for it: threads in place of worker processes.

For scripts and notebooks. What workers do is unchanged, so the results are those of `nas run`; a crash of a library
ends the program, and a training that hangs is left behind in its thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nas.errors import StudyError
from nas.search.context import StudyContext, training_device
from nas.search.worker import Worker, open_worker, worker_name

if TYPE_CHECKING:
    from nas.storage.standing import StudyStatus

POLL_S = 0.2


def make_worker(context: StudyContext, number: int, lease_s: float) -> Worker:
    """A worker that shares its process with others."""
    definition = context.definition
    device = "cpu" if definition.objective is not None else training_device(definition)
    own = replace(context, owner=worker_name(number), device=device, _datasets={}, _codes={}, cost_models={})
    return open_worker(own, lease_s, embedded=True)


def work_here(
    context: StudyContext,
    count: int,
    lease_s: float,
    watch: Callable[[StudyStatus], object],
    interrupted: Callable[[], None] = lambda: None,
) -> StudyStatus:
    """Runs a registered study to its end; returns its last status.

    Args:
        context: the study.
        count: how many threads work.
        lease_s: silence after which a training is given away.
        watch: called with the study's status a few times a second.
        interrupted: called at once on Ctrl-C, before the workers are asked to end.

    Raises:
        StudyError: it cannot go on; also when several workers would train networks of ours in one process.
        KeyboardInterrupt: after the workers have given back what they had.
    """
    definition = context.definition
    if count > 1 and definition.objective is None:
        raise StudyError(
            f"{count} workers that train networks need processes of their own: torch has one state of random numbers",
            "leave in_process out, or take one worker",
        )
    errors: list[BaseException] = []
    workers = [make_worker(context, number, lease_s) for number in range(count)]
    threads = [
        threading.Thread(target=_work, args=(worker, workers, errors), name=f"worker {i}", daemon=True)
        for i, worker in enumerate(workers)
    ]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(POLL_S / count)
            watch(context.repository.status(definition.name))
    except KeyboardInterrupt:
        interrupted()
        raise
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return context.repository.status(definition.name)


def _work(worker: Worker, all_workers: list[Worker], errors: list[BaseException]) -> None:
    try:
        worker.run()
    except BaseException as error:
        errors.append(error)
        for other in all_workers:
            other.stop()
