"""Who works on a study, on which machine, and when it was heard of last."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from nas.errors import StudyError
from nas.files.plain import clean_text
from nas.storage.base import AnyRow, RepositoryPart, insert_or_update
from nas.storage.claims import CLOCK_SLACK_S
from nas.storage.clock import database_now
from nas.storage.models import WorkerRow

SILENT_S = 120.0
"""After this time without a sign of life, what a worker said last is no longer believed."""
LONGEST_NAME = 200
"""Longest name of a worker, in characters; its column holds 255."""


class Workers(RepositoryPart):
    """Signs of life of workers."""

    def register_worker(
        self, worker_id: str, study_id: int, *, host: str, pid: int | None = None, device: str | None = None
    ) -> None:
        """Says that a worker begins; `worker_id` (200 characters at most) is the owner of its claims.

        Raises:
            StudyError: the name is longer than 200 characters.
        """
        if len(worker_id) > LONGEST_NAME:
            raise StudyError(f"a worker's name has {len(worker_id)} characters", f"use {LONGEST_NAME} at most")
        row = {
            "id": worker_id,
            "study_id": study_id,
            "host": clean_text(host),
            "pid": pid,
            "device": device,
            "details": {},
            "started_at": database_now(),
            "heartbeat_at": database_now(),
            "stopped_at": None,
        }
        self.write(lambda session: insert_or_update(session, WorkerRow, [row], ("id",)))

    def worker_alive(self, worker_id: str) -> None:
        """A sign of life of an idle worker (`heartbeat` gives one while it trains)."""
        beat = update(WorkerRow).where(WorkerRow.id == worker_id).values(heartbeat_at=database_now())
        self.run(beat)

    def worker_says(self, worker_id: str, words: str) -> None:
        """What a worker waits for or does beside trainings; "" when it is over."""

        def say(session: Session) -> None:
            row = session.get(WorkerRow, worker_id)
            if row is not None:
                row.details = {**row.details, "doing": clean_text(words)}

        self.write(say)

    def worker_stopped(self, worker_id: str) -> None:
        """Says that a worker ended by itself."""
        ended = update(WorkerRow).where(WorkerRow.id == worker_id).values(stopped_at=database_now())
        self.run(ended)

    def workers(self, study_id: int) -> list[dict[str, Any]]:
        """The workers of a study, newest first.

        Returns:
            `id`, `host`, `pid`, `device`, `details`, `started_at`, `heartbeat_at`, `stopped_at`,
            `silent_s` (since the last sign of life, by the database's clock) and `state`:
            "working", "silent" or "stopped".
        """
        columns = [column for column in WorkerRow.__table__.columns if column.key != "study_id"]
        silent = (database_now() - WorkerRow.heartbeat_at).label("silent_s")
        query = select(*columns, silent).where(WorkerRow.study_id == study_id).order_by(WorkerRow.started_at.desc())
        return [{**row._mapping, "state": _state(row)} for row in self.rows(query)]


def _state(row: AnyRow) -> str:
    if row.stopped_at is not None:
        return "stopped"
    # A sign of life from the future was given before the clock was set back; one that lives gives another soon.
    return "silent" if row.silent_s > SILENT_S or row.silent_s < -CLOCK_SLACK_S else "working"
