"""Looks for what should not be in a database, says it in sentences, and repairs what can be repaired.

Each check is a query for the rows that are wrong and, where there is a safe one, the statement that
puts them right. A repair never touches a finished training's result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Executable, and_, delete, exists, or_, select, text, update
from sqlalchemy.orm import Session

from nas.progress import Progress, silent
from nas.storage.base import AnySelect, chunks
from nas.storage.checkpoint_store import CheckpointStore
from nas.storage.claims import NOBODY, longer_than_given
from nas.storage.clock import database_now
from nas.storage.models import CandidateRow, RecipeRow, Stage, StageTraining, Training, WorkerRow
from nas.storage.repository import Repository

SILENT_WORKER_S = 600.0


@dataclass(frozen=True)
class Check:
    """One thing that can be wrong.

    Attributes:
        sentence: what is wrong, with `{n}` for the number of rows.
        find: query whose first column is the key of each wrong row.
        repair: makes the statement that puts given rows right; None when a person has to decide.
        harmless: goes away by itself while a study runs.
    """

    kind: str
    sentence: str
    find: Callable[[], AnySelect]
    repair: Callable[[Sequence[object]], Executable] | None = None
    harmless: bool = False


@dataclass(frozen=True)
class Problem:
    """What a check found; `keys` are the wrong rows, `examples` words for the first of them."""

    kind: str
    sentence: str
    keys: tuple[Any, ...] = field(repr=False)
    repairable: bool = False
    harmless: bool = False

    @property
    def count(self) -> int:
        """How many rows are wrong."""
        return len(self.keys)


_ENDED = Training.status.in_(("finished", "failed"))
_LINKED = exists(select(StageTraining.stage_id).where(StageTraining.training_id == Training.id))
_USED = exists(select(Training.id).where(Training.candidate_id == CandidateRow.id))
_RECIPE_USED = exists(select(Training.id).where(Training.recipe_id == RecipeRow.id))


def _of_training(condition: ColumnElement[bool]) -> AnySelect:
    return select(Training.id).where(condition).order_by(Training.id)


def _wrongly_marked(is_open: bool) -> AnySelect:
    """Links whose mark does not fit their training's status."""
    ended = _ENDED if is_open else ~_ENDED
    mark = StageTraining.is_open if is_open else ~StageTraining.is_open
    return (
        select(Training.id).join(StageTraining, StageTraining.training_id == Training.id).where(mark, ended).distinct()
    )


def _set_training(**values: object) -> Callable[[Sequence[object]], Executable]:
    return lambda ids: update(Training).where(Training.id.in_(ids)).values(values)


def _mark_links(is_open: bool) -> Callable[[Sequence[object]], Executable]:
    return lambda ids: update(StageTraining).where(StageTraining.training_id.in_(ids)).values(is_open=is_open)


CHECKS: tuple[Check, ...] = (
    Check(
        "expired_lease",
        "{n} trainings are marked as running but their workers fell silent",
        lambda: _of_training(
            and_(Training.status == "running", or_(Training.lease_until < database_now(), longer_than_given()))
        ),
        _set_training(**NOBODY, status="waiting"),
        harmless=True,
    ),
    Check(
        "running_for_nobody",
        "{n} trainings are marked as running without an owner or lease",
        lambda: _of_training(
            and_(Training.status == "running", or_(Training.owner.is_(None), Training.lease_until.is_(None)))
        ),
        _set_training(**NOBODY, status="waiting"),
    ),
    Check(
        "finished_without_result",
        "{n} trainings are marked as finished but have no mAP",
        lambda: _of_training(and_(Training.status == "finished", Training.map.is_(None))),
        _set_training(**NOBODY, status="waiting", finished_at=None),
    ),
    Check(
        "ended_but_open",
        "{n} trainings have ended but a stage still waits for them",
        lambda: _wrongly_marked(True),
        _mark_links(False),
    ),
    Check(
        "unfinished_but_closed",
        "{n} trainings have not ended but a stage does not wait for them",
        lambda: _wrongly_marked(False),
        _mark_links(True),
    ),
    Check(
        "finished_stage_with_open_trainings",
        "{n} stages are marked as finished but still have trainings to do",
        lambda: (
            select(Stage.id)
            .where(Stage.status == "finished")
            .where(
                exists(select(StageTraining.stage_id).where(StageTraining.stage_id == Stage.id, StageTraining.is_open))
            )
        ),
    ),
    Check(
        "unasked_training",
        "{n} trainings that have not ended are asked for by no stage",
        lambda: _of_training(and_(~_ENDED, ~_LINKED)),
        lambda ids: delete(Training).where(Training.id.in_(ids)),
    ),
    Check(
        "unused_candidate",
        "{n} candidates have no training",
        lambda: select(CandidateRow.id).where(~_USED),
        lambda ids: delete(CandidateRow).where(CandidateRow.id.in_(ids), ~_USED),
        harmless=True,
    ),
    Check(
        "unused_recipe",
        "{n} recipes have no training",
        lambda: select(RecipeRow.id).where(~_RECIPE_USED),
        lambda ids: delete(RecipeRow).where(RecipeRow.id.in_(ids), ~_RECIPE_USED),
        harmless=True,
    ),
    Check(
        "silent_worker",
        "{n} workers were not heard of for ten minutes and did not say goodbye",
        lambda: select(WorkerRow.id).where(
            WorkerRow.stopped_at.is_(None), WorkerRow.heartbeat_at < database_now() - SILENT_WORKER_S
        ),
        lambda ids: update(WorkerRow).where(WorkerRow.id.in_(ids)).values(stopped_at=WorkerRow.heartbeat_at),
        harmless=True,
    ),
)


