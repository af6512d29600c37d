"""Which checkpoints stay: decided by policy, never against a training that still needs one.

Needed are those of trainings that are waiting or running, of trainings that such a one builds on,
and of trainings that another study asked for as well; those stay whatever the policy.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Executable, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from nas.errors import StudyError, unknown_name
from nas.storage.base import chunks, trainings_of
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.models import Stage, StageTraining, Training
from nas.storage.repository import Repository

POLICIES = ("last", "best", "none")


@dataclass(frozen=True)
class Collected:
    """What a collection did: how many checkpoints stay, which files went, and how many were gone before."""

    kept: int
    removed: tuple[str, ...]
    missing: int


def collect_checkpoints(
    repository: Repository, store: CheckpointStore, study: str, policy: str, *, keep: Collection[int] = ()
) -> Collected:
    """Removes the checkpoints of finished trainings that a policy does not keep, and what killed writers left.

    Args:
        policy: "last" keeps the last checkpoint of every training, "best" that of the best training by mAP of each
            stage and fidelity, "none" no one's.
        keep: training ids that stay in any case (the Pareto front, say).

    Raises:
        StudyError: unknown policy or study.
    """
    if policy not in POLICIES:
        raise StudyError(unknown_name("checkpoint policy", policy, POLICIES))
    study_id = repository.study(study).id
    store.sweep_partial()
    with_file = repository.read(lambda session: _finished_with_file(session, study_id))
    if policy == "last":
        return Collected(len(with_file), (), 0)
    staying = set(keep) | repository.read(_needed)
    if policy == "best":
        staying |= _best(repository, study)
    going = {training_id: uri for training_id, uri in with_file.items() if training_id not in staying}
    # First forgotten, then removed: a crash in between leaves a file too many, never a promise too many.
    repository.run(*_forget(going))
    removed = tuple(uri for uri in going.values() if store.delete(uri))
    return Collected(len(with_file) - len(going), removed, len(going) - len(removed))


def _finished_with_file(session: Session, study_id: int) -> dict[int, str]:
    ended = Training.id.in_(trainings_of(study_id)) & Training.status.in_(("finished", "failed"))
    query = select(Training.id, Training.checkpoint_uri).where(ended, Training.checkpoint_uri.is_not(None))
    return {row[0]: row[1] or "" for row in session.execute(query)}


def _needed(session: Session) -> set[int]:
    """Trainings that an unfinished one builds on, and those that another study shares."""
    builder = aliased(Training)
    built_on = select(Training.id).join(
        builder, or_(builder.resume_from_id == Training.id, builder.init_from_id == Training.id)
    )
    shared = (
        select(StageTraining.training_id)
        .join(Stage, Stage.id == StageTraining.stage_id)
        .group_by(StageTraining.training_id)
        .having(func.count(Stage.study_id.distinct()) > 1)
    )
    unfinished = built_on.where(builder.status.in_(("waiting", "running")))
    return {*session.scalars(unfinished), *session.scalars(shared)}


def _best(repository: Repository, study: str) -> set[int]:
    table = repository.results(study)
    done = table[table["status"] == "finished"].sort_values("map", ascending=False)
    ids = done.groupby(["stage", "fidelity"])["training_id"].head(1)
    return {int(training_id) for training_id in ids}


def _forget(going: Collection[int]) -> list[Executable]:
    values = {"checkpoint_uri": None, "checkpoint_sha256": None}
    return [update(Training).where(Training.id.in_(piece)).values(values) for piece in chunks(list(going))]
