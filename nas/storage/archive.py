"""What a study's archive is: a zip with `study.db`, an SQLite file of these very tables, and `checkpoints/<sha256>`.

The database holds the rows that belong to one study and nothing else, so there is no format of our own: it
opens with any SQLite program, and migrations apply to it. Writing one is in `nas.storage.archive_export`,
reading one in `nas.storage.archive_import`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from nas.storage.models import (
    Base,
    CandidateRow,
    DatasetRow,
    Device,
    Environment,
    Epoch,
    FindingRow,
    Latency,
    Note,
    RecipeRow,
    SpaceRow,
    Stage,
    StageTraining,
    StudyRow,
    Training,
)

DATABASE = "study.db"
CHECKPOINT = re.compile(r"checkpoints/([0-9a-f]{64})")
# What says who is working on something now; it means nothing in another database.
PASSING = {
    "nas_training": {"owner", "claim_token", "lease_seconds", "lease_until", "heartbeat_at", "silences"},
    "nas_stage": {"planner", "planner_until"},
    "nas_device": {"owner", "lease_until"},
}
TABLES: tuple[type[Base], ...] = (
    Environment,
    SpaceRow,
    CandidateRow,
    RecipeRow,
    DatasetRow,
    Device,
    StudyRow,
    Stage,
    Training,
    StageTraining,
    Epoch,
    FindingRow,
    Latency,
    Note,
)


@dataclass(frozen=True)
class Archived:
    """What an archive holds or what was read from one.

    Attributes:
        study: its name.
        rows: numbers of rows by table.
        checkpoints: number of files.
        path: the archive.
        touched: sentences about what an import added to other studies of the database; their rows carry the archive's
            name in the column `imported`.
    """

    study: str
    rows: dict[str, int]
    checkpoints: int
    path: str
    touched: tuple[str, ...] = ()


def columns_of(model: type[Base]) -> list[Any]:
    """The columns of a table that travel."""
    left_out = PASSING.get(model.__tablename__, set())
    return [column for column in model.__table__.columns if column.key not in left_out]


def belongs(session: Session, model: type[Base], study_id: int) -> ColumnElement[bool]:
    """Which rows of a table belong to a study."""
    stages = select(Stage.id).where(Stage.study_id == study_id)
    links = select(StageTraining.training_id).where(StageTraining.stage_id.in_(stages))
    conditions: dict[type[Base], Any] = {
        StudyRow: lambda: StudyRow.id == study_id,
        Stage: lambda: Stage.study_id == study_id,
        StageTraining: lambda: StageTraining.stage_id.in_(stages),
        Training: lambda: Training.id.in_(links),
        Epoch: lambda: Epoch.training_id.in_(links),
        FindingRow: lambda: FindingRow.study_id == study_id,
        Note: lambda: Note.study_id == study_id,
        CandidateRow: lambda: CandidateRow.id.in_(_used(Training.candidate_id, links)),
        RecipeRow: lambda: RecipeRow.id.in_(_used(Training.recipe_id, links)),
        DatasetRow: lambda: DatasetRow.id.in_(_used(Training.dataset_id, links)),
        SpaceRow: lambda: SpaceRow.id.in_(_spaces(session, study_id)),
        Latency: lambda: _latency(study_id, links),
        Device: lambda: Device.id.in_(select(Latency.device).where(_latency(study_id, links))),
        Environment: lambda: _environment(study_id, links),
    }
    condition: ColumnElement[bool] = conditions[model]()
    return condition


def _used(column: Any, links: Any) -> Any:
    return select(column).where(Training.id.in_(links))


def _latency(study_id: int, links: Any) -> ColumnElement[bool]:
    """Of the study's architectures, and all of its own protocol and device (its profile)."""
    architectures = select(CandidateRow.architecture_id).where(CandidateRow.id.in_(_used(Training.candidate_id, links)))
    protocol = select(StudyRow.protocol_id).where(StudyRow.id == study_id).scalar_subquery()
    device = select(StudyRow.device).where(StudyRow.id == study_id).scalar_subquery()
    return or_(
        Latency.architecture_id.in_(architectures), (Latency.protocol_id == protocol) & (Latency.device == device)
    )


def _environment(study_id: int, links: Any) -> ColumnElement[bool]:
    return or_(
        Environment.id.in_(_used(Training.environment_id, links)),
        Environment.id.in_(select(Latency.environment_id).where(_latency(study_id, links))),
        Environment.id.in_(select(StudyRow.environment_id).where(StudyRow.id == study_id)),
    )


def _spaces(session: Session, study_id: int) -> list[str]:
    """The spaces of a study and its stages, with all they were shrunk from or to."""
    stages = session.execute(select(Stage.space_id, Stage.result).where(Stage.study_id == study_id)).all()
    line: set[str | None] = {session.scalar(select(StudyRow.space_id).where(StudyRow.id == study_id))}
    for space_id, result in stages:
        left = (result or {}).get("space_id")
        line.update((space_id, left if isinstance(left, str) else None))
    parents = {row.id: row.parent_id for row in session.execute(select(SpaceRow.id, SpaceRow.parent_id))}
    found: set[str] = set()
    while known := {space for space in line if space is not None and space in parents} - found:
        found |= known
        line = {parents[space] for space in known}
    return sorted(found)