def check_database(
    repository: Repository, *, store: CheckpointStore | None = None, deep: bool = False, progress: Progress = silent
) -> list[Problem]:
    """Everything that is wrong; an empty list when nothing is.

    Args:
        store: also look whether the checkpoints are there.
        deep: also read every checkpoint and compare its hash.
    """
    engine = repository.read(_engine_problems)
    found = [problem for check in CHECKS if (problem := _look(repository, check)) is not None]
    files = [] if store is None else _checkpoint_problems(repository, store, deep, progress)
    return [*engine, *found, *files]


def repair_database(repository: Repository, problems: Sequence[Problem]) -> int:
    """Puts right what can be, by the list that `check_database` gave; returns how many rows changed.

    A row is only changed when it is still wrong, so workers may go on meanwhile.
    """
    repairs = {check.kind: check for check in CHECKS if check.repair is not None}

    def work(session: Session) -> int:
        changed = 0
        for problem in problems:
            if problem.kind in _FILE_KINDS:
                changed += _forget_checkpoints(session, problem.keys)
            elif problem.kind in repairs:
                changed += _repair(session, repairs[problem.kind])
        return changed

    return repository.write(work)


def _look(repository: Repository, check: Check) -> Problem | None:
    keys = tuple(row[0] for row in repository.rows(check.find()))
    if not keys:
        return None
    return Problem(check.kind, _counted(check.sentence, len(keys)), keys, check.repair is not None, check.harmless)


def _counted(sentence: str, n: int) -> str:
    """The sentence with its number, in the singular for one.

    >>> _counted("{n} trainings are marked as running", 1)
    '1 training is marked as running'
    """
    if n != 1:
        return sentence.format(n=n)
    noun, _, rest = sentence.removeprefix("{n} ").partition(" ")
    for plural, singular in (("are ", "is "), ("have ", "has "), ("were ", "was ")):
        if rest.startswith(plural):
            rest = singular + rest[len(plural) :]
    return f"1 {noun.removesuffix('s')} {rest}"


def _repair(session: Session, check: Check) -> int:
    assert check.repair is not None
    keys = [row[0] for row in session.execute(check.find())]
    for piece in chunks(keys):
        session.execute(check.repair(piece))
    return len(keys)


def _engine_problems(session: Session) -> list[Problem]:
    if session.get_bind().dialect.name != "sqlite":
        return []
    damage = [row[0] for row in session.execute(text("PRAGMA quick_check")) if row[0] != "ok"]
    orphans = [tuple(row) for row in session.execute(text("PRAGMA foreign_key_check")) if row[0].startswith("nas_")]
    found = []
    if damage:
        found.append(Problem("damaged_file", f"the SQLite file is damaged: {damage[0]}", tuple(damage)))
    if orphans:
        sentence = f"{len(orphans)} rows refer to rows that are not there (the first in {orphans[0][0]})"
        found.append(Problem("orphaned_rows", sentence, tuple(orphans)))
    return found


_FILE_KINDS = ("missing_checkpoint", "damaged_checkpoint")


def _checkpoint_problems(
    repository: Repository, store: CheckpointStore, deep: bool, progress: Progress
) -> list[Problem]:
    query = (
        select(Training.id, Training.checkpoint_uri, Training.checkpoint_sha256)
        .where(Training.checkpoint_uri.is_not(None))
        .order_by(Training.id)
    )
    rows = repository.rows(query)
    missing, damaged = [], []
    for done, (training_id, uri, sha256) in enumerate(rows):
        progress(done, len(rows), "checkpoints")
        if not store.exists(uri):
            missing.append((training_id, uri))
        elif deep and sha256 is not None and not store.is_intact(uri, sha256):
            damaged.append((training_id, uri))
    kinds = (
        ("missing_checkpoint", "{n} checkpoints are not where the database says", missing),
        ("damaged_checkpoint", "{n} checkpoints are damaged", damaged),
    )
    return [Problem(kind, _counted(s, len(keys)), tuple(keys), True) for kind, s, keys in kinds if keys]


def _forget_checkpoints(session: Session, keys: Sequence[tuple[int, str]]) -> int:
    for training_id, uri in keys:
        gone = update(Training).where(Training.id == training_id, Training.checkpoint_uri == uri)
        session.execute(gone.values(checkpoint_uri=None, checkpoint_sha256=None))
    return len(keys)
