"""Who trains what: claims, leases, signs of life, and the end of a training.

A claim is one transaction in which exactly one owner gets the next training of a study, in the
order of stages, batches and positions. A lease that is not renewed runs out by the database's
clock, and the training goes to whoever asks next; one that ends too late, because the clock was set back, is
cut to its length by whoever asks, so that what counts is whether its owner renews it. Ending a
training and closing it for every stage that waits for it is one transaction as well.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Double, Executable, Row, Update, and_, bindparam, case, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from nas.errors import StorageError
from nas.files.plain import JsonDict, clean, clean_text, finite
from nas.storage.base import AnySelect, RepositoryPart, insert_or_update
from nas.storage.clock import database_now
from nas.storage.models import (
    KEY_NAMES,
    CandidateRow,
    DatasetRow,
    Epoch,
    RecipeRow,
    Stage,
    StageTraining,
    StudyRow,
    Training,
    WorkerRow,
)
from nas.storage.records import ClaimedTraining, TrainingOutcome

MAX_ATTEMPTS = 3  # an error of the machine passes by then; one of the candidate would come for ever
MAX_SILENCES = 10  # preemptions are nobody's fault, but a training that kills its workers must end
# Machines that share an SQLite file, or a server's replicas, may be this far apart without anything being wrong.
CLOCK_SLACK_S = 5.0
_LONGEST_TEXT = 100_000


class Claims(RepositoryPart):
    """Hands trainings out to owners (worker ids) and takes results back."""

    def claim_training(
        self, study_id: int, owner: str, lease_seconds: float = 60.0, *, max_silences: int = MAX_SILENCES
    ) -> ClaimedTraining | None:
        """The next training of a study, now this owner's until the lease runs out; None when there is none.

        Order: stage, batch, position. A running training whose lease ran out counts as waiting, until
        that happened `max_silences` times without a new checkpoint: then it is recorded as failed,
        kind "killed", so that a training that kills its workers ends.
        """
        token = uuid.uuid4().hex

        tries = iter(range(1_000_000))

        def work(session: Session) -> ClaimedTraining | None:
            # A claim whose commit went through but whose answer was lost is found again by its token.
            taken = _taken_by(session, token, study_id) if next(tries) else None
            _shorten_leases(session)
            _give_up_silent(session, max_silences)
            taken = taken or _take_next(session, study_id, owner, token, lease_seconds)
            return None if taken is None else _describe(session, *taken)

        return self.write(work)

    def heartbeat(self, training_id: int, owner: str) -> bool:
        """A sign of life: extends the lease by its length. False: the training is no longer this owner's."""
        now = database_now()
        beat = (
            update(Training)
            .where(_mine(training_id, owner))
            .values(heartbeat_at=now, lease_until=now + Training.lease_seconds)
            .returning(Training.id)
        )

        def work(session: Session) -> bool:
            session.execute(update(WorkerRow).where(WorkerRow.id == owner).values(heartbeat_at=now))
            return session.scalar(beat) is not None

        return self.write(work)

    def release(self, training_id: int, owner: str) -> bool:
        """Gives a training back unfinished (Ctrl-C, preemption); the attempt does not count."""
        values = {**NOBODY, "status": "waiting", "attempts": Training.attempts - 1}
        freed = update(Training).where(_mine(training_id, owner)).values(values).returning(Training.id)
        return self.write(lambda session: session.scalar(freed)) is not None

    def take_back(self, training_id: int, owner: str, reason: str, *, max_silences: int = MAX_SILENCES) -> str | None:
        """Takes a training from an owner that is known to be dead, without waiting for its lease to run out.

        Counts like a lease that ran out. Returns the new status, None when the training is no longer that owner's.
        """

        def work(session: Session) -> str | None:
            held = select(Training.silences).where(_mine(training_id, owner)).with_for_update()
            silences = session.scalar(held)
            if silences is None:
                return None
            if silences >= max_silences:
                _give_up(session, training_id, f"{reason}; {_silent_words(max_silences)}")
                return "failed"
            session.execute(_one(training_id).values({**NOBODY, "status": "waiting", "silences": silences + 1}))
            return "waiting"

        return self.write(work)

    def record_checkpoint(self, training_id: int, owner: str, uri: str, sha256: str) -> bool:
        """Notes where an unfinished training can be resumed from; also proof that it gets on."""
        values = {"checkpoint_uri": uri, "checkpoint_sha256": sha256, "silences": 0}
        noted = update(Training).where(_mine(training_id, owner)).values(values).returning(Training.id)
        return self.write(lambda session: session.scalar(noted)) is not None

    def record_epochs(self, training_id: int, epochs: Sequence[Mapping[str, Any]]) -> None:
        """Stores epochs (`epoch`, `lr`, `losses`, `seconds`, `images`); one told again is replaced.

        An epoch that was never reached before proves, like a checkpoint, that the training gets on.
        """
        rows = [_epoch_row(training_id, epoch) for epoch in epochs]
        if not rows:
            return
        latest = max(int(epoch["epoch"]) for epoch in epochs)
        reached = select(Epoch.epoch).where(Epoch.training_id == training_id, Epoch.epoch >= latest).exists()
        gets_on = _one(training_id).where(Training.silences > 0, ~reached).values(silences=0)

        def work(session: Session) -> None:
            session.execute(gets_on)
            insert_or_update(session, Epoch, rows, ("training_id", "epoch"))

        self.write(work)

    def finish_training(self, training_id: int, owner: str, outcome: TrainingOutcome) -> bool:
        """Stores the result, once and for all stages that wait for it.

        The first result wins: it is taken also from an owner whose lease ran out meanwhile, as long as
        the training has not ended. Returns False when it has ended already by somebody else.

        Raises:
            StorageError: a metric is not a finite number (record a failure of kind "diverged" instead).
        """
        _check_finite(outcome)
        values = _outcome_values(outcome)

        def work(session: Session) -> bool:
            training = _locked(session, training_id)
            if training.status not in ("running", "waiting"):
                return bool(training.status == "finished" and training.owner == owner)
            _end(session, training_id, {**values, "status": "finished", "owner": owner})
            return True

        return self.write(work)

    def fail_training(
        self,
        training_id: int,
        owner: str,
        kind: str,
        reason: str,
        traceback: str = "",
        *,
        retry: bool = False,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> str | None:
        """Records a failure; returns the new status, None when the training is no longer this owner's.

        Args:
            kind: "out_of_memory", "diverged", "data", "killed" or "error".
            reason: one sentence; `traceback` may be long.
            retry: whether another attempt may succeed; it is made until `max_attempts` have failed
                (attempts cut off by a kill or a release do not count).
        """
        told = {
            "failure_kind": kind,
            "failure_reason": clean_text(reason)[:_LONGEST_TEXT],
            "failure_traceback": clean_text(traceback)[-_LONGEST_TEXT:],
        }

        def work(session: Session) -> str | None:
            training = _locked(session, training_id)
            if training.status != "running" or training.owner != owner:
                return training.status if (training.owner, training.status) == (owner, "failed") else None
            failures = training.failures + 1
            if retry and failures < max_attempts:
                session.execute(_one(training_id).values({**told, **NOBODY, "failures": failures, "status": "waiting"}))
                return "waiting"
            _end(session, training_id, {**told, "failures": failures, "status": "failed"})
            return "failed"

        return self.write(work)


NOBODY = dict.fromkeys(("owner", "claim_token", "lease_until", "lease_seconds", "heartbeat_at"))


def _locked(session: Session, training_id: int) -> Row[str, str | None, int]:
    """Status, owner and failures of a training, locked until the end of the transaction."""
    query = select(Training.status, Training.owner, Training.failures).where(Training.id == training_id)
    return session.execute(query.with_for_update()).one()


def _one(training_id: int) -> Update:
    return update(Training).where(Training.id == training_id)


def _mine(training_id: int, owner: str) -> ColumnElement[bool]:
    return and_(Training.id == training_id, Training.owner == owner, Training.status == "running")


def _take_next(session: Session, study_id: int, owner: str, token: str, lease_seconds: float) -> tuple[int, int] | None:
    """Claims the first claimable training of the first stage that has one; returns (stage, training)."""
    stages = select(Stage.id).where(Stage.study_id == study_id).order_by(Stage.position)
    for stage in session.scalars(stages).all():
        values = {"of_stage": stage, "new_owner": owner, "new_token": token, "new_seconds": lease_seconds}
        training_id = session.connection().execute(_claim(), values).scalar()
        if training_id is not None:
            return stage, training_id
    return None


def longer_than_given() -> ColumnElement[bool]:
    """Leases that end later than any given now would: the database's clock was set back since they were given."""
    return Training.lease_until > database_now() + Training.lease_seconds + CLOCK_SLACK_S


def _shorten_leases(session: Session) -> None:
    """After a step of the clock: an owner that lives renews its lease in time, a dead one's runs out in its length."""
    session.connection().execute(_shortening())


@cache
def _shortening() -> Executable:
    late = update(Training).where(Training.status == "running", longer_than_given())
    return late.values(lease_until=database_now() + Training.lease_seconds)


def _give_up_silent(session: Session, max_silences: int) -> None:
    for (training_id,) in session.connection().execute(_silent(), {"most": max_silences}).all():
        _give_up(session, training_id, _silent_words(max_silences))


@cache
def _silent() -> Executable:
    return (
        select(Training.id)
        .where(Training.status == "running", Training.lease_until < database_now())
        .where(Training.silences >= bindparam("most"))
        .with_for_update(skip_locked=True)
    )


def _silent_words(max_silences: int) -> str:
    times = "once" if max_silences == 0 else f"{max_silences + 1} times"
    return f"its worker fell silent {times} without a new checkpoint (killed, or out of memory?)"


def _give_up(session: Session, training_id: int, reason: str) -> None:
    _end(session, training_id, {"status": "failed", "failure_kind": "killed", "failure_reason": reason})


@cache
def _claim() -> Executable:
    """The statement that claims; made once, since making it takes longer than running it."""
    now = database_now()
    first = (
        select(Training.id)
        .join(StageTraining, StageTraining.training_id == Training.id)
        .where(StageTraining.stage_id == bindparam("of_stage"), StageTraining.is_open)
        .where(or_(Training.status == "waiting", and_(Training.status == "running", Training.lease_until < now)))
        .order_by(StageTraining.batch, StageTraining.position)
        .limit(1)
        # PostgreSQL: pass over those that another claim holds at this moment (SQLite has one writer anyway).
        .with_for_update(of=Training, skip_locked=True)
    )
    values = {
        "status": "running",
        "owner": bindparam("new_owner"),
        "claim_token": bindparam("new_token"),
        "lease_seconds": bindparam("new_seconds"),
        "lease_until": now + bindparam("new_seconds", type_=Double()),
        "heartbeat_at": now,
        "attempts": Training.attempts + 1,
        "silences": Training.silences + case((Training.status == "running", 1), else_=0),
        "started_at": func.coalesce(Training.started_at, now),
    }
    return update(Training).where(Training.id == first.scalar_subquery()).values(values).returning(Training.id)


def _taken_by(session: Session, token: str, study_id: int) -> tuple[int, int] | None:
    query = (
        select(StageTraining.stage_id, Training.id)
        .join(Training, Training.id == StageTraining.training_id)
        .join(Stage, Stage.id == StageTraining.stage_id)
        .where(Training.status == "running", Training.claim_token == token, Stage.study_id == study_id)
        .order_by(Stage.position)
        .limit(1)
    )
    row = session.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def _describe(session: Session, stage_id: int, training_id: int) -> ClaimedTraining:
    values = {"training": training_id, "stage": stage_id}
    return ClaimedTraining(**session.connection().execute(_description(), values).one()._mapping)


@cache
def _description() -> AnySelect:
    resume, init = aliased(Training), aliased(Training)
    asked = ("role", "sampler", "batch", "position", "sampler_attrs")
    own = ("id", "owner", "lease_until", *KEY_NAMES, "fidelity", "epochs", "stop_epoch", "view", "split")
    return (
        select(
            *(getattr(StageTraining, name) for name in asked),
            *(getattr(Training, name) for name in (*own, "checkpoint_uri", "checkpoint_sha256")),
            Training.attempts.label("attempt"),
            StudyRow.name.label("study"),
            Stage.id.label("stage_id"),
            Stage.name.label("stage"),
            CandidateRow.definition,
            CandidateRow.notation,
            RecipeRow.definition.label("recipe"),
            DatasetRow.spec.label("dataset"),
            DatasetRow.counts.label("dataset_counts"),
            Training.resume_from_id.label("resume_from"),
            resume.checkpoint_uri.label("resume_from_uri"),
            resume.checkpoint_sha256.label("resume_from_sha256"),
            Training.init_from_id.label("init_from"),
            init.checkpoint_uri.label("init_from_uri"),
            init.checkpoint_sha256.label("init_from_sha256"),
        )
        .join(StageTraining, StageTraining.training_id == Training.id)
        .join(Stage, Stage.id == StageTraining.stage_id)
        .join(StudyRow, StudyRow.id == Stage.study_id)
        .join(CandidateRow, CandidateRow.id == Training.candidate_id)
        .join(RecipeRow, RecipeRow.id == Training.recipe_id)
        .join(DatasetRow, DatasetRow.id == Training.dataset_id)
        .outerjoin(resume, resume.id == Training.resume_from_id)
        .outerjoin(init, init.id == Training.init_from_id)
        .where(Training.id == bindparam("training"), Stage.id == bindparam("stage"))
    )


def _end(session: Session, training_id: int, values: JsonDict) -> None:
    ended = {**values, "claim_token": None, "lease_until": None, "finished_at": database_now()}
    session.connection().execute(_one(training_id).values(ended))
    session.connection().execute(
        update(StageTraining).where(StageTraining.training_id == training_id).values(is_open=False)
    )


def _check_finite(outcome: TrainingOutcome) -> None:
    for name in ("map", "rank1", "minp"):
        value = getattr(outcome, name)
        if value is not None and not math.isfinite(value):
            raise StorageError(f"{name} is {value}, which is no result", 'record a failure of kind "diverged" instead')


def _outcome_values(outcome: TrainingOutcome) -> dict[str, object]:
    values = {
        "map": float(outcome.map),
        "rank1": finite(outcome.rank1),
        "minp": finite(outcome.minp),
        "metrics": clean(outcome.metrics),
        "seconds": finite(outcome.seconds),
        "images_per_s": finite(outcome.images_per_s),
        "checkpoint_uri": outcome.checkpoint_uri,
        "checkpoint_sha256": outcome.checkpoint_sha256,
        "environment_id": outcome.environment_id,
        "failure_kind": None,
        "failure_reason": None,
        "failure_traceback": None,
    }
    return values if outcome.epochs is None else {**values, "epochs": outcome.epochs}


def _epoch_row(training_id: int, epoch: Mapping[str, Any]) -> dict[str, object]:
    return {
        "training_id": training_id,
        "epoch": int(epoch["epoch"]),
        "lr": finite(epoch.get("lr")),
        "losses": clean(epoch.get("losses") or {}),
        "seconds": finite(epoch.get("seconds")),
        "images": epoch.get("images"),
    }
