"""Differences to a control: by hand, signs, what is not known, and the rate of false alarms."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from results_builders import planted, trained

from nas.results.columns import Metric
from nas.results.differences import difference, to_controls, verdict_of
from nas.results.intervals import simultaneous_quantile
from nas.results.noise import noise_of

PLAIN, BLOCK = "resnet50", "resnet50+se@8"


def both(first: list[float | None], second: list[float | None], **columns: int) -> pd.DataFrame:
    return pd.concat([trained(BLOCK, first), trained(PLAIN, second, **columns)], ignore_index=True)


def test_a_paired_difference_is_a_minus_b_and_the_seeds_shift_drops_out() -> None:
    found = difference(both([0.61, 0.71, 0.55], [0.60, 0.69, 0.55]), BLOCK, PLAIN)
    gaps = np.array([0.01, 0.02, 0.00])
    assert found.estimate.value == pytest.approx(0.01)
    # With two networks the two-way fit leaves what the paired t test has.
    assert found.estimate.se == pytest.approx(gaps.std(ddof=1) / math.sqrt(3))
    assert found.estimate.df == 2
    assert found.blocks == 3
    low, high = found.estimate.interval()
    assert low < 0.01 < high
    turned = difference(both([0.61, 0.71, 0.55], [0.60, 0.69, 0.55]), PLAIN, BLOCK).estimate
    assert turned.value == pytest.approx(-0.01)
    assert turned.interval() == pytest.approx((-high, -low))


def test_only_common_blocks_are_compared() -> None:
    found = difference(both([0.61, 0.71, 0.95], [0.60, 0.69]), BLOCK, PLAIN)
    assert found.estimate.value == pytest.approx(0.015)
    assert found.blocks == 2
    assert found.trainings == (2, 2)


def test_different_seeds_are_compared_with_the_seeds_noise_in_the_error() -> None:
    table = both([0.61, 0.63], [0.60, 0.62], first_seed=11)
    found = difference(table, BLOCK, PLAIN)
    assert found.blocks == 0
    assert found.estimate.se == pytest.approx(noise_of(table).whole.sd * math.sqrt(1 / 2 + 1 / 2))


def test_repeats_of_the_control_in_a_block_make_its_mean_surer() -> None:
    table = pd.concat(
        [trained(BLOCK, [0.62, 0.63]), *(trained(PLAIN, [0.60 + d, 0.61 - d]) for d in (0.0, 0.002, -0.001))],
        ignore_index=True,
    )
    found = difference(table, BLOCK, PLAIN)
    single = noise_of(table).single.sd
    assert found.estimate.se == pytest.approx(single * math.sqrt((2 * (1 + 1 / 3)) / 4))
    assert found.trainings == (2, 6)


def test_one_seed_gives_a_difference_whose_error_is_not_known() -> None:
    table = both([0.6479], [0.60])
    found = difference(table, BLOCK, PLAIN)
    assert found.estimate.value == pytest.approx(0.0479)
    assert all(math.isnan(end) for end in found.estimate.interval())
    assert found.verdict() == "not told apart"
    assert to_controls(table)["verdict"].tolist() == ["not told apart"]


def test_failed_trainings_are_counted_and_never_averaged() -> None:
    found = difference(both([0.61, None, 0.55], [0.60, 0.69, 0.55]), BLOCK, PLAIN)
    assert found.failed == (1, 0)
    assert found.estimate.value == pytest.approx(0.005)
    row = to_controls(both([None, None, None], [0.60, 0.69, 0.55])).iloc[0]
    assert row["failed"] == 3
    assert math.isnan(row["difference"])
    assert row["verdict"] == "not told apart"


def test_a_table_without_the_control_says_so() -> None:
    row = to_controls(trained(BLOCK, [0.61, 0.62])).iloc[0]
    assert row["control"] is None
    assert row["verdict"] == "not told apart"


def test_the_control_has_the_candidates_width_and_recipe_values_where_it_was_trained_so() -> None:
    narrow = "resnet50(width=0.25)"
    table = pd.concat(
        [trained(name, [0.6, 0.61]) for name in (narrow, PLAIN, f"{PLAIN}[base_lr=0.0007]")]
        + [trained(name, [0.7, 0.71]) for name in (f"{narrow}+se@8", f"{BLOCK}[base_lr=0.0007]", BLOCK)]
    )
    found = to_controls(table).set_index("notation")["control"].to_dict()
    assert found == {
        f"{narrow}+se@8": narrow,
        f"{BLOCK}[base_lr=0.0007]": f"{PLAIN}[base_lr=0.0007]",
        BLOCK: PLAIN,
    }


def test_verdicts_follow_the_metrics_direction() -> None:
    error = Metric("error", "error rate", "%", more_is_better=False)
    assert verdict_of((0.1, 0.2)) == "better"
    assert verdict_of((0.1, 0.2), metric=error) == "worse"
    assert verdict_of((-0.2, -0.1), metric=error) == "better"
    assert verdict_of((-0.0004, 0.0003), margin=0.0005) == "equal"
    assert verdict_of((-0.0004, 0.0003)) == "not told apart"


def test_a_choice_among_many_quotes_intervals_that_hold_together() -> None:
    names = dict.fromkeys([PLAIN, *(f"resnet50+se@{site}" for site in range(1, 13))], 0.6)
    table = to_controls(planted(names, shift_sd=0.01, noise_sd=0.003))
    sd, df = noise_of(planted(names, shift_sd=0.01, noise_sd=0.003)).single.sd, 24
    half = simultaneous_quantile([0.5] * 12, df) * sd * math.sqrt(2 / 3)
    assert (table["high_all"] - table["difference"]).to_numpy() == pytest.approx(half)
    assert (table["high"] - table["low"] < table["high_all"] - table["low_all"]).all()
