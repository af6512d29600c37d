"""Brings a database made before the first release (schema "0002") to the first released tables, results kept.

What a training's identity gained is filled in as far as the old rows say it: the start by the hash of the
checkpoint it came from, the view and the rung out of the fidelity that held them. Data sets that were read from
files were named by names and sizes then; they are marked so, and no new training is ever filed under them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from nas.storage.models import BY_CONTENT, BY_NAMES_AND_SIZES, SCRATCH

REVISION = "0002"
_KEY = "uq_nas_training_natural_key"
_KEY_COLUMNS = ("candidate_id", "code", "recipe_id", "dataset_id", "fidelity_label", "start", "seed")
# Sets known by all that makes them, not by files: drawn pictures, and tables of results (hashed row by row).
_WITHOUT_FILES = ("generated", "table")
_VIEW_OF_SPLIT = {"val": "select", "test": "final", "transfer": "source"}


def upgrade(connection: Connection) -> None:
    """Changes the tables and fills the new columns, inside the transaction that is open."""
    change = Operations(MigrationContext.configure(connection))
    with change.batch_alter_table("nas_dataset") as datasets:
        datasets.add_column(sa.Column("known_by", sa.String(32), nullable=False, server_default=BY_CONTENT))
    with change.batch_alter_table("nas_latency") as latencies:
        latencies.add_column(sa.Column("imported", sa.Text()))
    with change.batch_alter_table("nas_training") as trainings:
        trainings.add_column(sa.Column("code", sa.String(64), nullable=False, server_default=""))
        trainings.add_column(sa.Column("start", sa.String(128), nullable=False, server_default=SCRATCH))
        trainings.add_column(sa.Column("stop_epoch", sa.Integer()))
        trainings.add_column(sa.Column("view", sa.String(16), nullable=False, server_default=""))
        trainings.add_column(sa.Column("imported", sa.Text()))
        trainings.drop_constraint(_KEY, type_="unique")
        trainings.create_unique_constraint(_KEY, list(_KEY_COLUMNS))
    with change.batch_alter_table("nas_stage_training") as links:
        links.drop_column("mirror")
    with change.batch_alter_table("nas_latency_job") as jobs:
        jobs.drop_column("noise")
    _fill_trainings(connection)
    with change.batch_alter_table("nas_training") as trainings:
        trainings.alter_column("view", server_default=None, existing_type=sa.String(16), existing_nullable=False)
    _mark_datasets(connection)


def identity_of(row: dict[str, Any], start_sha256: str | None) -> dict[str, Any]:
    """The columns that an early training's row lacks, and its fidelity without what has columns of its own.

    Args:
        row: with `fidelity`, `split` and `init_from_id`.
        start_sha256: hash of the checkpoint of the training it started from, where that is kept.
    """
    fidelity = dict(row["fidelity"])
    view = fidelity.pop("view", None) or _VIEW_OF_SPLIT.get(row["split"], "select")
    started = row["init_from_id"] is not None
    start = f"checkpoint:{start_sha256 or 'unknown'}" if started else SCRATCH
    return {"stop_epoch": fidelity.pop("stop_epoch", None), "view": view, "start": start, "fidelity": fidelity}


def known_by(spec: dict[str, Any]) -> str:
    """What an early data set's id was made from."""
    return BY_CONTENT if spec and any(key in spec for key in _WITHOUT_FILES) else BY_NAMES_AND_SIZES


def _table(name: str, *columns: str) -> sa.TableClause:
    json = ("fidelity", "spec")
    return sa.table(name, *(sa.column(column, sa.JSON if column in json else None) for column in columns))


def _fill_trainings(connection: Connection) -> None:
    names = ("id", "fidelity", "split", "init_from_id", "checkpoint_sha256", "stop_epoch", "view", "start")
    table = _table("nas_training", *names)
    origin = table.alias()
    query = sa.select(table.c.id, table.c.fidelity, table.c.split, table.c.init_from_id, origin.c.checkpoint_sha256)
    query = query.select_from(table.outerjoin(origin, origin.c.id == table.c.init_from_id))
    rows = list(_new_values(connection.execute(query).all()))
    new: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in ("stop_epoch", "view", "start")}
    filled = sa.update(table).where(table.c.id == sa.bindparam("of_id"))
    filled = filled.values(**new, fidelity=sa.bindparam("new_fidelity", type_=sa.JSON))
    if rows:
        connection.execute(filled, rows)


def _new_values(rows: Any) -> Iterator[dict[str, Any]]:
    for row in rows:
        values = identity_of(row._mapping, row.checkpoint_sha256)
        yield {"of_id": row.id, **{f"new_{name}": value for name, value in values.items()}}


def _mark_datasets(connection: Connection) -> None:
    table = _table("nas_dataset", "id", "spec", "known_by")
    for row in connection.execute(sa.select(table.c.id, table.c.spec)).all():
        connection.execute(sa.update(table).where(table.c.id == row.id).values(known_by=known_by(row.spec)))
