"""Joins a study that is in a database: reads its definition back and works on it."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from nas.errors import StudyError
from nas.search import own_function
from nas.search.definition import StudyDefinition
from nas.search.finding import find_study
from nas.spaces import own_code

if TYPE_CHECKING:
    from nas.search.context import StudyContext


ADDED = frozenset({"code", "history", "precision"})
"""What `register` adds to the content of a study file."""


def database_url(definition: StudyDefinition, db: str | None = None) -> str:
    """The database that is asked for: given, by the environment (`NAS_DATABASE`), or by the study."""
    return db or os.environ.get("NAS_DATABASE") or definition.database


def stored_definition(data: dict[str, object]) -> StudyDefinition:
    """The definition that a study was registered with; what `register` adds to the file's content left out."""
    return StudyDefinition.model_validate({key: value for key, value in data.items() if key not in ADDED})


def join(
    study: str,
    url: str,
    *,
    name: str | None = None,
    threads: int | None = None,
    device: str | None = None,
    parent: int | None = None,
    lease_s: float = 60.0,
    measures_for: str | None = None,
) -> int:
    """Works on a study until nothing is left; returns the number of trainings finished here.

    Args:
        study: name of a study in the database, or its file.
        url: the database.
        name: of this worker; default: host, process and a random part.
        threads: CPU threads of torch; None leaves them.
        device: where it trains, `cpu`, `cuda` or `cuda:N`; None: where the study says.
        parent: stop when this process is gone.
        lease_s: silence after which others take a training over.
        measures_for: name of the far device that this machine is; it times what waits for that device.

    Raises:
        StudyError: when the study measures on no device of that name, or there is no device to train on.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    for noisy in ("alembic", "torch", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    from nas.search.checkpoints import CheckpointFiles
    from nas.search.context import StudyContext, cache_folder
    from nas.search.worker import Worker, stop_on_signals, worker_name
    from nas.storage import Repository, open_database
    from nas.storage.checkpoint_store import CheckpointStore

    study_name, url = find_study(study, url)
    with open_database(url, create=False) as database:
        repository = Repository(database)
        stored = repository.study(study_name)
        own_code.require_trusted(own_function.code_names(stored.definition), f"study {study_name!r}")
        definition = stored_definition(stored.definition)
        owner = name or worker_name()
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
        store = CheckpointStore(definition.checkpoints or str(cache_folder() / "checkpoints"))
        shared = definition.checkpoints is not None
        worker = Worker(context, CheckpointFiles(store, cache_folder() / "work", shared=shared), lease_s, parent)
        context.stopping = lambda: worker.stopping
        stop_on_signals(worker)
        return worker.run()


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
