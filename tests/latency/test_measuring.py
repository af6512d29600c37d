"""One network timed on this machine: figures that hang together, the state of the machine kept and set back."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.errors import LatencyError
from nas.latency import LatencyProtocol, LatencyRecord, available_backends, measure, measuring
from nas.latency.load import Load

SMALL = LatencyProtocol(batch=2, input=(32, 16), warmup=1, batches=12, threads=1)


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_LOCKS", str(tmp_path / "locks"))


def tiny() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_figures_hang_together() -> None:
    record = measure(tiny, SMALL)
    assert record.batches == 12
    assert record.p5_ms <= record.median_ms <= record.p95_ms
    assert record.batches_per_s == pytest.approx(1000 / record.median_ms)
    assert record.sd_ms is not None
    assert record.drift is None
    assert record.energy_mj is None
    environment: Any = record.environment
    assert environment["threads"] == 1
    assert environment["libraries"]["torch"] == torch.__version__.split("+")[0]


def test_round_trip_through_json() -> None:
    record = measure("resnet18(width=0.25)+se@9", SMALL)
    assert record.notation == "resnet18(width=0.25)+se@9"
    assert LatencyRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_builds_are_kept_apart() -> None:
    built = []

    def counted() -> nn.Module:
        built.append(1)
        return tiny()

    record = measure(counted, LatencyProtocol(batch=1, input=(16, 16), warmup=0, batches=4, builds=3))
    assert len(built) == 3
    assert [build.batches for build in record.builds] == [4, 4, 4]
    assert record.batches == 12
    assert record.build_sd_ms is not None


def test_memory_covers_weights_and_activations() -> None:
    wide = measure(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 16, 4096)), SMALL)
    assert wide.peak_memory_mb is not None
    assert wide.peak_memory_mb >= 3 * 32 * 16 * 4096 * 4 / 1e6
    assert measure(tiny, SMALL, memory=False).peak_memory_mb is None


def test_threads_are_set_back() -> None:
    before = torch.get_num_threads()
    measure(tiny, SMALL)
    assert torch.get_num_threads() == before


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    measure(tiny, SMALL, lambda done, total, what="": told.append((done, total)))
    assert told == [(i + 1, 12) for i in range(12)]


def test_a_busy_machine_is_refused_or_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "probe", lambda *_: Load(0.8))
    assert measure(tiny, SMALL).isolated is False
    with pytest.raises(LatencyError, match="other programs use 80% of the processors"):
        measure(tiny, SMALL, under_load="refuse")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_what_is_not_available_says_why() -> None:
    assert available_backends()["eager"] is None
    assert (available_backends("cuda")["eager"] or "").startswith("cuda cannot be used: ")
    with pytest.raises(LatencyError, match="cannot measure on cuda: cuda cannot be used: "):
        measure(tiny, LatencyProtocol(device="cuda"))


def test_energy_is_of_the_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    meter, runs = iter([1000.0, 1600.0]), []
    monkeypatch.setattr(measuring, "read_energy_mj", lambda index: next(meter))
    monkeypatch.setattr(measuring, "ENERGY_S", 0.02)
    assert measuring._energy(lambda: runs.append(time.sleep(0.005)), 0) == pytest.approx(600.0 / len(runs))
    monkeypatch.setattr(measuring, "read_energy_mj", lambda index: None)
    assert measuring._energy(lambda: None, 0) is None


def test_a_network_and_its_reference_take_turns() -> None:
    order: list[str] = []

    class Told(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name, self.network = name, tiny()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            order.append(self.name)
            return self.network(images)

    protocol = LatencyProtocol(batch=1, input=(16, 16), warmup=0, batches=4, builds=2, fold_batchnorm=False)
    record = measure(lambda: Told("own"), protocol, reference=lambda: Told("other"), memory=False)
    assert order == 2 * ["own", "other", "other", "own", "own", "other", "other", "own"]
    assert (record.pairs, record.batches, record.reference) == (8, 8, "<lambda>")
    assert record.ratio is not None
    assert record.reference_ms == record.reference_read_ms
    assert record.median_ms == pytest.approx(record.ratio * record.reference_ms)  # type: ignore[operator]


def test_milliseconds_are_told_in_the_best_known_time_of_the_reference() -> None:
    record = measure("resnet18(width=0.125)+se@4", SMALL, reference="resnet18(width=0.125)", reference_ms=5.0)
    assert record.median_ms == pytest.approx(5.0 * (record.ratio or 0.0))
    assert record.p5_ms <= record.median_ms <= record.p95_ms
    assert record.builds[0].median_ms == pytest.approx(record.median_ms, rel=0.5)
    assert record.check() is record
    assert LatencyRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_a_network_that_never_ends_is_given_up() -> None:
    class Endless(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            while True:
                images = images + 0

    with pytest.raises(LatencyError, match=r"Endless cannot be timed in eager: given up after 0\.2 s"):
        measure(Endless, SMALL, memory=False, limit_s=0.2)
    with pytest.raises(LatencyError, match=r"given up after 0\.2 s"):
        measure(Endless, replace(SMALL, fold_batchnorm=False), memory=False, limit_s=0.2)


def test_a_network_that_cannot_run_is_one_sentence() -> None:
    def wrong() -> nn.Module:
        return nn.Sequential(nn.Conv2d(5, 8, 3))

    with pytest.raises(LatencyError, match="wrong cannot be timed in eager: "):
        measure(wrong, SMALL)


def test_an_unknown_backend_lists_the_known_ones() -> None:
    with pytest.raises(LatencyError, match="did you mean 'eager'"):
        measure(tiny, LatencyProtocol(backend="eagr"))
