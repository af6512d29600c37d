"""Networks that a device elsewhere shall time: left here, taken by a worker on it or by the bridge to its agent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import or_, select, update

from nas.files.plain import clean, dump_json
from nas.storage.base import RepositoryPart, chunks, insert_missing
from nas.storage.clock import database_now
from nas.storage.models import LatencyJob

_SHOWN = [column for column in LatencyJob.__table__.columns if column.key != "network"]


class LatencyJobs(RepositoryPart):
    """Leaves jobs for devices and collects their results."""

    def request_latency_jobs(self, jobs: Sequence[Mapping[str, object]]) -> list[int]:
        """Leaves jobs; one for the same device, architecture and protocol is left once. Returns their ids.

        Args:
            jobs: mappings with `device`, `architecture_id`, `notation`, `protocol_id`, `protocol` (plain
                data), `network` (bytes, packed) and `sha256`.
        """
        rows = [_row(job) for job in jobs]
        self.write(lambda session: insert_missing(session, LatencyJob, rows))
        by_key = {
            (job["device"], job["architecture_id"], job["protocol_id"]): job["id"]
            for device in sorted({row["device"] for row in rows})
            for job in self.latency_jobs(device=device)
        }
        return [by_key[row["device"], row["architecture_id"], row["protocol_id"]] for row in rows]

    def latency_jobs(
        self, *, device: str | None = None, status: str | None = None, collected: bool | None = None
    ) -> list[dict[str, Any]]:
        """Jobs, oldest first, without the networks; `protocol` and `result` are plain data."""
        query = select(*_SHOWN).order_by(LatencyJob.id)
        wanted = {"device": device, "status": status, "collected": collected}
        for name, value in wanted.items():
            if value is not None:
                query = query.where(getattr(LatencyJob, name) == value)
        return [_job(dict(row._mapping)) for row in self.rows(query)]

    def latency_job_network(self, job_id: int) -> bytes | None:
        """The packed network of a job."""
        return self.read(lambda session: session.scalar(select(LatencyJob.network).filter_by(id=job_id)))

    def mark_collected(self, job_ids: Iterable[int]) -> None:
        """Notes that the results were filed as latencies; their networks are dropped from the database."""
        self.run(
            *(
                update(LatencyJob).where(LatencyJob.id.in_(piece)).values(collected=True, network=None)
                for piece in chunks(list(job_ids))
            )
        )

    def take_latency_job(self, job_id: int, owner: str, lease_s: float) -> bool:
        """Takes a job that waits, or whose taker was silent for as long as it had said; tells whether it did."""
        now = database_now()
        free = or_(LatencyJob.status == "waiting", (LatencyJob.status == "running") & (LatencyJob.lease_until < now))
        values = {"status": "running", "owner": owner, "lease_until": now + lease_s}
        taken = update(LatencyJob).where(LatencyJob.id == job_id, free).values(values).returning(LatencyJob.id)
        return self.write(lambda session: session.scalar(taken)) is not None

    def release_latency_job(self, job_id: int, owner: str) -> None:
        """Gives a job back undone."""
        ours = update(LatencyJob).where(
            LatencyJob.id == job_id, LatencyJob.owner == owner, LatencyJob.status == "running"
        )
        self.run(ours.values(status="waiting", owner=None, lease_until=None))

    def finish_latency_job(self, job_id: int, result: Mapping[str, object] | None, reason: str | None = None) -> None:
        """Files what came of a job: a record, which was stored as a latency too, or why there is none."""
        values = {
            "status": "failed" if result is None else "finished",
            "result": None if result is None else dump_json(result),
            "reason": reason,
            "owner": None,
            "finished_at": database_now(),
        }
        self.run(update(LatencyJob).filter_by(id=job_id).values(values))
        if result is not None:
            self.mark_collected([job_id])

    def retry_latency_jobs(self, job_ids: Iterable[int]) -> None:
        """Lets failed jobs be tried again."""
        values = {"status": "waiting", "attempts": 0, "reason": None, "finished_at": None}
        self.run(
            *(
                update(LatencyJob).where(LatencyJob.id.in_(piece), LatencyJob.status == "failed").values(values)
                for piece in chunks(list(job_ids))
            )
        )


def _row(job: Mapping[str, object]) -> dict[str, Any]:
    return {
        "device": job["device"],
        "architecture_id": job["architecture_id"],
        "notation": job["notation"],
        "protocol_id": job["protocol_id"],
        "protocol": json.dumps(clean(job["protocol"]), sort_keys=True),
        "network": job["network"],
        "sha256": job["sha256"],
        "status": "waiting",
        "attempts": 0,
        "collected": False,
    }


def _job(row: dict[str, Any]) -> dict[str, Any]:
    result = row["result"]
    return {**row, "protocol": json.loads(row["protocol"]), "result": None if result is None else json.loads(result)}
