"""Latency records, kept in a study's database and found again.

Records are found by architecture, protocol and device; a figure of another protocol or device is another figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from nas.latency.protocol import LatencyProtocol
from nas.latency.record import LatencyRecord
from nas.spaces import Candidate

if TYPE_CHECKING:
    from nas.storage import Repository


class RepositoryStore:
    """Records in a study's database."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def find(
        self, candidates: Iterable[Candidate] | None, protocol: LatencyProtocol, device: str
    ) -> dict[Candidate, LatencyRecord]:
        """The newest record of each architecture that has one; None asks for all."""
        ids = None if candidates is None else [candidate.architecture.id for candidate in candidates]
        found = self._repository.find_latencies(ids, protocol.id, device)
        return {Candidate.parse(info.notation): LatencyRecord.from_dict(info.record) for info in found.values()}

    def save(self, candidate: Candidate, record: LatencyRecord) -> None:
        """Keeps a record."""
        architecture = candidate.architecture
        self._repository.store_latency(
            record.to_dict(),
            architecture_id=architecture.id,
            notation=architecture.notation,
            protocol_id=record.protocol.id,
            device=record.device_name,
            environment_id=self._repository.ensure_environment(_lasting(record.environment or {})),
        )


def _lasting(environment: Mapping[str, object]) -> dict[str, object]:
    """The environment without what changes from one measurement to the next (it stays in the record)."""
    return {key: value for key, value in environment.items() if not key.startswith("others_")}
