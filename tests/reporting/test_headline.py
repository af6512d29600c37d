"""The recommended candidate: cheapest of those that cannot be told from the best."""

from __future__ import annotations

import math

import pytest
from reporting_builders import ResultsBuilder

from nas.reporting.headline import headline
from nas.reporting.story.question import question
from nas.reporting.study_data import StudyData


def study(**maps: list[float]) -> StudyData:
    """Seeds' mAP a candidate, and latencies 37, 39, 50 ms for fast, slow, dear."""
    notation = {"plain": "resnet50", "fast": "resnet50+cnl@8", "slow": "resnet50+hac@8,14", "dear": "resnet50+agw@1,2"}
    ms = {"plain": 36.0, "fast": 37.0, "slow": 39.0, "dear": 50.0}
    build = ResultsBuilder()
    for name, values in maps.items():
        for seed, value in enumerate(values, start=1):
            build.add(notation[name], stage="s", kind="sweep", map=value, seed_from=seed, latency_ms=ms[name])
    return StudyData("x", results=build.table())


def test_the_cheapest_that_seeds_cannot_tell_from_the_best() -> None:
    answer = headline(study(plain=[0.80, 0.802], fast=[0.849, 0.851], slow=[0.8505, 0.8515]))
    assert answer is not None
    assert answer.best["notation"] == "resnet50+cnl@8"
    assert answer.most_accurate["notation"] == "resnet50+hac@8,14"
    assert answer.over_most_accurate.map == pytest.approx(-0.001)
    assert answer.over_most_accurate.high >= 0


def test_a_clear_difference_is_worth_its_time() -> None:
    answer = headline(study(plain=[0.80, 0.801], fast=[0.83, 0.831], slow=[0.85, 0.851]))
    assert answer is not None
    assert answer.best["notation"] == "resnet50+hac@8,14"


def test_without_replicates_the_most_accurate_is_named_and_no_interval_is_made_up() -> None:
    answer = headline(study(plain=[0.80], fast=[0.849], slow=[0.85]))
    assert answer is not None
    assert answer.best["notation"] == "resnet50+hac@8,14"
    assert answer.over_baseline is not None
    assert math.isnan(answer.over_baseline.low)


def test_nothing_is_recommended_before_there_is_a_front(empty: StudyData) -> None:
    assert headline(empty) is None
    assert headline(study(plain=[0.8])) is None


def test_slower_than_the_reference_is_not_recommended(full: StudyData) -> None:
    answer = headline(full)
    assert answer is not None
    assert answer.reference is not None
    assert answer.best["latency_ms"] <= answer.reference["latency_ms"]


def test_a_study_that_pays_with_memory_is_answered_in_memory() -> None:
    build = ResultsBuilder()
    for notation, map_, ms, mb in (
        ("resnet50", 0.80, 30.0, 500.0),
        ("resnet50+cnl@8", 0.85, 40.0, 510.0),
        ("resnet50+hac@8,14", 0.84, 35.0, 700.0),
    ):
        for seed in (1, 2):
            build.add(notation, stage="s", kind="sweep", map=map_, seed_from=seed, latency_ms=ms, peak_memory_mb=mb)
    data = StudyData("x", definition={"cost": "peak_memory_mb"}, results=build.table())
    answer = headline(data)
    assert answer is not None
    assert answer.over_baseline is not None
    assert answer.best["notation"] == "resnet50+cnl@8"
    assert answer.over_baseline.cost == pytest.approx(10.0)
    told = str(question(data).blocks)
    assert "for the least memory" in told
    assert "510.0 MB" in told
    assert "+10.0 MB" in told
    assert "2.0 % more memory" in told
    assert "ms" not in told.split()
