"""Brings a database made before the first release to its tables (schema "0.2.2"), results kept.

What is there already is left alone, so that states between the trial and the release come by the same way. What a
training's identity gained is filled in as far as the old rows say it: the start by the hash of the checkpoint it came
from, the view and the rung out of the fidelity that held them. Data sets that were read from files were named by names
and sizes then; they are marked so, and no new training is ever filed under them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from nas.files.plain import JsonDict
from nas.storage.models import BY_CONTENT, BY_NAMES_AND_SIZES, SCRATCH

REVISIONS = ("0002", "0.2.0", "0.2.1")
"""Schema versions that no release had, oldest first."""
_KEY = "uq_nas_training_natural_key"
_KEY_COLUMNS = ("candidate_id", "code", "recipe_id", "dataset_id", "fidelity_label", "start", "seed")
# Sets known by all that makes them, not by files: drawn pictures, and tables of results (hashed row by row).
_WITHOUT_FILES = ("generated", "table")
_VIEW_OF_SPLIT = {"val": "select", "test": "final", "transfer": "source"}


def upgrade(connection: Connection) -> None:
    """Changes the tables and fills the new columns, inside the transaction that is open."""
    change = Operations(MigrationContext.configure(connection))
    there = sa.inspect(connection)

    def lacks(table: str, column: str) -> bool:
        return all(found["name"] != column for found in there.get_columns(table))

    if lacks("nas_training", "start"):
        _extend(change)
        _fill_trainings(connection)
        with change.batch_alter_table("nas_training") as trainings:
            trainings.alter_column("view", server_default=None, existing_type=sa.String(16), existing_nullable=False)
        _mark_datasets(connection)
    if lacks("nas_dataset", "warnings"):
        change.add_column("nas_dataset", sa.Column("warnings", sa.JSON()))
    if not there.has_table("nas_control"):
        _add_control(change)
    if not there.has_table("nas_note"):
        _add_notes(change)


def _extend(change: Operations) -> None:
    """Columns that the tables of the trial gain and lose."""
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


def _of_study(table: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    """A study's number as (part of) the key of a table, gone with the study."""
    name = f"fk_{table}_study_id"
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return (
        sa.Column("study_id", key, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["nas_study.id"], name=name, ondelete="CASCADE"),
    )


def _add_control(change: Operations) -> None:
    change.create_table(
        "nas_control",
        *_of_study("nas_control"),
        sa.Column("wish", sa.String(16), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("launch", sa.JSON(), nullable=False),
        sa.CheckConstraint("wish IN ('run', 'pause', 'stop', 'stop now')", name="ck_nas_control_wish"),
        sa.PrimaryKeyConstraint("study_id", name="pk_nas_control"),
    )


def _add_notes(change: Operations) -> None:
    candidate = "fk_nas_note_candidate_id"
    change.create_table(
        "nas_note",
        *_of_study("nas_note"),
        sa.Column("candidate_id", sa.String(64), nullable=False),
        sa.Column("star", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["candidate_id"], ["nas_candidate.id"], name=candidate, ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("study_id", "candidate_id", name="pk_nas_note"),
    )


def identity_of(fidelity: JsonDict, split: str, start: str | None) -> dict[str, object]:
    """The columns that an early training's row lacks, and its fidelity without what has columns of its own.

    Args:
        fidelity, split: as the row has them.
        start: what it started from; None: from scratch. See `start_of`.
    """
    left = dict(fidelity)
    view = left.pop("view", None) or _VIEW_OF_SPLIT.get(split, "select")
    return {"stop_epoch": left.pop("stop_epoch", None), "view": view, "start": start or SCRATCH, "fidelity": left}


def start_of(init_from_id: int | None, sha256: str | None) -> str | None:
    """What an early training started from: the checkpoint of another one, by its hash where that is kept."""
    return None if init_from_id is None else f"checkpoint:{sha256 or 'unknown'}"


def known_by(spec: JsonDict) -> str:
    """What an early data set's id was made from."""
    return BY_CONTENT if spec and any(key in spec for key in _WITHOUT_FILES) else BY_NAMES_AND_SIZES


def _table(name: str, *columns: str) -> sa.TableClause:
    json = ("fidelity", "spec")
    return sa.table(name, *(sa.column(column, sa.JSON if column in json else None) for column in columns))


def _fill_trainings(connection: Connection) -> None:
    new = ("stop_epoch", "view", "start", "fidelity")
    table = _table("nas_training", "id", "split", "init_from_id", "checkpoint_sha256", *new)
    origin = table.alias()
    query = sa.select(table.c.id, table.c.fidelity, table.c.split, table.c.init_from_id, origin.c.checkpoint_sha256)
    query = query.select_from(table.outerjoin(origin, origin.c.id == table.c.init_from_id))
    rows = [
        {f"new_{name}": value for name, value in identity_of(fidelity, split, start_of(origin_id, sha256)).items()}
        | {"of_id": id_}
        for id_, fidelity, split, origin_id, sha256 in connection.execute(query)
    ]
    filled = sa.update(table).where(table.c.id == sa.bindparam("of_id"))
    filled = filled.values({name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in new})
    if rows:
        connection.execute(filled, rows)


def _mark_datasets(connection: Connection) -> None:
    table = _table("nas_dataset", "id", "spec", "known_by")
    for row in connection.execute(sa.select(table.c.id, table.c.spec)).all():
        connection.execute(sa.update(table).where(table.c.id == row.id).values(known_by=known_by(row.spec)))
