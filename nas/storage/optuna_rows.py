"""Writes finished trials into Optuna's tables in bulk, in the same transaction as our mark.

Optuna's own `create_new_trial` asks the database some sixty questions a trial (20-60 ms); here a batch is
five statements, and a crash can leave nothing half done. It relies on the layout of Optuna's
tables, so it is only used on the version of them it was written for (`KNOWN_SCHEMA`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, func, insert, inspect, select, text
from sqlalchemy.orm import Session

from nas.errors import StorageError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

KNOWN_SCHEMA = "v3.2.0.a"


def is_known(session: Session) -> bool:
    """Whether Optuna's tables are there and of the version this module was written for."""
    if not inspect(session.connection()).has_table("alembic_version"):
        return False
    return bool(session.scalar(text("SELECT version_num FROM alembic_version")) == KNOWN_SCHEMA)


def locked_study(session: Session, name: str) -> int | None:
    """Id of Optuna's study, locked until the end of the transaction; None when there is none."""
    studies = _tables()["studies"].c
    query = select(studies.study_id).where(studies.study_name == name).with_for_update()
    found = session.scalar(query)
    return None if found is None else int(found)


def insert_trials(session: Session, study_id: int, trials: Sequence[FrozenTrial]) -> None:
    """Adds finished trials to a study locked by `locked_study`, numbered on from those it has.

    Raises:
        StorageError: a parameter's choices are not those of the study's earlier trials.
    """
    if not trials:
        return
    tables = _tables()
    _check_compatible(session, study_id, trials)
    first = session.scalar(select(func.count()).select_from(tables["trials"]).filter_by(study_id=study_id)) or 0
    now = datetime.now(UTC).replace(tzinfo=None)  # Optuna stores naive UTC
    rows = [
        {
            "number": first + i,
            "study_id": study_id,
            "state": trial.state,
            "datetime_start": now,
            "datetime_complete": now,
        }
        for i, trial in enumerate(trials)
    ]
    added = insert(tables["trials"]).returning(tables["trials"].c.trial_id, sort_by_parameter_order=True)
    ids = session.connection().execute(added, rows).scalars().all()
    for name, rows_of in _PARTS.items():
        parts = [{"trial_id": id_, **row} for id_, trial in zip(ids, trials, strict=True) for row in rows_of(trial)]
        if parts:
            session.connection().execute(insert(tables[name]), parts)


def _tables() -> Mapping[str, Table]:
    from optuna.storages._rdb.models import BaseModel

    tables: Mapping[str, Table] = BaseModel.metadata.tables
    return tables


def _values(trial: FrozenTrial) -> list[dict[str, Any]]:
    values = trial.values or []
    return [{"objective": i, "value": value, "value_type": "FINITE"} for i, value in enumerate(values)]


def _params(trial: FrozenTrial) -> list[dict[str, Any]]:
    from optuna.distributions import distribution_to_json

    return [
        {
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(trial.distributions[name]),
        }
        for name, value in trial.params.items()
    ]


def _attributes(trial: FrozenTrial) -> list[dict[str, Any]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in trial.user_attrs.items()]


_PARTS = {"trial_values": _values, "trial_params": _params, "trial_user_attributes": _attributes}


def _check_compatible(session: Session, study_id: int, trials: Sequence[FrozenTrial]) -> None:
    from optuna.distributions import check_distribution_compatibility, json_to_distribution

    tables = _tables()
    trial_table, params = tables["trials"].c, tables["trial_params"].c
    earlier = (
        select(trial_table.trial_id).where(trial_table.study_id == study_id).order_by(trial_table.trial_id).limit(1)
    )
    query = select(params.param_name, params.distribution_json).where(params.trial_id.in_(earlier.scalar_subquery()))
    known = {name: json_to_distribution(text_) for name, text_ in session.execute(query)}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            try:
                check_distribution_compatibility(known.setdefault(name, distribution), distribution)
            except ValueError as error:
                raise StorageError(f"Optuna's study has other choices for {name}: {error}") from error
