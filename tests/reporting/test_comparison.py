"""Means, spreads and fronts against loops, on fake studies and on random tables."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting_builders import ResultsBuilder
from scipy import stats

from nas.reporting.comparison import (
    Level,
    baseline_row,
    is_hopeless,
    levels,
    on_front,
    pooled_sd,
    reference_row,
    summarise_candidates,
    trusted_level,
    widest_level,
)
from nas.reporting.study_data import StudyData


def naive_front(rows: list[tuple[float, float]]) -> list[bool]:
    def beaten(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return b[0] <= a[0] and b[1] >= a[1] and b != a

    return [not any(beaten(a, b) for b in rows) for a in rows]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20))
def test_front_is_what_nobody_beats(points: list[tuple[int, int]]) -> None:
    table = pd.DataFrame(points, columns=["latency_ms", "map_mean"]).astype(float)
    assert on_front(table).tolist() == naive_front([(float(a), float(b)) for a, b in points])


def test_front_never_holds_what_was_not_measured() -> None:
    table = pd.DataFrame(
        {
            "latency_ms": [1.0, math.nan, 2.0, 0.5],
            "map_mean": [0.5, 0.9, math.nan, 0.6],
            "latency_measured": [True, True, True, False],
        }
    )
    assert on_front(table).tolist() == [True, False, False, False]


def test_pooled_sd_is_the_root_of_mean_squares_within_candidates(full: StudyData) -> None:
    rows = full.finished
    squares, freedom = 0.0, 0
    for _, group in rows.groupby("candidate_id"):
        squares += sum((value - group["map"].mean()) ** 2 for value in group["map"])
        freedom += len(group) - 1
    assert pooled_sd(rows) == (pytest.approx(math.sqrt(squares / freedom)), freedom)


def test_pooled_sd_is_unknown_without_replicates() -> None:
    build = ResultsBuilder()
    build.add("resnet50+cnl@8", stage="s", kind="sweep")
    sd, freedom = pooled_sd(build.table())
    assert math.isnan(sd)
    assert freedom == 0


def test_summary_agrees_with_a_loop_over_candidates(full: StudyData) -> None:
    level = widest_level(full)
    assert level is not None
    rows = level.rows(full.finished)
    sd, freedom = pooled_sd(rows)
    summary = summarise_candidates(full, level).set_index("notation")
    for notation, group in rows.groupby("notation"):
        row = summary.loc[notation]
        half = stats.t.ppf(0.975, freedom) * sd / math.sqrt(len(group))
        assert row["map_mean"] == pytest.approx(group["map"].mean())
        assert row["seeds"] == len(group)
        assert row["map_high"] - row["map_mean"] == pytest.approx(half)
        assert math.isnan(row["map_sd"]) == (len(group) == 1)


def test_levels_are_never_mixed(full: StudyData) -> None:
    for level in levels(full):
        rows = level.rows(full.finished)
        assert rows["split"].nunique() == 1
        assert rows["fidelity"].nunique() == 1
        assert len(summarise_candidates(full, level)) == rows["candidate_id"].nunique()


def test_the_test_split_is_trusted_and_the_sweep_is_widest(full: StudyData) -> None:
    trusted, widest = trusted_level(full), widest_level(full)
    assert trusted is not None
    assert widest is not None
    assert (trusted.split, widest.split) == ("test", "val")
    assert widest.candidates > trusted.candidates


def test_one_confirmed_candidate_is_not_yet_a_comparison() -> None:
    build = ResultsBuilder()
    for site in (6, 8):
        build.add(f"resnet50+cnl@{site}", stage="s", kind="sweep")
    build.add("resnet50+cnl@8", stage="c", kind="confirm", split="test", epochs=120)
    trusted = trusted_level(StudyData("x", results=build.table()))
    assert trusted is not None
    assert trusted.split == "val"


@pytest.mark.parametrize(
    ("fidelity", "words"),
    [
        ("e60", "validation identities, 60 epochs"),
        ("full", "validation identities, 60 epochs"),
        ("e60-64x32-i0.5", "validation identities, 60 epochs, 64 x 32 px, 0.5 of the identities"),
        ("full-to10", "validation identities, 60 epochs, rung at epoch 10"),
        ("e60-inherit", "validation identities, 60 epochs, from the baseline's weights"),
    ],
)
def test_a_level_reads_as_words(fidelity: str, words: str) -> None:
    assert Level("val", fidelity, 60).words == words


def test_a_training_shared_by_stages_counts_once(full: StudyData) -> None:
    twice = StudyData("x", results=pd.concat([full.results, full.results.assign(stage="again")]))
    assert len(twice.finished) == len(full.finished)
    pd.testing.assert_series_equal(
        summarise_candidates(twice, widest_level(twice))["seeds"],
        summarise_candidates(full, widest_level(full))["seeds"],
    )


def test_baseline_and_reference_are_found(full: StudyData) -> None:
    summary = summarise_candidates(full, trusted_level(full))
    base, reference = baseline_row(summary, "resnet50"), reference_row(summary, "resnet50")
    assert base is not None
    assert reference is not None
    assert (base["notation"], reference["notation"]) == ("resnet50", "resnet101")


def test_hopeless_is_worse_than_plain_or_slow_and_no_better() -> None:
    build = ResultsBuilder()
    build.add("resnet50", stage="s", kind="sweep", map=0.85)
    build.add("resnet101", stage="s", kind="sweep", map=0.87, role="reference")
    build.add("resnet50+se@1", stage="s", kind="sweep", map=0.84)
    build.add("resnet50+cnl@8", stage="s", kind="sweep", map=0.86)
    build.add("resnet50+agw@1", stage="s", kind="sweep", map=0.865, latency_ms=60.0)
    build.add("resnet50+agw@2", stage="s", kind="sweep", map=0.88, latency_ms=60.0)
    data = StudyData("x", results=build.table())
    summary = summarise_candidates(data, widest_level(data))
    hopeless = summary.loc[is_hopeless(summary, "resnet50"), "notation"]
    assert set(hopeless) == {"resnet50+se@1", "resnet50+agw@1"}


def test_order_of_rows_does_not_matter(full: StudyData) -> None:
    shuffled = StudyData("x", results=full.results.sample(frac=1, random_state=np.random.RandomState(0)))
    ours = summarise_candidates(full, trusted_level(full)).set_index("notation").sort_index()
    theirs = summarise_candidates(shuffled, trusted_level(shuffled)).set_index("notation").sort_index()
    pd.testing.assert_series_equal(ours["map_mean"], theirs["map_mean"])
    pd.testing.assert_series_equal(ours["on_front"], theirs["on_front"])
