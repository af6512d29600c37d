"""Runs a study on this machine: registers it, starts workers, watches them, ends cleanly.

The runner trains nothing itself. Workers are processes of their own, so a crash of one is a line in
a log; they stop when their runner is gone. Progress is read from the database.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nas import training
from nas.errors import StorageError, StudyError
from nas.results.columns import confirming
from nas.search import own_function
from nas.search.context import FINAL, SPLITS, TABLE, StudyContext, StudyParts, cache_folder, training_device
from nas.search.definition import START, StudyDefinition, with_starts
from nas.search.environment import who
from nas.search.growth import Growth, growth, reopen
from nas.search.handing import is_handed_recipe
from nas.search.joining import stored_definition
from nas.search.launchers.base import Job, JobPool, Launcher, end_words, trainings_words
from nas.search.mirror import Mirror
from nas.search.stages.base import TUNE
from nas.search.stages.shrink import store_space
from nas.search.starts import CONTROL, checkpoint_starts, names_of, start_names
from nas.spaces import own_code
from nas.spaces.plugins import code_names
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.collection import collect_checkpoints
from nas.storage.standing import LaunchedJob
from nas.training.fidelity import Fidelity
from nas.training.recipe import files_of

if TYPE_CHECKING:
    from nas.progress import Progress
    from nas.storage import Repository, StudyInfo
    from nas.storage.standing import Launch, StudyStatus

TOLD_EVERY_S = 10.0  # how often at least those who only look are told the time left
BELIEVED_S = 120.0  # how long it is believed beyond the next looks: one that was killed cannot take it back
AWAY_S = 5.0  # what is said last to a database that is away is tried for so long


def register(definition: StudyDefinition, repository: Repository) -> int:
    """Stores study, space and stages, or finds them again; returns the study's id.

    Raises:
        StudyError: a study of this name with other settings is in the database.
    """
    parts = StudyParts(definition, repository)
    space, stored, known = parts.space, _stored(parts), _known(parts)
    store_space(repository, space)
    grown = Growth() if known is None else _grown(StudyContext(definition, repository, known.id), known, stored)
    stored["history"] = _history(known, grown)
    stored["by"] = _people(known)
    if parts.trains and parts.recipe.precision == "auto":
        stored["precision"] = (known and known.definition.get("precision")) or _precision(definition)
    study_id = repository.ensure_study(definition.name, stored, definition.seed, space.id)
    reopen(repository, study_id, grown)
    for stage in definition.named_stages():
        repository.ensure_stage(study_id, stage.position, stage.name, stage.kind, stage.stored())
    context = StudyContext(definition, repository, study_id)
    if context.replay is not None:
        _ = context.table_id  # refuses a table that was edited since the study began
    elif context.times:
        repository.set_study_latency(study_id, context.protocol.id, context.device_name)
    return study_id


def _stored(parts: StudyParts) -> dict[str, Any]:
    """The content of the study file with all that its numbers depend on: own code, files, checkpoints by content."""
    definition, space = parts.definition, parts.space
    stored = {**definition.stored(), "space": space.to_dict()}
    stored["file"] = str(definition.folder / Path(definition.source or definition.name).name)
    if definition.profile is not None:
        stored["profile"] = definition.profile
    if is_handed_recipe(definition.recipe):
        stored["recipe"] = parts.recipe.to_dict()
    recipes = [parts.here(recipe) for recipe in (parts.recipe, parts.source_recipe)] if parts.trains else []
    names = space.own_code if parts.replay is None else frozenset[str]()
    names |= code_names("metric", definition.metrics, ())
    names = names.union(*(recipe.own_code | training.taught_code(recipe) for recipe in recipes))
    stored["code"] = own_function.code_hashes(stored) | {name: own_code.code_hash([name]) for name in names}
    stored["sources"] = {name: content for recipe in recipes for name, content in files_of(recipe).items()}
    stored["starts"] = start_names(parts)
    return stored


def _known(parts: StudyParts) -> StudyInfo | None:
    """The study of this name in the database."""
    known = [] if parts.repository is None else parts.repository.studies()
    return next((study for study in known if study.name == parts.definition.name), None)


def would_do(definition: StudyDefinition, repository: Repository) -> str | None:
    """What a run would do with the study of this name in the database, in one sentence; None where there is none.

    Raises:
        StudyError: it would refuse, as the file means another study.
    """
    parts = StudyParts(definition, repository)
    if (known := _known(parts)) is None:
        return None
    context = StudyContext(definition, repository, known.id)
    grown = _grown(context, known, _stored(parts))
    if context.replay is not None:
        context.data_id(TABLE)  # refuses a table that was edited since the study began
    status = repository.status(definition.name)
    more = "does nothing, as it is finished" if status["finished"] else "goes on with it"
    more = f"goes on with it as it has grown ({'; '.join(grown.words)})" if grown.words else more
    return f"Study {definition.name!r} is in the database ({trainings_words(status)}): a run {more}."


def _precision(definition: StudyDefinition) -> str:
    """What `precision: auto` means in a study, decided once, on the machine that registers it."""
    import torch

    from nas.training.precision import resolve_precision

    return resolve_precision("auto", torch.device(training_device(definition)))


def _grown(context: StudyContext, known: StudyInfo, stored: dict[str, Any]) -> Growth:
    """What the study has more to do than when it was run last.

    Raises:
        StudyError: the file would compute something else under the name of a study that exists.
    """
    before = known.definition.get("code", {})
    edited = sorted(name for name, code in before.items() if stored["code"].get(name, code) != code)
    if edited:
        raise StudyError(
            f"the code of {', '.join(edited)} was changed since study {known.name!r} was started",
            "give the study another name: its results would be those of two different blocks "
            "(finished trainings of unchanged ones are shared, not repeated)",
        )
    sources = known.definition.get("sources", {})
    replaced = sorted(name for name, content in sources.items() if stored["sources"].get(name, content) != content)
    if replaced:
        raise StudyError(
            f"{', '.join(replaced)} is not the file that study {known.name!r} was started with",
            "bring the old file back, or give the study another name: half of its trainings would be of each file",
        )
    stored["sources"] = {**sources, **stored["sources"]}
    before, now = stored_definition(known.definition), stored_definition(json.loads(json.dumps(stored)))
    begun = known.definition.get("starts") or {  # not kept by earlier versions
        start.path: names_of(context, Path(start.path))[0]
        for start in checkpoint_starts(StudyParts(before))
        if Path(start.path).is_file()
    }
    paths = {name: path for path, name in begun.items()}

    def as_begun(path: str) -> str:
        name = stored["starts"].get(path, path)
        return path if begun.get(path) == name else paths.get(name, name)

    return growth(before, with_starts(now, as_begun), lambda: _same_data(context, known.name))


def _same_data(context: StudyContext, study: str) -> bool:
    """Whether the data that the study was trained on are those of the file now, by content."""
    if context.replay is not None:
        return _same_table(context, study)
    rows = context.repository.results(study)
    views = {SPLITS[view]: view for view in (context.search_view, FINAL)}
    known = rows[rows["split"].isin(list(views))].drop_duplicates("split")
    asked = dict(zip(known["split"].astype(str), known["training_id"].astype(int), strict=True))
    return bool(asked) and all(
        context.repository.training(training)["dataset_id"] == context.data_id(views[split])  # type: ignore[index]
        for split, training in asked.items()
    )


def _same_table(context: StudyContext, study: str) -> bool:
    """Whether the table that a study replays, wherever it lay, holds what that of the file now holds."""
    if (begun := context.repository.replayed_table(study)) is not None:
        return begun == context.data_id(TABLE)
    before = StudyParts(stored_definition(context.repository.study(study).definition), context.repository)
    return before.replay is not None and context.replay is not None and before.replay.id == context.replay.id


def _history(known: StudyInfo | None, grown: Growth) -> list[object]:
    """When the study grew, and by what."""
    before = [] if known is None else list(known.definition.get("history", []))
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [*before, {"at": now, "grown": list(grown.words)}] if grown.words else before


def _people(known: StudyInfo | None) -> list[str]:
    """Who registered the study and ran it again, in this order."""
    before = [] if known is None else known.definition.get("by", [])
    return list(dict.fromkeys(name for name in (*before, who()) if name))


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM to the runner (preemption, systemd) ends it as Ctrl-C does."""

    def handle(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_workers(
    repository: Repository,
    launcher: Launcher,
    watch: Callable[[StudyStatus], float | None],
    interrupted: Callable[[], None] = lambda: None,
    log: str = "",
) -> StudyStatus:
    """Runs a registered study to its end, or to where it was wished to stop; returns its last status.

    Args:
        repository: the database, for polling.
        launcher: has not started anything yet.
        watch: called with the study's status at every look; gives the seconds left, where they are known, which
            everybody else reads too.
        interrupted: called at once on Ctrl-C or SIGTERM, before workers are asked to end.
        log: where this runner writes what it says, for `nas status`; empty at a terminal.

    Raises:
        StudyError: the study cannot go on; the sentence says what to do.
        KeyboardInterrupt: after all workers have checkpointed and given back what they had.
    """
    pool, task, told_at = JobPool(launcher), launcher.task, 0.0
    told: list[LaunchedJob] | None = None
    here: Launch = {"launcher": launcher.name, "host": socket.gethostname(), "pid": os.getpid(), "log": log}
    with _terminate_as_interrupt():
        status = repository.status(task.study)
        try:
            if not status["finished"]:
                pool.start(status)
            while not status["finished"]:
                time.sleep(launcher.poll_s)
                status = repository.status(task.study)
                alive = pool.check(status, partial(_take_back, repository, status, task.max_attempts))
                jobs = [cast(LaunchedJob, asdict(job)) for job in alive]
                left = watch({**status, "launch": {**here, "jobs": jobs}})
                if jobs != told or status["now"] - told_at > TOLD_EVERY_S:
                    ends_at = None if left is None else status["now"] + left
                    until = status["now"] + 3 * launcher.poll_s + BELIEVED_S
                    now: Launch = {**here, "jobs": jobs, "ends_at": ends_at, "until": until}
                    repository.set_launch(status["study_id"], now)
                    told, told_at = jobs, status["now"]
                if status["wish"] == "stop now":
                    launcher.end()
                if status["wish"] == "stop now" or not (alive or status["wish"] == "pause"):
                    return _finished_or_stopped(repository, task.study)
            return status
        except KeyboardInterrupt:
            interrupted()
            raise
        finally:
            launcher.end()
            with contextlib.suppress(StorageError):  # a database that is away must not hold up the end
                type(repository)(repository.database, patience_s=AWAY_S).set_launch(status["study_id"], {})


def _finished_or_stopped(repository: Repository, study: str) -> StudyStatus:
    """The status of a study that is finished; without workers an unfinished one would be waited for in vain."""
    status = repository.status(study)
    if not (status["finished"] or status["wish"] in ("stop", "stop now")):
        raise StudyError(
            "all workers of this run were stopped before the study was finished",
            "run the same command again to go on where they stopped",
        )
    return status


def _take_back(repository: Repository, status: StudyStatus, max_attempts: int, job: Job) -> None:
    """Gives a dead worker's training and planning right to the others at once, not after its lease."""
    for row in repository.status(status["study"])["running"]:
        if row["owner"] == job.worker:
            reason = f"its worker process ended: {end_words(job)}"
            repository.take_back(row["training_id"], job.worker, reason, max_silences=max_attempts - 1)
    for stage in status["stages"]:
        repository.release_stage(stage["stage_id"], job.worker)
    repository.worker_stopped(job.worker)


def reconcile(context: StudyContext) -> None:
    """Tells Optuna's tables what a worker stored but was killed before it could tell them."""
    Mirror(context).reconcile()


def tidy(repository: Repository, definition: StudyDefinition) -> int:
    """Removes checkpoints that the study's policy does not keep; returns how many.

    Whatever was confirmed or is a baseline stays: those are the networks people go on with.
    """
    results = repository.results(definition.name)
    wanted = results[confirming(results) | ~results["role"].isin(["candidate", TUNE, CONTROL])]
    store = CheckpointStore(definition.checkpoints or cache_folder() / "checkpoints")
    kept = {int(i) for i in wanted["training_id"]}
    policy = definition.keep_checkpoints
    return len(collect_checkpoints(repository, store, definition.name, policy, keep=kept).removed)


def log_folder() -> Path:
    """Where workers of this folder's studies write what they do."""
    return cache_folder() / "logs"


def prepare(context: StudyContext, bar: contextlib.AbstractContextManager[Progress]) -> None:
    """Makes and packs the images once, before workers ask for them at the same time."""
    if not context.trains:
        return
    with bar as progress:
        context.progress = progress
        wanted = [
            (context.view_of(stage), getattr(stage.settings, "fidelity", None) or Fidelity())
            for stage in context.definition.named_stages()
            if stage.kind not in ("profile", START)
        ]
        for view, fidelity in dict.fromkeys(wanted):
            context.prepared(view, fidelity)
        context.progress = None
