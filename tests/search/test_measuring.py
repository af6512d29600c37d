"""A trained network is timed in turns with the plain network of its backbone, so that hours do not matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from latency_builders import DEVICE, PROTOCOL, PlantedDevice

from nas.latency.record import LatencyRecord
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
    times: bool = True
    measures_here: bool = True
    replay: Any = None
    said: list[str] = field(default_factory=list)
    baselines: list[Candidate] = field(default_factory=lambda: [Candidate.parse("resnet50")])

    def say(self, words: str) -> None:
        self.said.append(words)


def test_a_slower_hour_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hour = 1.0
    device = PlantedDevice(slowness=lambda _: hour)

    def measure(candidate: Candidate, protocol: Any, **how: Any) -> LatencyRecord:
        return device(candidate, protocol, how["reference"], how["reference_ms"])

    monkeypatch.setattr(measuring, "measure", measure)
    with open_database(f"sqlite:///{tmp_path}/study.db") as database:
        context: Any = Context(Repository(database))
        store = RepositoryStore(context.repository)
        base, later = Candidate.parse("resnet50"), Candidate.parse("resnet50+cnl@8,14")
        measuring.measure_trained(context, base, lambda: False)
        hour = 1.4
        measuring.measure_trained(context, later, lambda: False)
        found = store.find([base, later], PROTOCOL, DEVICE)
        assert found[later].median_ms == pytest.approx(device.ms(later))
        assert found[later].reference_read_ms == pytest.approx(1.4 * device.ms(base))
        assert found[base].median_ms == pytest.approx(device.ms(base))
        assert device.measured == ["resnet50", "resnet50+cnl@8,14"]
        measuring.measure_trained(context, later, lambda: False)
        assert len(device.measured) == 2


def test_a_worker_that_is_stopped_does_not_wait_for_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody holds the machine for ever; the worker was told to end."""

    def waiting(*_: Any, **how: Any) -> LatencyRecord:
        while True:
            how["while_waiting"]("waiting for process 7")

    monkeypatch.setattr(measuring, "measure", waiting)
    asked = iter([False, False, True])
    with open_database(f"sqlite:///{tmp_path}/study.db") as database:
        context: Any = Context(Repository(database))
        assert not measuring.measure_networks(context, [Candidate.parse("resnet50")], lambda: next(asked))
        assert context.said[0] == "waiting for process 7"
