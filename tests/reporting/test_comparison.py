"""Means, spreads and fronts of a study against loops."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from reporting_builders import ResultsBuilder
from scipy import stats

from nas.reporting.figures import MapByPosition
from nas.reporting.study_data import StudyData, mark_front
from nas.results.levels import Level, plain_row, reference_row
from nas.results.noise import noise_of


def test_front_never_holds_what_was_not_measured_or_is_not_to_quote() -> None:
    table = pd.DataFrame(
        {
            "latency_ms": [1.0, math.nan, 2.0, 0.5, 0.1],
            "map_adjusted": [0.5, 0.9, math.nan, 0.6, 0.9],
            "latency_measured": [True, True, True, False, True],
            "quoted": [True, True, True, True, False],
        }
    )
    assert mark_front(table, "latency_ms")["on_front"].tolist() == [True, False, False, False, False]


def test_summary_agrees_with_a_loop_over_candidates(full: StudyData) -> None:
    level = full.widest
    assert level is not None
    rows = level.rows(full.finished)
    whole = noise_of(rows).whole
    summary = full.candidates(level).set_index("notation")
    for notation, group in rows.groupby("notation"):
        row = summary.loc[notation]
        half = stats.t.ppf(0.975, whole.df) * whole.sd / math.sqrt(len(group))
        assert row["map_mean"] == pytest.approx(group["map"].mean())
        assert row["seeds"] == len(group)
        assert row["map_high"] - row["map_mean"] == pytest.approx(half)
        assert math.isnan(row["map_sd"]) == (len(group) == 1)


def test_levels_are_never_mixed(full: StudyData) -> None:
    for level in full.levels:
        rows = level.rows(full.finished)
        assert rows["split"].nunique() == 1
        assert rows["fidelity"].nunique() == 1
        assert len(full.candidates(level)) == rows["candidate_id"].nunique()


def test_the_test_split_is_trusted_and_the_sweep_is_widest(full: StudyData) -> None:
    trusted, widest = full.quoted, full.widest
    assert trusted is not None
    assert widest is not None
    assert (trusted.split, widest.split) == ("test", "val")
    assert widest.candidates > trusted.candidates


def test_one_confirmed_candidate_is_not_yet_a_comparison() -> None:
    build = ResultsBuilder()
    for site in (6, 8):
        build.add(f"resnet50+cnl@{site}", stage="s", kind="sweep")
    build.add("resnet50+cnl@8", stage="c", kind="confirm", split="test", epochs=120)
    trusted = StudyData("x", results=build.table()).quoted
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
        twice.candidates(twice.widest)["seeds"],
        full.candidates(full.widest)["seeds"],
    )


def test_baseline_and_reference_are_found(full: StudyData) -> None:
    summary = full.candidates(full.quoted)
    base, reference = plain_row(summary, "resnet50"), reference_row(summary, "resnet50")
    assert base is not None
    assert reference is not None
    assert (base["notation"], reference["notation"]) == ("resnet50", "resnet101")


def test_hopeless_is_told_to_be_worse_than_plain_or_slow_and_no_better() -> None:
    build = ResultsBuilder()
    known = {"latency_low_ms": 35.0, "latency_high_ms": 37.0}
    build.add("resnet50", stage="s", kind="sweep", map=0.85, **known)
    maps = {"resnet50+se@1": 0.84, "resnet50+se@2": 0.8499, "resnet50+cnl@8": 0.86, "resnet50+agw@1": 0.865}
    for notation, value in (maps | {"resnet50+agw@2": 0.88}).items():
        slow = {"latency_ms": 60.0, "latency_low_ms": 59.0, "latency_high_ms": 61.0} if "agw" in notation else known
        build.add(notation, stage="s", kind="sweep", map=value, **slow)
    middle = {"latency_ms": 53.0, "latency_low_ms": 52.0, "latency_high_ms": 54.0}
    build.add("resnet101", stage="s", kind="sweep", map=0.87, role="reference", **middle)
    table = build.table()
    again = table.assign(seed=2, training_id=table["training_id"] + 100)
    noise = np.random.default_rng(0).normal(0, 0.0003, 2 * len(table))
    both = pd.concat([table, again], ignore_index=True)
    data = StudyData("x", results=both.assign(map=both["map"] + noise))
    drawn = MapByPosition().table(data)
    assert set(drawn.loc[drawn["hopeless"].eq(True), "notation"]) == {"resnet50+se@1", "resnet50+agw@1"}


def test_order_of_rows_does_not_matter(full: StudyData) -> None:
    shuffled = StudyData("x", results=full.results.sample(frac=1, random_state=np.random.RandomState(0)))
    ours = full.candidates(full.quoted).set_index("notation").sort_index()
    theirs = shuffled.candidates(shuffled.quoted).set_index("notation").sort_index()
    pd.testing.assert_series_equal(ours["map_mean"], theirs["map_mean"])
    pd.testing.assert_series_equal(ours["on_front"], theirs["on_front"])
