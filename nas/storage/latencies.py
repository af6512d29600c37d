"""Latencies: one row a measurement, by architecture, protocol and device, never overwritten.

Repeated measurements of a reference show drift, so all are kept; `find_latency` and the results
table take the newest, a measured one before a predicted one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from nas.errors import StorageError
from nas.files.plain import clean, finite
from nas.storage.base import RepositoryPart, chunks, insert_missing
from nas.storage.models import Device, Latency
from nas.storage.records import LatencyInfo

_COLUMNS = [getattr(Latency, field.name) for field in fields(LatencyInfo)]
_NUMBERS = ("median_ms", "mean_ms", "p5_ms", "p95_ms", "sd_ms", "batches_per_s", "peak_memory_mb", "drift")
# One that an archive brought stands in only where this database has none of its own.
NEWEST_FIRST = (Latency.measured.desc(), Latency.imported.is_not(None), Latency.id.desc())


class Latencies(RepositoryPart):
    """Stores and finds latencies."""

    def ensure_device(self, device: str) -> None:
        """Stores a device once; `device` is the name figures are filed under."""
        self.write(lambda session: insert_missing(session, Device, [{"id": device, "description": {}}]))

    def store_latency(
        self,
        record: Mapping[str, Any],
        *,
        architecture_id: str,
        notation: str,
        protocol_id: str,
        device: str,
        measured: bool = True,
        environment_id: str | None = None,
    ) -> int:
        """Files one latency record; returns its id. The same record told twice in a row is filed once.

        Args:
            record: the whole record as plain data. `median_ms` is needed; `mean_ms`, `p5_ms`,
                `p95_ms`, `sd_ms`, `batches_per_s`, `batches`, `peak_memory_mb`, `isolated`, `drift`
                and `protocol` get columns of their own when there.
            measured: False for a figure that a model predicted.

        Raises:
            StorageError: `median_ms` is no time.
        """
        _check_time(record)
        values = {
            "architecture_id": architecture_id,
            "notation": notation,
            "protocol_id": protocol_id,
            "protocol": clean(record.get("protocol") or {}),
            "device": device,
            "measured": measured,
            "batches": record.get("batches"),
            "isolated": record.get("isolated"),
            "record": clean(record),
            "environment_id": environment_id,
            **{name: finite(record.get(name)) for name in _NUMBERS},
        }
        self.ensure_device(device)
        return self.write(lambda session: _store(session, values))

    def find_latency(
        self, architecture_id: str, protocol_id: str, device: str, *, measured_only: bool = True
    ) -> LatencyInfo | None:
        """The newest figure of one architecture, None when there is none."""
        found = self.find_latencies([architecture_id], protocol_id, device, measured_only=measured_only)
        return found.get(architecture_id)

    def find_latencies(
        self, architecture_ids: Iterable[str] | None, protocol_id: str, device: str, *, measured_only: bool = True
    ) -> dict[str, LatencyInfo]:
        """The newest figure of each architecture that has one, by its id; without ids of all under this protocol."""
        query = select(*_COLUMNS).where(Latency.protocol_id == protocol_id, Latency.device == device)
        if measured_only:
            query = query.where(Latency.measured)
        query = query.order_by(*NEWEST_FIRST)
        pieces = [None] if architecture_ids is None else list(chunks(sorted(set(architecture_ids))))
        found: dict[str, LatencyInfo] = {}
        for piece in pieces:
            asked = query if piece is None else query.where(Latency.architecture_id.in_(piece))
            for row in self.rows(asked):
                found.setdefault(row.architecture_id, LatencyInfo(**row._mapping))
        return found


def _check_time(record: Mapping[str, Any]) -> None:
    """Refuses a record whose time is not known: nothing could be read from it, now or later."""
    found = record.get("median_ms")
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found) or found <= 0:
        raise StorageError(f"a latency record says median_ms: {found!r:.40}", "it must be a time in ms; measure again")


def _store(session: Session, values: Mapping[str, object]) -> int:
    keys = ("architecture_id", "protocol_id", "device", "measured")
    last = select(Latency.id, Latency.record).filter_by(**{key: values[key] for key in keys})
    found = session.execute(last.order_by(Latency.id.desc()).limit(1)).one_or_none()
    if found is not None and found.record == values["record"]:
        return int(found.id)
    return session.scalars(insert(Latency).values(**values).returning(Latency.id)).one()
