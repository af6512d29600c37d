"""A protocol is a value: validated, hashed, and the same after a trip through JSON."""

from __future__ import annotations

import json

import pytest

from nas.errors import LatencyError
from nas.latency import LatencyProtocol


def test_round_trip_through_json() -> None:
    protocol = LatencyProtocol(backend="onnxruntime", batch=4, input=(64, 32), builds=3, threads=1)
    assert LatencyProtocol.from_dict(json.loads(json.dumps(protocol.to_dict()))) == protocol


def test_equal_ways_to_say_it_have_equal_ids() -> None:
    assert LatencyProtocol().id == LatencyProtocol(warmup=3).id
    assert LatencyProtocol(device="cuda").id == LatencyProtocol(device="cuda", warmup=50, batches=1000).id
    assert LatencyProtocol(input=[256, 128]).id == LatencyProtocol().id  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"batch": 8}, {"backend": "compile"}, {"threads": 1}, {"builds": 2}])
def test_what_changes_the_figure_changes_the_id(change: dict[str, int]) -> None:
    assert LatencyProtocol.from_dict(change).id != LatencyProtocol().id


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"precison": "fp16"}, "did you mean 'precision'"),
        ({"precision": "int8"}, "unknown latency precision 'int8'"),
        ({"device": "tpu"}, "'tpu'"),
        ({"batch": 0}, "batch must be a whole number of at least 1"),
        ({"batch": 2.5}, "batch must be a whole number"),
        ({"input": [256]}, "input must be a height and a width"),
        ({"input": [0, 128]}, "two positive numbers"),
        ({"time_budget_s": 0}, "time_budget_s must be above 0"),
        ({"warmup": -1}, "warmup must be"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(LatencyError) as caught:
        LatencyProtocol.from_dict(settings)
    assert said in caught.value.message
