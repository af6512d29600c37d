"""A trained network is timed between two timings of its baseline, so that figures of different hours compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from latency_builders import DEVICE, PROTOCOL, PlantedDevice

from nas.latency.store import RepositoryStore
from nas.search import measuring
from nas.spaces import Candidate
from nas.storage import open_database
from nas.storage.repository import Repository


@dataclass
class Context:
    """What `measure_trained` needs of a study."""

    repository: Repository
    protocol: Any = PROTOCOL
    device_name: str = DEVICE
    measures_here: bool = True
    replay: Any = None


def test_a_slower_hour_is_corrected(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hour = 1.0
    device = PlantedDevice(slowness=lambda _: hour)
    monkeypatch.setattr("nas.latency.measure", lambda candidate, protocol, **_: device(candidate, protocol))
    with open_database(f"sqlite:///{tmp_path}/study.db") as database:
        context = Context(Repository(database))
        store = RepositoryStore(context.repository)
        base, later = Candidate.parse("resnet50"), Candidate.parse("resnet50+cnl@8,14")
        measuring.measure_trained(context, base, lambda: False)  # type: ignore[arg-type]
        hour = 1.4
        measuring.measure_trained(context, later, lambda: False)  # type: ignore[arg-type]
        found = store.find([base, later], PROTOCOL, DEVICE)
        assert found[later].median_ms == pytest.approx(1.4 * device.ms(later))
        assert found[later].corrected_ms == pytest.approx(device.ms(later))
        assert found[base].median_ms == pytest.approx(device.ms(base))
        device.measured.clear()
        measuring.measure_trained(context, later, lambda: False)  # type: ignore[arg-type]
        assert device.measured == []
