"""Two components of noise: against a plain least-squares fit, against planted values, and when nothing is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from results_builders import planted, trained

from nas.results.noise import block_codes, block_effects, noise_of

NAMES = [f"resnet50+se@{site}" for site in range(1, 13)]


def naive_single(table: pd.DataFrame) -> tuple[float, int]:
    """Residual sd of map ~ candidate + seed, by dummies and one least-squares fit."""
    design = np.hstack([pd.get_dummies(table[name]).to_numpy(float) for name in ("notation", "seed")])
    value = table["map"].to_numpy(float)
    fitted = design @ np.linalg.lstsq(design, value, rcond=None)[0]
    df = len(value) - int(np.linalg.matrix_rank(design))
    return math.sqrt(float(np.square(value - fitted).sum()) / df), df


@pytest.mark.parametrize("kept", [1.0, 0.7])
def test_single_noise_equals_the_two_way_fit_balanced_or_not(kept: float) -> None:
    table = planted(dict.fromkeys(NAMES, 0.6), shift_sd=0.02, noise_sd=0.003)
    table = table[np.random.default_rng(1).random(len(table)) < kept].reset_index(drop=True)
    sd, df = naive_single(table)
    noise = noise_of(table)
    assert noise.single.sd == pytest.approx(sd)
    assert noise.single.df == df


def test_components_are_those_planted_on_average() -> None:
    rng = np.random.default_rng(2)
    scores = dict(zip(NAMES, rng.normal(0.6, 0.01, len(NAMES)), strict=True))
    found = [noise_of(planted(scores, seeds=range(6), shift_sd=0.02, noise_sd=0.004, rng=rng)) for _ in range(300)]
    assert np.mean([noise.single.sd**2 for noise in found]) == pytest.approx(0.004**2, rel=0.1)
    assert np.mean([noise.shared.sd**2 for noise in found]) == pytest.approx(0.02**2, rel=0.35)
    assert np.mean([noise.whole.sd**2 for noise in found]) == pytest.approx(0.02**2 + 0.004**2, rel=0.35)
    assert {(noise.single.df, noise.shared.df) for noise in found} == {(55.0, 5.0)}


def test_a_seeds_shift_is_not_counted_as_noise_of_a_training() -> None:
    table = planted(dict.fromkeys(NAMES, 0.6), seeds=(1, 2), shift_sd=0.05, noise_sd=0.0)
    noise = noise_of(table)
    assert noise.single.sd == pytest.approx(0.0, abs=1e-12)
    assert noise.shared.sd > 0.001


def test_with_one_seed_noise_is_unknown_and_not_zero() -> None:
    noise = noise_of(planted(dict.fromkeys(NAMES, 0.6), seeds=(1,), noise_sd=0.01))
    assert not noise.known
    assert math.isnan(noise.single.sd)
    assert math.isnan(noise.whole.sd)
    assert noise.single.df == noise.whole.df == 0


def test_repeats_of_the_control_in_one_seed_tell_a_training_s_noise_but_not_a_seed_s() -> None:
    table = pd.concat([trained("resnet50", [value]) for value in (0.60, 0.61, 0.62)], ignore_index=True)
    noise = noise_of(table)
    assert noise.single.sd == pytest.approx(0.01)
    assert noise.single.df == 2
    assert not noise.whole.known


def test_without_seeds_in_the_table_replicates_are_all_the_noise_there_is() -> None:
    table = pd.concat([trained(name, [0.60, 0.62]) for name in NAMES[:3]]).drop(columns="seed")
    noise = noise_of(table)
    assert noise.single.sd == noise.whole.sd == pytest.approx(math.sqrt(0.0002))
    assert noise.single.df == 3


def test_candidates_that_share_no_seed_leave_only_the_sum_of_both() -> None:
    table = pd.concat([trained(name, [0.60, 0.62], first_seed=10 * i) for i, name in enumerate(NAMES[:3])])
    noise = noise_of(table)
    assert not noise.single.known
    assert noise.whole.sd == pytest.approx(math.sqrt(0.0002))
    assert noise.whole.df == 3


def test_failed_trainings_are_not_averaged() -> None:
    table = planted(dict.fromkeys(NAMES, 0.6), noise_sd=0.003)
    lost = pd.concat([table, trained("resnet50+se@13", [None, None, None])], ignore_index=True)
    assert noise_of(lost) == noise_of(table)


def test_another_start_is_another_block() -> None:
    first = planted(dict.fromkeys(NAMES, 0.60), seeds=(1,), start="a")
    second = planted(dict.fromkeys(NAMES, 0.65), seeds=(1,), start="b")
    noise = noise_of(pd.concat([first, second], ignore_index=True))
    assert noise.blocks == 2
    assert noise.single.sd == pytest.approx(0.0, abs=1e-12)
    assert noise.shared.sd == pytest.approx(0.05 / math.sqrt(2))


def test_block_effects_are_the_seeds_shifts_whatever_candidates_each_seed_had() -> None:
    good = trained("resnet50+se@1", [0.70, 0.72, 0.71])
    poor = trained("resnet50+se@2", [0.50, 0.52])
    once = trained("resnet50+se@3", [0.9], first_seed=3)
    table = pd.concat([good, poor, once], ignore_index=True)
    effects = block_effects(table)
    by_seed = dict(zip(table["seed"], effects, strict=True))
    assert by_seed[2] - by_seed[1] == pytest.approx(0.02)
    assert by_seed[3] - by_seed[1] == pytest.approx(0.01)
    assert effects[:5].sum() == pytest.approx(0.0)


def test_shrunk_effects_are_nearer_to_the_truth_than_estimates() -> None:
    """Two networks tell of each seed, whose shift is no larger than noise: estimates add noise, predictions less."""
    rng, gained = np.random.default_rng(3), []
    for _ in range(200):
        shifts = rng.normal(0.0, 0.002, 4)
        rows = [
            {
                "notation": NAMES[i],
                "seed": seed,
                "status": "finished",
                "map": 0.6 + shifts[seed] + rng.normal(0.0, 0.004),
            }
            for seed in range(4)
            for i in range(2)
        ]
        table, truth = pd.DataFrame(rows), np.repeat(shifts - shifts.mean(), 2)
        estimates, predictions = block_effects(table), block_effects(table, shrunk=True)
        gained.append(np.square(estimates - truth).mean() - np.square(predictions - truth).mean())
    assert np.mean(gained) > 2 * np.std(gained) / math.sqrt(len(gained))
    sharp = planted(dict.fromkeys(NAMES, 0.6), shift_sd=0.02, noise_sd=0.0001)
    assert block_effects(sharp, shrunk=True) == pytest.approx(block_effects(sharp), abs=1e-5)
    assert (
        block_effects(trained("resnet50+se@1", [0.5, 0.6]), shrunk=True) == 0
    ).all()  # of one network: noise or seed?


def test_a_control_whose_weights_were_moved_is_in_the_block_of_its_start() -> None:
    starts = ["plain:0a", "plain:0a+1", "plain:0a+2", "plain:0b", "plain:0b+1"]
    table = pd.DataFrame({"start": starts, "seed": [1, 1, 2, 1, 1]})
    assert block_codes(table).tolist() == [0, 0, 1, 2, 2]


def test_tables_put_together_lose_no_training() -> None:
    """Ids are one database's, and a file of trainings may have none: rows of equal or no id used to be one training."""
    first = planted(dict.fromkeys(NAMES, 0.6), shift_sd=0.02, noise_sd=0.003)
    first["training_id"] = range(len(first))
    other = first.assign(map=first["map"] + 0.001)
    assert noise_of(pd.concat([first, other], ignore_index=True)).trainings == 2 * len(first)
    nameless = pd.concat([first, other.drop(columns="training_id")], ignore_index=True)
    assert noise_of(nameless).trainings == 2 * len(first)
    asked_twice = pd.concat([first.assign(stage="sweep"), first.assign(stage="confirm")], ignore_index=True)
    assert noise_of(asked_twice).trainings == len(first)


def test_an_empty_table_has_no_blocks() -> None:
    """A search asks before anything comparable was trained."""
    empty = trained(NAMES[0], [0.5], start="scratch").iloc[:0]
    assert len(block_codes(empty)) == 0
    assert len(block_effects(empty)) == 0
