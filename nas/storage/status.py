"""Where a study stands: counts a stage, failures by kind, and what is left; cheap enough to poll."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import ColumnElement, Row, ScalarSelect, SQLColumnExpression, func, select
from sqlalchemy.orm import Session

from nas.storage.base import AnyRow, AnySelect, counted, trainings_of
from nas.storage.clock import database_now
from nas.storage.control import ControlWish
from nas.storage.models import (
    TRAINING_STATUSES,
    CandidateRow,
    Control,
    Epoch,
    Stage,
    StageTraining,
    StudyRow,
    Training,
    WorkerRow,
)
from nas.storage.records import StudyInfo, StudySummary
from nas.storage.standing import RunningTraining, StageStanding, StudyStatus
from nas.storage.studies import Studies
from nas.storage.workers import SILENT_S


class Status(Studies):
    """Summaries for `nas status`, `nas studies` and the dashboard's head."""

    def status(self, study: str) -> StudyStatus:
        """Where one study stands; `wish`, `why`, `failed` and `launch` are those of `ControlWish`."""
        self.study(study)
        return self.read(lambda session: _summary(session, study))

    def study_summaries(self) -> list[StudySummary]:
        """All studies, oldest first."""
        counts = {row.id: dict(row._mapping) for row in self.rows(_training_counts_query())}
        stages = {row.study_id: row for row in self.rows(_stage_counts_query())}
        return [_study_line(study, stages.get(study.id), counts.get(study.id, {})) for study in self.studies()]


def _training_counts_query() -> AnySelect:
    return (
        select(Stage.study_id.label("id"), *[_count(status, Training.id.distinct()) for status in TRAINING_STATUSES])
        .join(StageTraining, StageTraining.stage_id == Stage.id)
        .join(Training, Training.id == StageTraining.training_id)
        .group_by(Stage.study_id)
    )


def _stage_counts_query() -> AnySelect:
    return select(
        Stage.study_id,
        func.count().label("stages"),
        func.count().filter(Stage.status == "finished").label("finished"),
        func.count().filter(Stage.status == "failed").label("failed"),
    ).group_by(Stage.study_id)


def _study_line(study: StudyInfo, stages: AnyRow | None, counts: Mapping[str, int | None]) -> StudySummary:
    all_stages, finished, failed = (0, 0, 0) if stages is None else (stages.stages, stages.finished, stages.failed)
    trainings = {status: int(counts.get(status) or 0) for status in TRAINING_STATUSES}
    ended = "finished" if all_stages and finished == all_stages else "failed" if failed else None
    return {
        "study": study.name,
        "seed": study.seed,
        "created_at": study.created_at,
        "stages": all_stages,
        "stages_finished": finished,
        "trainings": trainings,
        "state": ended or ("running" if trainings["running"] else "waiting"),
    }


def _summary(session: Session, study: str) -> StudyStatus:
    stages = [_stage(row) for row in session.execute(_stages_query(study))]
    running = session.execute(_running_query(study)).all()
    control: AnySelect = select(Control.wish, Control.why, Control.failed, Control.launch)
    wished = session.execute(
        control.join(StudyRow, StudyRow.id == Control.study_id).where(StudyRow.name == study)
    ).one_or_none()
    said = ControlWish() if wished is None else ControlWish(*wished)
    now = session.scalars(select(database_now())).one()
    alive = session.execute(_workers_query(study)).all()
    return StudyStatus(
        study=study,
        study_id=session.scalars(select(StudyRow.id).filter_by(name=study)).one(),
        now=now,
        stages=stages,
        trainings=_distinct_counts(session, study),
        failures=counted(session.execute(_failures_query(study))),
        running=[cast(RunningTraining, dict(row._mapping)) for row in running],
        doing={row.id: row.details["doing"] for row in alive if row.details.get("doing")},
        workers=[{"id": row.id, "host": row.host, "pid": row.pid} for row in alive],
        wish=said.wish,
        why=said.why,
        failed=said.failed,
        launch=said.launch if now <= said.launch.get("until", now) else {},
        finished=bool(stages) and all(stage["status"] == "finished" for stage in stages),
    )


def _count(status: str, counted: SQLColumnExpression[int]) -> ColumnElement[int]:
    return func.count(counted).filter(Training.status == status).label(status)


def _stages_query(study: str) -> AnySelect:
    return (
        select(
            Stage.id.label("stage_id"),
            Stage.position,
            Stage.name.label("stage"),
            Stage.kind,
            Stage.status,
            Stage.space_id,
            Stage.started_at,
            Stage.finished_at,
            func.sum(Training.seconds).filter(Training.status == "finished").label("seconds"),
            func.avg(Training.seconds).filter(Training.status == "finished").label("mean_seconds"),
            *[_count(status, Training.id).label(f"n_{status}") for status in TRAINING_STATUSES],
        )
        .join(StudyRow, StudyRow.id == Stage.study_id)
        .outerjoin(StageTraining, StageTraining.stage_id == Stage.id)
        .outerjoin(Training, Training.id == StageTraining.training_id)
        .where(StudyRow.name == study)
        .group_by(Stage.id)
        .order_by(Stage.position)
    )


def _stage(row: Row[Any]) -> StageStanding:
    values = dict(row._mapping)
    counts = {status: values.pop(f"n_{status}") for status in TRAINING_STATUSES}
    return cast(StageStanding, {**values, "trainings": counts})


def _distinct_counts(session: Session, study: str) -> dict[str, int]:
    query = select(Training.status, func.count()).where(Training.id.in_(trainings_of(study))).group_by(Training.status)
    found = counted(session.execute(query))
    return {status: found.get(status, 0) for status in TRAINING_STATUSES}


def _failures_query(study: str) -> AnySelect:
    return (
        select(Training.failure_kind, func.count())
        .where(Training.id.in_(trainings_of(study)), Training.status == "failed")
        .group_by(Training.failure_kind)
    )


def _epoch_reached() -> ScalarSelect[int]:
    reached = select(func.coalesce(func.max(Epoch.epoch), 0)).where(Epoch.training_id == Training.id)
    return reached.correlate(Training).scalar_subquery()


def _workers_query(study: str) -> AnySelect:
    """Workers that did not say they ended and gave a sign of life lately."""
    return (
        select(WorkerRow.id, WorkerRow.host, WorkerRow.pid, WorkerRow.details)
        .join(StudyRow, StudyRow.id == WorkerRow.study_id)
        .where(
            StudyRow.name == study, WorkerRow.stopped_at.is_(None), WorkerRow.heartbeat_at > database_now() - SILENT_S
        )
    )


def _running_query(study: str) -> AnySelect:
    return (
        select(
            Training.id.label("training_id"),
            Training.owner,
            CandidateRow.notation,
            Training.attempts,
            Training.seed,
            Training.fidelity_label,
            func.coalesce(Training.stop_epoch, Training.epochs).label("epochs"),
            _epoch_reached().label("epoch"),
            Training.started_at,
            Training.heartbeat_at,
            Training.lease_until,
        )
        .join(CandidateRow, CandidateRow.id == Training.candidate_id)
        .where(Training.status == "running", Training.id.in_(trainings_of(study)))
        .order_by(Training.started_at)
    )
