"""Finished trainings in Optuna's own tables, in the same database, so that its tools work on them.

A mirror, nothing more: proposals are made from our tables and nothing is read back from Optuna's. A
trial is added when its training is finished, tagged with the training's id, by one process at a
time, so a crash in between leaves neither a gap (the next start fills it) nor a double. There are never
running or waiting trials, so Optuna's heartbeats and queues are not needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, Engine, and_, column, inspect, select, table, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from nas.storage.base import chunks
from nas.storage.database import BUSY_TIMEOUT_S, Database, tame_sqlite
from nas.storage.models import Stage, StageTraining, Study
from nas.storage.optuna_rows import insert_trials, is_known, locked_study
from nas.storage.retry import with_retries

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

T = TypeVar("T")
TRAINING_KEY, NOTATION_KEY = "nas_training_id", "candidate"
DIRECTIONS = ("maximize", "minimize")
PATIENCE_S = 120.0
_LOCK, _KNOWN = "nas optuna mirror", "optuna tables are known"
# Optuna can neither rename a study nor find a trial by attribute; these are the columns that takes.
_STUDIES = table("studies", column("study_id"), column("study_name"))
_TRIALS = table("trials", column("trial_id"), column("study_id"))
_ATTRIBUTES = table("trial_user_attributes", column("trial_id"), column("key"), column("value_json"))


def mirror_trials(
    database: Database,
    name: str,
    trials: Iterable[Mapping[str, Any]],
    *,
    directions: Sequence[str] = DIRECTIONS,
) -> int:
    """Adds trainings to Optuna's study `name`, each once, whoever tries and how often; returns how many were added.

    Args:
        name: `<study>/<stage>`.
        trials: mappings with `training_id`, `params`, `distributions`, `values` (one a direction), and
            optionally `notation` and `attrs` (further user attributes). Those with a value that is not
            finite are left out: Optuna would take infinity for a result.
        directions: of the values, "maximize" or "minimize".

    Raises:
        StorageError: the database was away for longer than two minutes.
    """
    database.attach(f"optuna study {name}", lambda: _patiently(database, lambda: _forget_if_gone(database, name)))
    usable = [trial for trial in trials if all(math.isfinite(value) for value in trial["values"])]
    waiting = _not_done(database, name, [int(trial["training_id"]) for trial in usable])
    wanted = [trial for trial in usable if int(trial["training_id"]) in waiting]
    if not wanted:
        return 0
    added = _patiently(database, lambda: _add_together(database, name, wanted))
    return _add_to_new_study(database, name, wanted, directions) if added is None else added


def _forget_if_gone(database: Database, name: str) -> bool:
    """Optuna's dashboard may have deleted the study: then nothing of it is mirrored any more."""
    if name in _names(database, name):
        return False
    with database.write() as session:
        session.execute(update(StageTraining).where(StageTraining.stage_id == _of_stage(name)).values(mirror=None))
    return True


def _add_together(database: Database, name: str, trials: Sequence[Mapping[str, Any]]) -> int | None:
    """Adds trials in one transaction; None when Optuna's tables are of another version or lack the study."""
    with database.write() as session:
        known = database.attached(_KNOWN) or is_known(session)
        study_id = locked_study(session, name) if known else None
        if study_id is None:
            return None
        database.attach(_KNOWN, lambda: True)  # asked once: looking for a table is slow on PostgreSQL
        new = [trial for trial in trials if _is_new(session, name, study_id, int(trial["training_id"]))]
        insert_trials(session, study_id, [_frozen(trial) for trial in new])
        for trial in trials:
            session.execute(update(StageTraining).where(_link(name, int(trial["training_id"]))).values(mirror="done"))
        return len(new)


def _is_new(session: Session, name: str, study_id: int, training_id: int) -> bool:
    row = session.execute(select(StageTraining.mirror).where(_link(name, training_id))).one_or_none()
    if row is None or row.mirror == "begun":
        return session.scalar(_trial_of(study_id, training_id)) is None
    return row.mirror is None


def _add_to_new_study(
    database: Database, name: str, trials: Sequence[Mapping[str, Any]], directions: Sequence[str]
) -> int:
    """Has Optuna make its tables and the study; adds trials by Optuna's own means where the tables are unknown to us.

    The lock goes with its connection, so a connection that is cut may let two processes in at once: the study's
    name and our one transaction still hold them apart, Optuna's own means (two transactions) would not.
    """
    storage = optuna_storage(database)
    with database.lock(_LOCK):
        study_id = _patiently(database, lambda: _ensure_study(storage, name, directions))
        added = _patiently(database, lambda: _add_together(database, name, trials))
        if added is None:
            added = sum(
                _patiently(database, lambda trial=trial: _add_once(database, storage, name, study_id, trial))  # type: ignore[misc]
                for trial in trials
            )
        return added


def optuna_storage(database: Database) -> RDBStorage:
    """Optuna's storage on the same database; its tables are created once, under a lock."""
    return database.attach("optuna", lambda: _open_storage(database), lambda storage: storage.engine.dispose())


def delete_mirror(database: Database, study: str) -> None:
    """Removes Optuna's studies `<study>/...`."""
    names = mirrored_studies(database, study)
    if names:
        storage = optuna_storage(database)
        with database.lock(_LOCK):
            for name in names:
                _patiently(database, lambda name=name: _delete_study(storage, name))  # type: ignore[misc]


def rename_mirror(database: Database, old: str, new: str) -> None:
    """Renames Optuna's studies `<old>/...` to `<new>/...`."""
    names = mirrored_studies(database, old)
    with database.lock(_LOCK), database.write() as session:
        for name in names:
            renamed = update(_STUDIES).where(_STUDIES.c.study_name == name)
            session.execute(renamed.values(study_name=new + name[len(old) :]))


