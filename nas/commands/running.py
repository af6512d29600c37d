"""`run`: a study from what is written to its answer, in this process or in processes of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from nas import reporting, search, storage
from nas.commands.live import StudyView
from nas.commands.terminal import note, progress_bar, slow_steps
from nas.errors import NasError, StudyError
from nas.search import own_function
from nas.search.callbacks import Watch
from nas.storage.standing import StudyStatus


def run(
    study: search.Written,
    *,
    db: str | None = None,
    workers: int | None = None,
    profile: str | None = None,
    progress: bool = True,
    in_process: bool | None = None,
    lease_s: float = 60.0,
    callbacks: Sequence[object] = (),
    watch: Callable[[], object] = lambda: None,
    on: str | None = None,
    device: str | None = None,
    log: str = "",
) -> reporting.Study:
    """Runs a study to its end, or goes on where it stopped.

    >>> import nas
    >>> study = nas.run("studies/quickstart.yaml")  # doctest: +SKIP
    >>> study.answer().sentence  # doctest: +SKIP

    Args:
        study: a study file, its content as a dictionary, or a `StudyDefinition`.
        db: the database; None: $NAS_DATABASE, or the study's own (a file in the current folder).
        workers: how many train at once; None: as the study says.
        profile: one of the study's profiles.
        progress: show how far it is, in a terminal or a notebook; False: nothing is printed.
        in_process: train in this process, networks of ours on one worker; False: each worker is a process of its own,
            as with `nas run`; None: in this one where the objective is a function that only this program has.
        lease_s: seconds of silence after which a training is given to another worker.
        watch: called a few times a second; what it raises ends the run, as Ctrl-C does.
        on: where workers start: local, slurm, ray or ray://HOST:PORT; None: as the study or the user-wide file says.
        device: devices of this machine that its workers take in turn; None: as the study says.
        log: where this run writes what it says, for `nas status`.
        callbacks: told of stages, trainings, epochs, rules and the end, see `nas.Callback`.

    Returns:
        The study, with everything that its database holds of it.

    Raises:
        StudyError: something in the study is not valid (names its place), or it cannot go on; says what to do.
        NasError: something that it names is missing or broken.
        KeyboardInterrupt: after what was running has been given back; the same call goes on.
    """
    definition = search.read_study(study, profile)
    url = search.database_url(definition, db)
    if definition.objective is not None and definition.objective.ask:
        raise StudyError(
            f"study {definition.name!r} is not run: its trainings are asked for by a program",
            "call ask and tell of nas.Study.create(study)",
        )
    python = None if definition.objective is None else definition.objective.python
    is_here = python is not None and own_function.is_here(python)
    here = is_here if in_process is None else in_process
    if is_here and not here:
        raise StudyError(
            "the objective is a function that only this program has: other processes cannot import it",
            "leave in_process out, or put the function into a module",
        )
    tell = note if progress else (lambda message: None)
    with database_if_there(url) as database, slow_steps(tell) as begin:
        search.check_study(definition, storage.Repository(database), begin=begin)
        begin("trying how each block is put in")
        warnings = search.insertion_warnings(definition, storage.Repository(database))
    for warning in warnings:
        tell(f"Mind: {warning}.")
    count = workers or definition.workers
    make = search.launcher_for(definition, url, on=on, workers=workers, device=device, tell=tell)
    _warn_of_network(url, tell)
    with storage.open_database(url) as database:
        repository = storage.Repository(database)
        context = search.StudyContext(definition, repository, search.register(definition, repository))
        if repository.status(definition.name)["finished"]:
            search.reconcile(context)
            tell(f"Study {definition.name!r} is finished; nothing to do.")
            return reporting.Study(url, definition.name)
        for sentence in search.origin(definition, repository):
            tell(sentence)
        search.prepare(context, progress_bar("Preparing data", enabled=progress))
        repository.set_wish(context.study_id, "run")
        launcher = None if here else make(_task(context, url, lease_s))
        count = count if launcher is None else launcher.most
        told = Watch(repository, definition.name, callbacks)
        with StudyView(context, count) if progress else nullcontext() as view, _told_of_its_end(told):

            def seen(status: StudyStatus) -> float | None:
                told.update(status)
                left = None if view is None else view.update(status)
                watch()
                return left

            stopping = (lambda: None) if view is None else view.stopping
            if launcher is None:
                after = search.work_here(context, count, lease_s, seen, stopping)
            else:
                after = search.run_workers(repository, launcher, seen, stopping, log)
        search.reconcile(context)
        if not after["finished"]:
            _tell_of_the_stop(after, tell)
            return reporting.Study(url, definition.name)
        search.tidy(repository, definition)
        tell(f"Study {definition.name!r} is finished: {search.trainings_words(after)}.")
    return reporting.Study(url, definition.name)


@contextmanager
def _told_of_its_end(told: Watch) -> Iterator[None]:
    finished = False
    try:
        yield
        finished = True
    finally:
        told.end(finished)


def _task(context: search.StudyContext, url: str, lease_s: float) -> search.WorkerTask:
    definition = context.definition
    trusted = sorted(own_function.code_names(context.repository.study(definition.name).definition))
    return search.WorkerTask(definition.name, url, lease_s, definition.max_attempts, trusted)


def _tell_of_the_stop(status: StudyStatus, tell: Callable[[str], object]) -> None:
    """Says that a study was wished to stop, by a person or its budget; raises where too much failed."""
    name, why = status["study"], status["why"] or "it was asked to"
    if status["failed"]:
        raise StudyError(
            f"study {name!r} was ended: {why}", "put right what fails, or raise budget: failures, and run it again"
        )
    tell(f"Study {name!r} has stopped: {why}. Run it again to go on.")


def _warn_of_network(url: str, tell: Callable[[str], object]) -> None:
    """SQLite's locks cannot be trusted over a network: said before a study depends on them."""
    kind = storage.network_file_system(url)
    if kind is not None:
        tell(f"Warning: this SQLite database lies on a network file system ({kind}), whose locks cannot be trusted.")
        tell(f"  With more than one machine it will be damaged. {storage.START_POSTGRESQL}")


def database_if_there(url: str) -> storage.Database:
    """The database, or an empty one in memory: what is only looked at leaves nothing behind.

    Raises:
        StorageError: no database can have this address.
    """
    storage.parse_url(url)
    try:
        return storage.open_database(url, create=False, read_only=True)
    except NasError:
        return storage.open_database("sqlite://")
