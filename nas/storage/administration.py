"""What a person does to whole studies: delete, rename, try failed trainings again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, delete, exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.errors import StudyError
from nas.storage.base import chunks, trainings_of
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.clock import database_now
from nas.storage.models import CandidateRow, Stage, StageTraining, StudyRow, Training
from nas.storage.optuna_storage import delete_mirror, rename_mirror
from nas.storage.repository import Repository
from nas.storage.studies import check_study_name


@dataclass(frozen=True)
class Deletion:
    """What deleting a study takes away: `trainings` that it alone asked for, of which so many are `finished`, and the
    addresses of their checkpoints. `shared` ones stay; `running` are those that a worker is believed to run now.
    """

    study: str
    stages: int
    trainings: int
    shared: int
    finished: int
    running: int
    checkpoints: tuple[str, ...]


def preview_deletion(repository: Repository, study: str) -> Deletion:
    """What `delete_study` would take away."""
    study_id = repository.study(study).id
    return repository.read(lambda session: _preview(session, study, study_id))


def delete_study(
    repository: Repository,
    study: str,
    *,
    store: CheckpointStore | None = None,
    keep_trainings: bool = False,
    force: bool = False,
) -> Deletion:
    """Deletes a study with its stages, rules, trainings that no other study asked for, and Optuna's mirror.

    Args:
        store: where its checkpoints are; without it their files stay.
        keep_trainings: keep the finished trainings as facts for later studies.
        force: also while workers are running it.

    Raises:
        StudyError: there is no such study, or workers are running it.
    """
    study_id = repository.study(study).id
    found = repository.read(lambda session: _preview(session, study, study_id))
    if found.running and not force:
        raise StudyError(
            f"{found.running} trainings of {study!r} are running", "stop its workers first, or use --force"
        )
    delete_mirror(repository.database, study)
    try:
        repository.write(lambda session: _delete(session, study_id, keep_trainings))
    except IntegrityError as error:
        raise StudyError(f"another study has just asked for trainings of {study!r}", "run the command again") from error
    if store is not None and not keep_trainings:
        for uri in found.checkpoints:
            store.delete(uri)
    return found


def rename_study(repository: Repository, old: str, new: str) -> None:
    """Gives a study another name, in Optuna's tables too.

    Raises:
        StudyError: there is no study `old`, or one named `new` already, or `new` cannot be a name.
    """
    study_id = repository.study(old).id
    check_study_name(new)

    def work(session: Session) -> None:
        if session.scalar(select(StudyRow.id).where(StudyRow.name == new, StudyRow.id != study_id)) is not None:
            raise StudyError(f"there is a study {new!r} already")
        study = session.get_one(StudyRow, study_id)
        study.name = new
        if "name" in study.definition:
            study.definition = {**study.definition, "name": new}

    repository.write(work)
    rename_mirror(repository.database, old, new)


def retry_failed(repository: Repository, study: str, kinds: Sequence[str] | None = None) -> int:
    """Lets failed trainings of a study be tried again (in all studies that share them); returns how many.

    `kinds` are those of failures; None takes all.
    """
    study_id = repository.study(study).id

    def work(session: Session) -> int:
        failed = _of_study(study_id).where(Training.status == "failed")
        if kinds is not None:
            failed = failed.where(Training.failure_kind.in_(list(kinds)))
        ids = list(session.scalars(failed))
        for piece in chunks(ids):
            again = {
                "status": "waiting",
                "failures": 0,
                "silences": 0,
                "attempts": 0,
                "owner": None,
                "finished_at": None,
            }
            session.execute(update(Training).where(Training.id.in_(piece)).values(again))
            session.execute(update(StageTraining).where(StageTraining.training_id.in_(piece)).values(is_open=True))
            stages = select(StageTraining.stage_id).where(StageTraining.training_id.in_(piece))
            reopened = update(Stage).where(Stage.id.in_(stages), Stage.status.in_(("finished", "failed")))
            session.execute(reopened.values(status="running", finished_at=None))
        return len(ids)

    return repository.write(work)


def _of_study(study_id: int) -> Select[int]:
    return select(Training.id).where(Training.id.in_(trainings_of(study_id)))


def _asked_elsewhere(study_id: int) -> ColumnElement[bool]:
    """Whether another study asked for the training too."""
    return exists(
        select(StageTraining.stage_id)
        .join(Stage, Stage.id == StageTraining.stage_id)
        .where(StageTraining.training_id == Training.id, Stage.study_id != study_id)
    )


def _preview(session: Session, study: str, study_id: int) -> Deletion:
    going = session.execute(
        select(Training.status, Training.checkpoint_uri).where(
            Training.id.in_(_of_study(study_id)), ~_asked_elsewhere(study_id)
        )
    ).all()
    shared = _of_study(study_id).where(_asked_elsewhere(study_id)).subquery()
    running = _of_study(study_id).where(Training.status == "running", Training.lease_until > database_now())
    return Deletion(
        study=study,
        stages=session.scalar(select(func.count()).select_from(Stage).where(Stage.study_id == study_id)) or 0,
        trainings=len(going),
        shared=session.scalar(select(func.count()).select_from(shared)) or 0,
        finished=sum(row.status == "finished" for row in going),
        running=len(session.scalars(running).all()),
        checkpoints=tuple(row.checkpoint_uri for row in going if row.checkpoint_uri is not None),
    )


def _delete(session: Session, study_id: int, keep_trainings: bool) -> None:
    own = _of_study(study_id).where(~_asked_elsewhere(study_id))
    going = list(session.scalars(own.where(Training.status != "finished") if keep_trainings else own))
    candidates = [
        candidate
        for piece in chunks(going)
        for candidate in session.scalars(select(Training.candidate_id).where(Training.id.in_(piece)))
    ]
    stages = select(Stage.id).where(Stage.study_id == study_id)
    session.execute(delete(StageTraining).where(StageTraining.stage_id.in_(stages)))
    for piece in chunks(going):
        session.execute(delete(Training).where(Training.id.in_(piece)))
    session.execute(delete(StudyRow).where(StudyRow.id == study_id))
    unused = ~exists(select(Training.id).where(Training.candidate_id == CandidateRow.id))
    for names in chunks(sorted(set(candidates))):
        session.execute(delete(CandidateRow).where(CandidateRow.id.in_(names), unused))