def mirrored_studies(database: Database, study: str) -> list[str]:
    """Names of Optuna's studies that mirror a study; empty when Optuna has no tables here."""
    return _names(database, f"{study}/")


def _names(database: Database, start: str) -> list[str]:
    if not inspect(database.engine).has_table(_STUDIES.name):
        return []
    query = select(_STUDIES.c.study_name).where(_STUDIES.c.study_name.startswith(start, autoescape=True))
    with database.read() as session:
        return sorted(session.scalars(query).all())


def _open_storage(database: Database) -> RDBStorage:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Optuna formats the URL with str.format: braces of a password or path have to be doubled.
    url = database.address.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    arguments: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    if not database.is_sqlite:
        arguments = {"pool_pre_ping": True, "pool_size": 1}
    with database.lock(_LOCK):
        storage = _patiently(database, lambda: optuna.storages.RDBStorage(url, engine_kwargs=arguments))
    if database.is_sqlite:
        _tame(storage.engine)
    return storage


def _tame(engine: Engine) -> None:
    tame_sqlite(engine, foreign_keys=False)
    engine.dispose()  # connections made before know nothing of it


def _patiently(database: Database, work: Callable[[], T]) -> T:
    """Waits out a database that is away, also when Optuna wraps its errors in its own."""
    from optuna.exceptions import StorageInternalError

    def once() -> T:
        try:
            return work()
        except StorageInternalError as error:
            if isinstance(error.__cause__, DBAPIError):
                raise error.__cause__ from error
            raise

    return with_retries(once, url=database.url, patience_s=PATIENCE_S)


def _ensure_study(storage: RDBStorage, name: str, directions: Sequence[str]) -> int:
    from optuna.exceptions import DuplicatedStudyError
    from optuna.study import StudyDirection

    with suppress(KeyError):
        return storage.get_study_id_from_name(name)
    try:
        return storage.create_new_study([StudyDirection[d.upper()] for d in directions], name)
    except DuplicatedStudyError:
        return storage.get_study_id_from_name(name)


def _delete_study(storage: RDBStorage, name: str) -> None:
    try:
        storage.delete_study(storage.get_study_id_from_name(name))
    except KeyError:
        return  # gone already: an earlier attempt went through


def _of_stage(name: str) -> Any:
    """The stage that Optuna's study `name` mirrors."""
    study, _, stage = name.rpartition("/")
    return (
        select(Stage.id)
        .join(Study, Study.id == Stage.study_id)
        .where(Study.name == study, Stage.name == stage)
        .scalar_subquery()
    )


def _not_done(database: Database, name: str, training_ids: Sequence[int]) -> set[int]:
    done: set[int] = set()
    for piece in chunks(training_ids):
        query = select(StageTraining.training_id).where(
            StageTraining.stage_id == _of_stage(name),
            StageTraining.training_id.in_(piece),
            StageTraining.mirror == "done",
        )
        done.update(_patiently(database, lambda query=query: _scalars(database, query)))  # type: ignore[misc]
    return set(training_ids) - done


def _scalars(database: Database, query: Any) -> list[int]:
    with database.read() as session:
        return list(session.scalars(query))


def _add_once(database: Database, storage: RDBStorage, name: str, study_id: int, trial: Mapping[str, Any]) -> bool:
    """Adds one trial unless it is there; our mark says beforehand that it may be."""
    training_id = int(trial["training_id"])
    before = _mark(database, name, training_id, "begun")
    if before == "done" or (before != "fresh" and _is_there(database, study_id, training_id)):
        _mark(database, name, training_id, "done")
        return False
    storage.create_new_trial(study_id, template_trial=_frozen(trial))
    _mark(database, name, training_id, "done")
    return True


def _mark(database: Database, name: str, training_id: int, mark: str) -> str:
    """Sets the mark of a stage's training, never back from "done"; returns what it was ("fresh": none)."""
    link = _link(name, training_id)
    with database.write() as session:
        row = session.execute(select(StageTraining.mirror).where(link)).one_or_none()
        if row is None:
            return "unknown"
        if row.mirror != "done":
            session.execute(update(StageTraining).where(link).values(mirror=mark))
        return row.mirror or "fresh"


def _link(name: str, training_id: int) -> ColumnElement[bool]:
    return and_(StageTraining.stage_id == _of_stage(name), StageTraining.training_id == training_id)


def _is_there(database: Database, study_id: int, training_id: int) -> bool:
    return bool(_scalars(database, _trial_of(study_id, training_id)))


def _trial_of(study_id: int, training_id: int) -> Any:
    """Query for Optuna's trial of a training."""
    return (
        select(_TRIALS.c.trial_id)
        .join(_ATTRIBUTES, _ATTRIBUTES.c.trial_id == _TRIALS.c.trial_id)
        .where(_TRIALS.c.study_id == study_id, _ATTRIBUTES.c.key == TRAINING_KEY)
        .where(_ATTRIBUTES.c.value_json == str(training_id))
        .limit(1)
    )


def _frozen(trial: Mapping[str, Any]) -> FrozenTrial:
    from optuna.trial import create_trial

    attributes = {**trial.get("attrs", {}), TRAINING_KEY: int(trial["training_id"])}
    if "notation" in trial:
        attributes[NOTATION_KEY] = trial["notation"]
    return create_trial(
        params=dict(trial["params"]),
        distributions=dict(trial["distributions"]),
        values=[float(value) for value in trial["values"]],
        user_attrs=attributes,
    )
