"""Finished trainings in Optuna's own tables, in the same database, so that its tools work on them.

A mirror, nothing more: proposals are made from our tables and nothing is read back from Optuna's. It uses
Optuna's public interface only. A trial is added when its training is finished, with the training's id as
a user attribute; whoever adds holds a lock, sees by these ids what is missing and adds that, so a crash in between
leaves neither a gap (the next one fills it) nor a double. There are never running or waiting trials, so
Optuna's heartbeats and queues are not needed. (Where a PostgreSQL connection is cut while its holder adds, the
lock goes with it and a trial may be there twice, under one training id.)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import create_trial
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from nas.storage.database import BUSY_TIMEOUT_S, Database, postgresql_arguments, tame_sqlite
from nas.storage.retry import with_retries

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

T = TypeVar("T")
TRAINING_KEY, NOTATION_KEY = "nas_training_id", "candidate"
DIRECTIONS = ("maximize", "minimize")
METRICS = ("mAP", "cost")
PATIENCE_S = 120.0
LOCK_S = 30.0
"""How long another program that writes Optuna's tables is waited for."""
_LOCK = "nas optuna mirror"


def mirror_trials(
    database: Database,
    name: str,
    trials: Iterable[Mapping[str, Any]],
    *,
    directions: Sequence[str] = DIRECTIONS,
    metrics: Sequence[str] = METRICS,
) -> int:
    """Adds trainings to Optuna's study `name`, each once, whoever tries and how often; returns how many were added.

    Args:
        name: `<study>/<stage>`.
        trials: mappings with `training_id`, `params`, `distributions`, `values` (one a direction), and
            optionally `notation` and `attrs` (further user attributes). Those with a value that is not
            finite are left out: Optuna would take infinity for a result.
        directions: of the values, "maximize" or "minimize".
        metrics: names of the values.

    Raises:
        NasError: the database was away for longer than two minutes, or another program held the lock for `LOCK_S`.
    """
    told: set[int] = database.attach(f"trainings in optuna study {name}", set)
    usable = [trial for trial in trials if all(math.isfinite(value) for value in trial["values"])]
    wanted = {int(trial["training_id"]): trial for trial in usable if int(trial["training_id"]) not in told}
    if not wanted:
        return 0
    storage = optuna_storage(database)
    with database.lock(_LOCK, LOCK_S):
        added = _patiently(database, lambda: _add_missing(_study(database, storage, name, directions, metrics), wanted))
    told.update(wanted)
    return added


def _study(
    database: Database, storage: RDBStorage, name: str, directions: Sequence[str], metrics: Sequence[str]
) -> optuna.Study:
    """Optuna's study, kept open: it remembers the finished trials that it has read."""
    opened: dict[str, optuna.Study] = database.attach("optuna studies", dict)
    if name not in opened or name not in optuna.get_all_study_names(storage):
        wanted = [StudyDirection[direction.upper()] for direction in directions]
        study = optuna.create_study(storage=storage, study_name=name, directions=wanted, load_if_exists=True)
        if study.metric_names != list(metrics):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(list(metrics))
        opened[name] = study
    return opened[name]


def _add_missing(study: optuna.Study, wanted: Mapping[int, Mapping[str, Any]]) -> int:
    """Adds what Optuna's study does not have; may be cut off and run again."""
    there = {trial.user_attrs.get(TRAINING_KEY) for trial in study.get_trials(deepcopy=False)}
    missing = [_frozen(training_id, trial) for training_id, trial in wanted.items() if training_id not in there]
    study.add_trials(missing)
    return len(missing)


def optuna_storage(database: Database) -> RDBStorage:
    """Optuna's storage on the same database; its tables are created once, under a lock."""
    return database.attach("optuna", lambda: _open_storage(database), lambda storage: storage.engine.dispose())


def delete_mirror(database: Database, study: str) -> None:
    """Removes Optuna's studies `<study>/...`."""
    for name in mirrored_studies(database, study):
        storage = optuna_storage(database)
        with database.lock(_LOCK):
            _patiently(database, lambda storage=storage, name=name: _delete(storage, name))  # type: ignore[misc]


def _delete(storage: RDBStorage, name: str) -> None:
    with suppress(KeyError):  # gone already: an earlier attempt went through
        optuna.delete_study(study_name=name, storage=storage)


def rename_mirror(database: Database, old: str, new: str) -> None:
    """Copies Optuna's studies `<old>/...` to `<new>/...` and deletes them: Optuna cannot rename."""
    for name in mirrored_studies(database, old):
        storage, renamed = optuna_storage(database), new + name[len(old) :]
        with database.lock(_LOCK), suppress(optuna.exceptions.DuplicatedStudyError):
            optuna.copy_study(from_study_name=name, from_storage=storage, to_storage=storage, to_study_name=renamed)
    delete_mirror(database, old)


def mirrored_studies(database: Database, study: str) -> list[str]:
    """Names of Optuna's studies that mirror a study; empty when Optuna has no tables here."""
    if not inspect(database.engine).has_table("studies"):
        return []
    storage = optuna_storage(database)
    names = _patiently(database, lambda: optuna.get_all_study_names(storage))
    return sorted(name for name in names if name.startswith(f"{study}/"))


def _open_storage(database: Database) -> RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Optuna formats the URL with str.format: braces of a password or path have to be doubled.
    url = database.address.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    arguments: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    if not database.is_sqlite:
        arguments = {"pool_pre_ping": True, "pool_size": 1, "connect_args": postgresql_arguments(database.address)}
    with database.lock(_LOCK, LOCK_S):
        storage = _patiently(database, lambda: optuna.storages.RDBStorage(url, engine_kwargs=arguments))
    if database.is_sqlite:
        tame_sqlite(storage.engine, foreign_keys=False)
        storage.engine.dispose()  # connections made before know nothing of it
    return storage


def _patiently(database: Database, work: Callable[[], T]) -> T:
    """Waits out a database that is away, also when Optuna wraps its errors in its own."""

    def once() -> T:
        try:
            return work()
        except StorageInternalError as error:
            cause = error.__cause__
            if not isinstance(cause, DBAPIError):
                raise
        raise cause  # out here: from inside it would become its own cause's cause

    return with_retries(once, url=database.url, patience_s=PATIENCE_S)


def _frozen(training_id: int, trial: Mapping[str, Any]) -> FrozenTrial:
    attributes = {**trial.get("attrs", {}), TRAINING_KEY: training_id}
    if "notation" in trial:
        attributes[NOTATION_KEY] = trial["notation"]
    return create_trial(
        params=dict(trial["params"]),
        distributions=dict(trial["distributions"]),
        values=[float(value) for value in trial["values"]],
        user_attrs=attributes,
    )
