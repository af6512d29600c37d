"""What is wished of a study (run, pause, stop), how its workers were started, and what it has spent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, delete, distinct, func, or_, select, update
from sqlalchemy.orm import Session

from nas.files.plain import clean, clean_text
from nas.storage.base import AnySelect, RepositoryPart, chunks, counted, insert_or_update, trainings_of
from nas.storage.models import Control, DatasetRow, Environment, Stage, StageTraining, StudyRow, Training
from nas.storage.standing import Launch


@dataclass(frozen=True)
class ControlWish:
    """What workers of a study do.

    Attributes:
        wish: "run"; "pause": finish what is trained, begin nothing; "stop": the same, then end; "stop now": write a
            checkpoint, give the training back, end.
        why: one sentence; empty when a person wished it.
        failed: whether the study ends as one that failed.
        launch: how its workers were started: `launcher`, `host`, `pid`, `log`, `jobs`, and by the database's time
            `ends_at`, when it is expected to end at the latest, and `until`, how long this holds unless said again.
    """

    wish: str = "run"
    why: str = ""
    failed: bool = False
    launch: Launch = field(default_factory=Launch)

    @property
    def ends(self) -> bool:
        """Whether workers are to end."""
        return self.wish in ("stop", "stop now")


@dataclass(frozen=True)
class Spent:
    """What a study, or a stage, has cost so far; results that were there before the study began cost it nothing.

    Attributes:
        trainings: begun: running, finished or failed.
        hours: of training in those that are finished, all workers together.
        gpu_hours: of these, on a GPU.
        failures: trainings that failed for good.
        failure: the most frequent kind of failure, with a reason; empty without any.
    """

    trainings: int
    hours: float
    gpu_hours: float
    failures: int
    running: int
    failure: str


class Controls(RepositoryPart):
    """Wishes, launches and budgets."""

    def wish(self, study_id: int) -> ControlWish:
        """What is wished of a study."""
        query: AnySelect = select(Control.wish, Control.why, Control.failed, Control.launch).filter_by(
            study_id=study_id
        )
        row = self.read(lambda session: session.execute(query).one_or_none())
        return ControlWish() if row is None else ControlWish(*row)

    def set_wish(self, study_id: int, wish: str, *, why: str = "", failed: bool = False) -> None:
        """Wishes something of a study; its workers see it before their next training and at each sign of life."""
        self._set(study_id, {"wish": wish, "why": clean_text(why), "failed": failed})

    def set_launch(self, study_id: int, launch: Launch) -> None:
        """Says how the workers of a study were started."""
        self._set(study_id, {"launch": clean(launch)})

    def _set(self, study_id: int, values: Mapping[str, object]) -> None:
        whole = {"study_id": study_id, "wish": "run", "why": "", "failed": False, "launch": {}, **values}

        def work(session: Session) -> None:
            changed = update(Control).filter_by(study_id=study_id).values(values).returning(Control.study_id)
            if session.scalar(changed) is None:
                insert_or_update(session, Control, [whole], ("study_id",))

        self.write(work)

    def spent(self, study_id: int, stage_id: int | None = None) -> Spent:
        """What a study, or one stage of it, has cost."""
        return self.read(lambda session: _spent(session, study_id, stage_id))

    def open_datasets(self, study_id: int) -> list[tuple[str, str, dict[str, dict[str, int]]]]:
        """View, id and counts of the data that the study's open trainings are asked for on."""
        query = (
            select(Training.view, DatasetRow.id, DatasetRow.counts)
            .join(DatasetRow, DatasetRow.id == Training.dataset_id)
            .where(Training.id.in_(trainings_of(study_id).where(StageTraining.is_open)))
        )
        found = {(row.view, row.id): row.counts for row in self.rows(query)}
        return [(view, dataset_id, counts) for (view, dataset_id), counts in found.items()]

    def drop_waiting(self, stage_id: int) -> int:
        """Takes back what a stage asked for and nobody began; returns how many trainings that are."""

        def work(session: Session) -> int:
            asked = select(StageTraining.training_id).where(StageTraining.stage_id == stage_id)
            waiting = select(Training.id).where(Training.status == "waiting", Training.id.in_(asked))
            ids = list(session.scalars(waiting.with_for_update(skip_locked=True)))
            linked = select(StageTraining.training_id)
            for piece in chunks(ids):
                links = delete(StageTraining).where(StageTraining.stage_id == stage_id)
                session.execute(links.where(StageTraining.training_id.in_(piece)))
                session.execute(delete(Training).where(Training.id.in_(piece), Training.id.not_in(linked)))
            return len(ids)

        return self.write(work)


def _spent(session: Session, study_id: int, stage_id: int | None) -> Spent:
    begun = select(StudyRow.created_at).where(StudyRow.id == study_id).scalar_subquery()
    links = trainings_of(study_id)
    if stage_id is not None:
        links = links.where(Stage.id == stage_id)
    here = (
        Training.id.in_(links),
        Training.imported.is_(None),
        or_(Training.finished_at.is_(None), Training.finished_at >= begun),
    )
    on_gpu = Environment.facts["device"].as_string().like("cuda%")
    row = session.execute(
        select(
            func.count(distinct(Training.id)).filter(Training.status != "waiting"),
            _seconds(),
            _seconds(on_gpu),
            func.count(distinct(Training.id)).filter(Training.status == "failed"),
            func.count(distinct(Training.id)).filter(Training.status == "running"),
        )
        .outerjoin(Environment, Environment.id == Training.environment_id)
        .where(*here)
    ).one()
    kinds = counted(
        session.execute(
            select(Training.failure_kind, func.count())
            .where(*here, Training.status == "failed")
            .group_by(Training.failure_kind)
        )
    )
    trainings, seconds, gpu_seconds, failures, running = row
    return Spent(
        trainings,
        (seconds or 0.0) / 3600,
        (gpu_seconds or 0.0) / 3600,
        failures,
        running,
        _failure(session, here, kinds),
    )


def _seconds(*only: ColumnElement[bool]) -> ColumnElement[float | None]:
    return func.sum(Training.seconds).filter(Training.status == "finished", *only)


def _failure(session: Session, here: Iterable[ColumnElement[bool]], kinds: dict[str | None, int]) -> str:
    if not kinds:
        return ""
    kind = max(kinds, key=lambda name: (kinds[name], str(name)))
    one = select(Training.failure_reason).where(*here, Training.status == "failed", Training.failure_kind == kind)
    reason = session.scalar(one.order_by(Training.id).limit(1)) or ""
    return f"{kinds[kind]} of kind {kind}, such as: {reason.splitlines()[0][:300] if reason else 'no reason kept'}"
