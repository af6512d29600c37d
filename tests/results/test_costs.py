"""One reading of times and one rule "slower than": pairs, drift, load, spread, and what is not known."""

from __future__ import annotations

import math
import re
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nas.results.costs import COSTS, Quote, Ratio, ratio, read_times


def record(ms: float, *, blocks: list[float] | None = None, **values: Any) -> dict[str, Any]:
    """A latency record as plain data, from one build with blocks of batches around the median."""
    blocks = [ms - 0.1, ms, ms + 0.1] if blocks is None else blocks
    return {"median_ms": ms, "builds": [{"median_ms": ms, "block_medians_ms": blocks}], "isolated": True, **values}


def time(ms: float, **values: Any) -> Quote:
    return read_times({"resnet50": record(ms, **values)})["resnet50"]


def test_drift_is_divided_out_of_value_and_spread_alike() -> None:
    plain, drifted = time(10.0), time(10.5, blocks=[10.395, 10.5, 10.605], drift=0.05)
    assert (plain.value, drifted.value) == pytest.approx((10.0, 10.0))
    half = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert (plain.low, plain.high) == pytest.approx((10.0 - half, 10.0 + half))
    assert (drifted.low, drifted.high) == pytest.approx((plain.low, plain.high), rel=1e-3)
    assert drifted.how == "corrected"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"drift": 3.77}, r"drifted by \+377%"),
        ({"drift": -0.4}, "drifted by -40%"),
        ({"isolated": False}, "kept the machine busy"),
        ({"environment": {"others_cpu_share": 0.31}}, "used 31% of the processors"),
    ],
)
def test_past_a_tenth_of_drift_or_load_a_time_is_not_known(values: dict[str, Any], why: str) -> None:
    found = time(10.0, **values)
    assert (found.value, found.low, found.high, found.how) == (None, None, None, "unknown")
    assert re.search(why, found.why)
    assert time(10.0, drift=0.09, environment={"others_cpu_share": 0.09}).value is not None


def test_one_timed_batch_has_a_time_and_no_interval() -> None:
    """It used to be an interval of no width: [-272.49, -272.49]."""
    found = time(10.0, blocks=[10.0])
    assert (found.value, found.low, found.high) == (10.0, None, None)
    other = read_times({"resnet101": record(20.0, blocks=[20.0])})["resnet101"]
    over = ratio(other, found)
    assert over == Ratio(2.0)
    assert over.slower() is None


def test_several_builds_are_what_varies() -> None:
    builds = [{"median_ms": m, "block_medians_ms": [m] * 20} for m in (9.0, 10.0, 11.0)]
    found = read_times({"resnet50": {"median_ms": 10.0, "builds": builds}})["resnet50"]
    half = stats.t.ppf(0.975, 2) * stdev((9.0, 10.0, 11.0)) / math.sqrt(3) / mean((9.0, 10.0, 11.0)) * 10.0
    assert (found.low, found.high) == pytest.approx((10.0 - half, 10.0 + half))


def test_a_pair_is_the_ratio_times_the_references_own_time_whatever_the_machine_did() -> None:
    paired = record(99.0, drift=3.77, isolated=False, reference="resnet50", ratio=1.2, ratio_low=1.19, ratio_high=1.21)
    records = {"resnet50": record(30.0), "resnet50+cnl@8": paired}
    found = read_times(records)
    assert found["resnet50+cnl@8"] == Quote(36.0, pytest.approx(35.7), pytest.approx(36.3), "paired")
    alone = read_times({"resnet50+cnl@8": paired | {"reference_ms": 31.0}})["resnet50+cnl@8"]
    assert alone.value == pytest.approx(37.2)
    # the reference is the scale: the pairs' interval is that of the ratio, whatever its own median scattered by
    assert ratio(found["resnet50+cnl@8"], found["resnet50"]) == Ratio(1.2, pytest.approx(1.19), pytest.approx(1.21))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ratio_low": 0.9, "ratio_high": 1.5}, "known to 25% only"),
        ({"ratio_low": None, "ratio_high": None}, "too few pairs"),
        ({"reference": "resnet18"}, "resnet18, which it was timed beside, has no time"),
    ],
)
def test_pairs_that_tell_nothing(changes: dict[str, Any], why: str) -> None:
    pairs = {"reference": "resnet50", "ratio": 1.2, "ratio_low": 1.19, "ratio_high": 1.21}
    found = read_times({"resnet50": record(30.0), "resnet101": record(40.0, **{**pairs, **changes})})["resnet101"]
    assert found.value is None
    assert why in found.why


@pytest.mark.parametrize(
    ("low", "high", "slower"),
    [(1.02, 1.10, True), (1.005, 1.10, None), (0.98, 1.009, False), (0.5, 0.6, False), (None, None, None)],
)
def test_slower_than_is_a_question_to_the_lower_end(low: float | None, high: float | None, slower: bool | None) -> None:
    assert Ratio(1.05, low, high).slower(0.01) is slower


def test_a_ratio_holds_the_truth_as_often_as_it_says() -> None:
    """Two networks of 20 blocks each, sd 2 %: the 95 % interval of their ratio covers 1.1 about 95 times in 100."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(1000):
        blocks = [list(rng.normal(centre, 0.02 * centre, 20)) for centre in (33.0, 30.0)]
        records = {str(i): record(mean(b), blocks=b) for i, b in enumerate(blocks)}
        found = read_times(records)
        over = ratio(found["0"], found["1"])
        assert over is not None
        assert over.low is not None
        assert over.high is not None
        inside += over.low <= 1.1 <= over.high
    assert 0.93 <= inside / 1000 <= 0.97


def test_a_ratio_of_what_is_not_known_is_not_known() -> None:
    assert ratio(Quote(why="not measured"), Quote.exactly(30.0)) is None
    assert ratio(Quote(30.0, how="predicted"), Quote.exactly(30.0)) == Ratio(1.0)


def test_every_cost_has_words_and_a_column_of_its_own_or_of_time() -> None:
    assert {name: cost.column for name, cost in COSTS.items() if name != cost.column} == {
        "batches_per_s": "latency_ms",
        "slowdown_percent": "latency_ms",
    }
    assert [name for name, cost in COSTS.items() if cost.more_is_better] == ["batches_per_s"]
    assert [name for name, cost in COSTS.items() if cost.kind == "counted"] == ["params", "macs", "activations"]
