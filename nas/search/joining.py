"""Joins a study that is in a database: reads its definition back and works on it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from nas.errors import NasError, StudyError
from nas.search import own_function
from nas.search.definition import StudyDefinition
from nas.search.finding import find_study
from nas.spaces import own_code

if TYPE_CHECKING:
    from nas.search.context import StudyContext
    from nas.search.worker import Worker
    from nas.storage import Repository, StudyInfo


ADDED = frozenset({"by", "code", "file", "history", "precision", "profile", "sources", "starts"})
"""What `register` adds to the content of a study file; `file` is where it lay, `profile` what was laid over it."""


def database_url(definition: StudyDefinition, db: str | None = None) -> str:
    """The database that is asked for: given, by the environment (`NAS_DATABASE`), or by the study."""
    return db or os.environ.get("NAS_DATABASE") or definition.database


def stored_definition(data: dict[str, object]) -> StudyDefinition:
    """The definition that a study was registered with; what `register` adds to the file's content left out."""
    study = StudyDefinition.model_validate({key: value for key, value in data.items() if key not in ADDED})
    return study.model_copy(update={"source": data.get("file")})


@contextlib.contextmanager
def joined(
    studies: Sequence[str],
    url: str,
    *,
    name: str | None = None,
    threads: int | None = None,
    device: str | None = None,
    parent: int | None = None,
    lease_s: float = 60.0,
    idle_s: float | None = None,
    measures_for: str | None = None,
) -> Iterator[Queue]:
    """What works on several studies of one database: its `run` does until nothing is left.

    Before each training the study of the highest `priority` that has one to do comes first; of equals the one named
    first, or the older one.

    Args:
        studies: their names (of one alone also its file); empty for all that the database holds.
        url: the database.
        name: of this worker; default: host, process and a random part.
        threads: CPU threads of torch; None leaves them.
        device: where it trains, `cpu`, `cuda` or `cuda:N`; None: where the study says.
        parent: stop when this process is gone.
        lease_s: silence after which others take a training over.
        idle_s: end after so many seconds without work; None: when all studies have ended.
        measures_for: name of the far device that this machine is.
    """
    if len(studies) == 1:
        name_found, url = find_study(studies[0], url)
        studies = [name_found]
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    for noisy in ("alembic", "torch", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    from nas.search.worker import stop_on_signals, worker_name
    from nas.storage import Repository, open_database

    with open_database(url, create=False) as database:
        repository = Repository(database)
        owner = name or worker_name()
        known = {study: n for n, study in enumerate(studies or [s.name for s in repository.studies()])}
        found = [repository.study(study) for study in known]
        # A worker's name belongs to one study.
        names = [owner if place == 0 else f"{owner}/{place}" for place in range(len(found))]
        queue = Queue(idle_s=idle_s)
        make = partial(_worker, repository, threads, device, parent, lease_s, measures_for)
        for stored, its_name in sorted(zip(found, names, strict=True), key=lambda pair: _rank(pair[0], known)):
            queue.add(stored.name, partial(make, stored, its_name))
        stop_on_signals(queue.stop)
        yield queue


def _rank(stored: StudyInfo, known: Mapping[str, int]) -> tuple[int, int]:
    return -int(stored.definition.get("priority") or 0), known[stored.name]


@dataclass
class Queue:
    """One process's workers on several studies, the most urgent first; one at a time works.

    Attributes:
        idle_s: seconds without work after which it ends; None: when all studies have ended.
    """

    idle_s: float | None = None
    _workers: list[tuple[str, Worker]] = field(default_factory=list)
    _fault: NasError | None = None
    _stopped: bool = False

    def add(self, study: str, make: Callable[[], Worker]) -> None:
        """A study more; one that cannot be worked on here is passed over, and told of at the end."""
        with self._apart(study):
            self._workers.append((study, make()))

    def stop(self) -> None:
        """Asks the worker that is at work to give back what it has, and ends."""
        self._stopped = True
        for _, worker in self._workers:
            worker.stop()

    def run(self) -> int:
        """Works until nothing is left; returns the trainings finished here.

        Raises:
            NasError: what the first study that could not be worked on said; the others were, as far as they could.
        """
        left: list[tuple[str, Worker]] = []
        with contextlib.ExitStack() as signs:
            for study, worker in self._workers:
                with self._apart(study):
                    worker.begin()
                    signs.enter_context(worker.alive())
                    left.append((study, worker))
            idle = 0.0
            while left and not self._stopped:
                worked = False
                for study, worker in list(left):  # one piece of work on the first study that has some
                    did = "finished"
                    with self._apart(study):
                        did = worker.step()
                    if did == "finished" or worker.stopping:
                        left.remove((study, worker))
                        self._end(study, worker)
                    elif worked := did == "worked":
                        break
                idle = 0.0 if worked or not left else idle + left[0][1].wait(idle)
                if self.idle_s is not None and idle >= self.idle_s:
                    break
            for study, worker in left:
                self._end(study, worker)
        if self._fault is not None:
            raise self._fault
        return sum(worker.done for _, worker in self._workers)

    def _end(self, study: str, worker: Worker) -> None:
        with self._apart(study):
            worker.end()

    @contextlib.contextmanager
    def _apart(self, study: str) -> Iterator[None]:
        """Takes a fault of one study, which leaves the others alone."""
        try:
            yield
        except NasError as error:
            logging.getLogger("nas.worker").error("study %s: %s", study, error.message)
            self._fault = self._fault or error


def _worker(
    repository: Repository,
    threads: int | None,
    device: str | None,
    parent: int | None,
    lease_s: float,
    measures_for: str | None,
    stored: StudyInfo,
    owner: str,
) -> Worker:
    from nas.search.context import StudyContext
    from nas.search.worker import open_worker

    own_code.require_trusted(own_function.code_names(stored.definition), f"study {stored.name!r}")
    definition = stored_definition(stored.definition)
    if measures_for not in (None, definition.latency.device):
        raise StudyError(
            f"the study measures on {definition.latency.device!r}, not on {measures_for!r}", "see `latency: device`"
        )
    context = StudyContext(
        definition,
        repository,
        stored.id,
        owner=owner,
        device=_device(definition, threads, device),
        measures_for=measures_for,
    )
    _check_precision(context)
    return open_worker(context, lease_s, parent=parent)


def _check_precision(context: StudyContext) -> None:
    """Refuses a device that cannot compute in what `precision: auto` means in this study."""
    if context.replay is not None or context.precision is None:
        return
    import torch

    from nas.training.precision import resolve_precision

    resolve_precision(context.precision, torch.device(context.device))


def _device(definition: StudyDefinition, threads: int | None, device: str | None) -> str:
    """Where this worker trains, with torch's threads set; a replayed study starts without torch."""
    if definition.objective is not None:
        return "cpu"
    import torch

    from nas.search.context import training_device

    if threads is not None:
        torch.set_num_threads(threads)
    return training_device(definition, device)
