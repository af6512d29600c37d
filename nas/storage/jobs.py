"""Networks that a device elsewhere shall time: left here, taken by a worker on it or by the bridge to its agent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from sqlalchemy import or_, select, update

from nas.files.plain import clean, dump_json
from nas.storage.base import AnyRow, RepositoryPart, chunks, insert_missing
from nas.storage.clock import database_now
from nas.storage.models import LatencyJob
from nas.storage.records import LatencyJobInfo

_SHOWN = [getattr(LatencyJob, name) for name in LatencyJobInfo.__annotations__]


class LatencyJobs(RepositoryPart):
    """Leaves jobs for devices and collects their results."""

    def request_latency_jobs(self, jobs: Sequence[Mapping[str, object]]) -> list[int]:
        """Leaves jobs; one for the same device, architecture and protocol is left once. Returns their ids.

        A job has `device`, `architecture_id`, `notation`, `protocol_id`, `protocol` (plain data), `network` (bytes) and
        `sha256` of it.
        """
        rows = [{**job, "protocol": json.dumps(clean(job["protocol"]), sort_keys=True)} for job in jobs]
        self.write(lambda session: insert_missing(session, LatencyJob, rows))
        by_key: dict[tuple[object, object, object], int] = {
            (job["device"], job["architecture_id"], job["protocol_id"]): job["id"]
            for device in sorted({str(job["device"]) for job in jobs})
            for job in self.latency_jobs(device=device)
        }
        return [by_key[job["device"], job["architecture_id"], job["protocol_id"]] for job in jobs]

    def latency_jobs(self, *, device: str | None = None, status: str | None = None) -> list[LatencyJobInfo]:
        """Jobs, oldest first, without the networks."""
        query = select(*_SHOWN).order_by(LatencyJob.id)
        wanted = {"device": device, "status": status}
        query = query.filter_by(**{name: value for name, value in wanted.items() if value is not None})
        return [_job(row) for row in self.rows(query)]

    def latency_job_network(self, job_id: int) -> bytes | None:
        """The packed network of a job."""
        return self.read(lambda session: session.scalar(select(LatencyJob.network).filter_by(id=job_id)))

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
        """Files what came of a job: a record, which was stored as a latency too, or why there is none.

        The network of a finished one is dropped from the database.
        """
        ended = update(LatencyJob).filter_by(id=job_id).values(reason=reason, owner=None, finished_at=database_now())
        if result is None:
            self.run(ended.values(status="failed", result=None))
        else:
            self.run(ended.values(status="finished", result=dump_json(result), collected=True, network=None))

    def retry_latency_jobs(self, job_ids: Iterable[int]) -> None:
        """Lets failed jobs be tried again."""
        values = {"status": "waiting", "attempts": 0, "reason": None, "finished_at": None}
        self.run(
            *(
                update(LatencyJob).where(LatencyJob.id.in_(piece), LatencyJob.status == "failed").values(values)
                for piece in chunks(list(job_ids))
            )
        )


def _job(row: AnyRow) -> LatencyJobInfo:
    result = None if row.result is None else json.loads(row.result)
    return cast(LatencyJobInfo, {**row._mapping, "protocol": json.loads(row.protocol), "result": result})
