"""Timing while a second network works on the same device."""

from __future__ import annotations

from typing import Any

import pytest

from nas.errors import LatencyError
from nas.latency import LatencyProtocol, measure
from nas.latency.jobs import make_job
from nas.latency.protocol import Neighbour
from nas.spaces import Candidate

SMALL = "resnet18(width=0.125)"


def protocol(network: str = SMALL, period_ms: float = 20.0) -> LatencyProtocol:
    beside = Neighbour(network, period_ms)
    return LatencyProtocol(batch=1, input=(32, 16), batches=20, warmup=1, threads=1, load=beside)


@pytest.mark.heavy
@pytest.mark.slow
def test_the_other_network_runs_meanwhile_and_says_how_it_went() -> None:
    record = measure(SMALL, protocol(), reference=SMALL)
    assert record.environment is not None
    load: Any = record.environment["load"]
    assert (load["network"], load["period_ms"]) == (SMALL, 20.0)
    assert load["batches"] >= 1
    assert load["median_ms"] > 0
    assert 0 <= load["late"] <= 1
    assert record.protocol.load == Neighbour(SMALL, 20.0)
    assert record.ratio == pytest.approx(1.0, rel=1.0)


@pytest.mark.heavy
@pytest.mark.slow
def test_a_network_that_cannot_run_is_one_sentence() -> None:
    with pytest.raises(LatencyError, match="load: resnet51 did not start beside the measurement: "):
        measure(SMALL, protocol("resnet51"))


def test_an_agent_runs_nothing_beside() -> None:
    with pytest.raises(LatencyError, match="not by a device's agent"):
        make_job(Candidate.parse(SMALL), protocol(), "xavier")
