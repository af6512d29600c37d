"""The answer: who may be named, what is said instead, what a cost may be called, and the rate of false names."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from results_builders import planted, trained
from scipy.optimize import brentq
from scipy.stats import nct

from nas.progress import duration
from nas.results.answer import answer_of, cost_words
from nas.results.costs import Ratio
from nas.results.differences import to_controls
from nas.results.power import ComparisonDesign, visible_difference

PLAIN = "resnet50"
BLOCKS = [f"resnet50+se@{site}" for site in range(1, 6)]
CONFIRM = {"split": "test", "fidelity": "e60", "epochs": 60, "stage_kind": "confirm"}


def study(gain: float, sd: float = 0.001, seed: int = 0, **columns: object) -> pd.DataFrame:
    """Five placements and the plain network in three seeds; the first is better by `gain`."""
    scores = dict.fromkeys([PLAIN, *BLOCKS], 0.6) | {BLOCKS[0]: 0.6 + gain}
    rng = np.random.default_rng(seed)
    return planted(scores, shift_sd=0.02, noise_sd=sd, rng=rng, **(CONFIRM | columns))


def test_a_network_is_named_when_the_interval_for_all_compared_excludes_zero() -> None:
    found = answer_of(study(0.01))
    assert found.kind == "better"
    assert found.named == BLOCKS[0]
    assert found.confirmed
    assert found.low is not None
    assert found.high is not None
    assert found.difference is not None
    assert 0 < found.low < found.difference < found.high
    assert found.sentence.startswith("SE @ 1 is better than ResNet-50: +0.0")
    assert f"[{found.low:+.4f}, {found.high:+.4f}]" in found.sentence
    assert "5 compared in 3 seeds" in found.sentence


def test_networks_that_a_confirmation_left_at_a_rung_count_in_the_intervals_of_those_that_went_on() -> None:
    """Of intervals that hold for all that began together, those of some hold too, whoever chose them by what."""
    rung = CONFIRM | {"fidelity": "e60-to10", "epochs": 10}
    begun = [BLOCKS[0], *(f"resnet50+hac@{site}" for site in range(1, 8))]
    low = pd.concat([trained(name, [0.5, 0.51, 0.52], **rung) for name in begun])
    alone, found = answer_of(study(0.01)), answer_of(pd.concat([low, study(0.01)], ignore_index=True))
    assert (found.ended, found.compared, found.failed, found.named) == (7, 5, 0, BLOCKS[0])
    assert found.difference == alone.difference
    assert "5 compared in 3 seeds, 7 more ended at a rung; test split, 60 epochs" in found.sentence
    all_of_them = to_controls(study(0.01), ended=7).set_index("notation").loc[BLOCKS[0]]
    assert (found.low, found.high) == (all_of_them["low_all"], all_of_them["high_all"])
    assert alone.low is not None
    assert all_of_them["low_all"] < alone.low
    assert answer_of(low).confirmed is False, "nothing is confirmed at a rung"


def test_otherwise_no_placement_is_told_apart_and_the_sentence_says_what_is_possible_and_what_it_takes() -> None:
    table = study(0.0, sd=0.004)
    found = answer_of(table)
    assert found.kind == "none better"
    assert found.high is not None
    assert found.sentence.startswith("No placement is told apart from plain ResNet-50 (5 compared in 3 seeds")
    assert f"largest difference still possible is {found.high:+.4f} mAP" in found.sentence
    assert found.seeds_needed is not None
    assert found.seeds_needed > 3
    assert f"half of that takes {found.seeds_needed} seeds each (`seeds: {found.seeds_needed}`)." in found.sentence
    timed = answer_of(table.assign(seconds=60.0))
    missing = (found.seeds_needed - 3) * 6  # five candidates and a control
    assert timed.seconds_needed == pytest.approx(60 * missing)
    assert f"(`seeds: {found.seeds_needed}`, about {duration(60 * missing)} more of training)." in timed.sentence


def test_the_sentence_says_of_each_number_in_how_many_seeds_it_was_compared() -> None:
    """It said "125 compared in 5 seeds" where 110 of them were trained in one, and priced the seeds as if all had 5."""
    more = [trained(f"resnet50+cnl@{site}", [0.6], **CONFIRM, seconds=60.0) for site in range(1, 18)]
    found = answer_of(pd.concat([study(0.0, sd=0.004, seconds=60.0), *more], ignore_index=True))
    assert (found.kind, found.seeds, found.fewest) == ("none better", 3, 1)
    assert "(22 compared in 1 to 3 seeds" in found.sentence
    assert "Where a network has 3 seeds, this design sees +" in found.sentence
    assert found.seeds_needed is not None
    assert found.seconds_needed == 60 * ((found.seeds_needed - 3) * 6 + (found.seeds_needed - 1) * 17)
    elsewhere = trained(BLOCKS[0], [0.6, 0.61], first_seed=7, **CONFIRM)
    beside = pd.concat([study(0.0, sd=0.004).query("notation != @BLOCKS[0]"), elsewhere], ignore_index=True)
    assert "(5 compared in at most 3 seeds" in answer_of(beside).sentence


def test_one_sign_for_number_and_interval() -> None:
    """The number lies inside its interval: the report once printed 0.0046 with [-0.0723, +0.0631]."""
    for seed in range(5):
        found = answer_of(study(0.002, sd=0.003, seed=seed))
        assert found.low is not None
        assert found.high is not None
        assert found.difference is not None
        assert found.low < found.difference < found.high
        assert abs(found.high + found.low - 2 * found.difference) < 1e-12


def test_one_seed_names_nobody_however_large_the_difference() -> None:
    table = pd.concat([trained(PLAIN, [0.60]), trained(BLOCKS[0], [0.6479])], ignore_index=True)
    found = answer_of(table)
    assert found.kind == "one seed"
    assert found.named is None
    assert "0.0479" not in found.sentence
    assert "seeds" in found.sentence
    assert "(1 with blocks; all trainings)" in found.sentence  # the table says nothing of splits and lengths


@pytest.mark.parametrize("control", [[0.268708, 0.268708], [0.1 + 0.2, 0.3]], ids=["equal", "rounded"])
def test_equal_scores_are_no_noise_of_zero(control: list[float]) -> None:
    """Controls of two seeds that scored alike in each named a network with an interval of width 0."""
    seeds = [(seed, [score + 0.01 * seed for score in control]) for seed in (1, 2)]
    rows = [
        (PLAIN, seed, f"plain:ab{move}", score)
        for seed, own in seeds
        for move, score in zip(("", "+1"), own, strict=True)
    ]
    rows += [(BLOCKS[0], seed, "plain:ab", own[0] + 0.0018) for seed, own in seeds]
    table = pd.DataFrame(rows, columns=["notation", "seed", "start", "map"]).assign(status="finished")
    found = answer_of(table.assign(training_id=range(len(table))))
    assert (found.kind, found.named) == ("equal scores", None)
    assert "scored exactly alike" in found.sentence
    assert "0.0018" not in found.sentence
    alike = to_controls(study(0.01, sd=0.0))
    assert alike["low_all"].isna().all()
    assert alike["verdict"].eq("not told apart").all()


def test_controls_repeated_in_one_seed_name_nobody() -> None:
    """They show a training's chaos, at rounding level after an epoch, and not what another seed would say."""
    table = pd.concat([trained(PLAIN, [0.2687, 0.2688]), trained(BLOCKS[0], [0.2787])], ignore_index=True)
    found = answer_of(table.assign(seed=1, start=["plain:ab", "plain:ab+1", "plain:ab"]))
    assert (found.kind, found.named) == ("one seed", None)
    assert "no two networks were trained in the same two seeds" in found.sentence
    twice = pd.concat([trained(PLAIN, [0.60, 0.61]), trained(BLOCKS[0], [0.63])], ignore_index=True)
    found = answer_of(twice.assign(seed=[1, 2, 1]))  # the control alone in a second seed: nothing scored alike
    assert (found.kind, found.named) == ("one seed", None)
    assert "alike" not in found.sentence
    assert "0.0100" not in found.sentence


def test_without_a_control_or_a_result_the_answer_says_so() -> None:
    assert answer_of(trained(PLAIN, [None])).kind == "no result"
    assert answer_of(trained(PLAIN, [0.6, 0.61])).kind == "no control"
    found = answer_of(trained(BLOCKS[0], [0.6, 0.61]))
    assert found.kind == "no control"
    assert "was not trained beside" in found.sentence
    lost = pd.concat([trained(PLAIN, [None, None]), trained(BLOCKS[0], [0.6, 0.61])], ignore_index=True)
    assert answer_of(lost).sentence.startswith("Every training of the plain network failed beside the 1 network with")
    assert "No training has finished yet (2 failed)" in answer_of(trained(PLAIN, [None, None])).sentence
    beside = trained(BLOCKS[0], [0.6, 0.61], role="follows")
    found = answer_of(pd.concat([trained(PLAIN, [0.6, 0.61], role="baseline"), beside], ignore_index=True))
    assert found.kind == "no control"
    assert found.sentence.startswith("The one network with blocks that finished answered another question")


def test_a_network_with_a_failed_training_is_counted_and_not_named() -> None:
    table = study(0.02)
    table.loc[(table["notation"] == BLOCKS[0]) & (table["seed"] == 3), ["status", "map"]] = ["failed", np.nan]
    found = answer_of(table)
    assert found.named != BLOCKS[0] or found.kind == "none better"
    assert found.failed == 1
    assert "1 with failed trainings" in found.sentence


def test_the_confirmed_level_is_spoken_of_and_an_unconfirmed_one_says_so() -> None:
    sweep = study(0.03, stage_kind="sweep", split="val", fidelity="e20", epochs=20)
    lone = study(0.03)
    for confirmed in (lone[:0], lone[lone["notation"] == BLOCKS[0]]):  # of one network there is nothing to compare
        found = answer_of(pd.concat([sweep, confirmed], ignore_index=True))
        assert found.sentence.endswith("Not confirmed: these are not a confirm stage's trainings.")
    both = pd.concat([sweep, study(0.0, sd=0.004)], ignore_index=True)
    found = answer_of(both)
    assert found.kind == "none better"
    assert "test split, 60 epochs" in found.sentence


def test_with_select_on_test_the_choice_among_all_tried_is_paid_for() -> None:
    """The confirmed share the level of the sweep they were chosen in: the interval covers all of it."""
    alone = answer_of(study(0.01))
    many = [
        trained(f"resnet50+cnl@{site}", [0.6 + 0.001 * (site % 3)], **(CONFIRM | {"stage_kind": "sweep"}))
        for site in range(1, 18)
    ]
    among = answer_of(pd.concat([study(0.01), *many], ignore_index=True))
    assert among.compared == alone.compared + 17
    assert among.named in (None, BLOCKS[0])
    assert alone.high is not None
    assert alone.low is not None
    assert among.high is not None
    assert among.low is not None
    assert among.high - among.low > alone.high - alone.low


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Ratio(0.703, 0.68, 0.73), "with no difference in time that this measurement could see"),
        (Ratio(1.005, 0.99, 1.02), "with no difference in time that this measurement could see"),
        (Ratio(1.04, 1.03, 1.05), "for 4.0 % [3.0, 5.0] more time"),
        (Ratio(1.04, 1.04, 1.04), "for 4.0 % more time"),
        (Ratio(0.97), "at a time whose spread is not known"),
        (None, ""),
    ],
)
def test_a_network_never_saves_time_against_one_whose_layers_it_contains(change: Ratio | None, words: str) -> None:
    assert cost_words(change, "time") == words


def test_the_cheapest_of_those_not_told_apart_is_named() -> None:
    table = study(0.0)
    good = table["notation"].isin(BLOCKS[:2])
    table.loc[good, "map"] += 0.02
    times = dict(zip([PLAIN, *BLOCKS], [30.0, 33.0, 31.0, 32.0, 32.0, 32.0], strict=True))
    ms = table["notation"].map(times)
    found = answer_of(table.assign(latency_ms=ms, latency_low_ms=ms, latency_high_ms=ms))
    assert found.named == BLOCKS[1]
    assert found.equal == (BLOCKS[0],)
    assert "for 3.3 % more time" in found.sentence
    assert "Not told apart from it: SE @ 1." in found.sentence


def test_a_time_that_was_measured_without_a_spread_is_not_quoted_as_exact() -> None:
    table = study(0.01)
    ms = table["notation"].map({PLAIN: 30.0} | dict.fromkeys(BLOCKS, 31.0))
    found = answer_of(table.assign(latency_ms=ms, latency_measured=True))
    assert "at a time whose spread is not known (3.3 % more)" in found.sentence
    assert found.slower == pytest.approx(1 / 30)
    assert found.slower_low is None


def test_the_answer_is_plain_data_for_scripts() -> None:
    assert json.loads(json.dumps(answer_of(study(0.01)).to_dict(), allow_nan=False))["named"] == BLOCKS[0]
    assert json.loads(json.dumps(answer_of(study(0.0)).to_dict(), allow_nan=False))["kind"] == "none better"


@pytest.mark.slow
def test_small_form_of_the_benchmark() -> None:
    """Nothing matters: at most 5 % of studies name one. One as good as the design sees: at least 80 % name it."""
    gain = visible_difference(0.003, ComparisonDesign(candidates=5, blocks=3))
    rng = np.random.default_rng(11)
    seeds = rng.integers(0, 2**31, 24)
    false = sum(answer_of(study(0.0, sd=0.003, seed=seed)).kind == "better" for seed in seeds)
    found = [answer_of(study(gain, sd=0.003, seed=seed)) for seed in seeds]
    right = sum(BLOCKS[0] in (one.named, *one.equal) and one.kind == "better" for one in found)
    assert false <= 4  # 1.2 expected; more with a chance of 1 %
    assert right >= 14  # 19 expected; fewer with a chance of 1 %


def test_of_many_that_are_not_told_apart_the_sentence_names_a_few_and_counts_the_rest() -> None:
    good = [f"resnet50+se@{site}" for site in range(1, 16)]
    table = planted({PLAIN: 0.6} | dict.fromkeys(good, 0.7), noise_sd=0.001, **CONFIRM)
    found = answer_of(table)
    assert len(found.equal) > 5  # all of them for programs
    rest = f"and {len(found.equal) - 5} more"
    assert re.search(rf"Not told apart from it: (SE @ \d+, ){{4}}SE @ \d+ {rest}\.", found.sentence)


def test_what_a_design_sees_fits_its_intervals_where_controls_alone_tell_the_noise() -> None:
    """One training a candidate and controls in more seeds: the plan of one seed had fewer degrees of freedom."""
    rng = np.random.default_rng(5)
    rows = [trained(name, rng.normal(0.6, 0.002, 1).tolist(), start="plain:a", **CONFIRM) for name in BLOCKS]
    for move in range(4):
        rows.append(trained(PLAIN, rng.normal(0.6, 0.002, 3).tolist(), start=f"plain:a+{move}", **CONFIRM))
    table = pd.concat(rows, ignore_index=True)
    found = answer_of(table)
    assert found.kind == "none better"
    assert found.visible is not None
    gaps = to_controls(table)
    error, df = float(gaps["se"].max()), int(gaps["df"].min())
    half = float((gaps["high_all"] - gaps["difference"]).iloc[0])
    assert df > ComparisonDesign(len(BLOCKS), 1, 4).df
    assert found.visible == pytest.approx(error * brentq(lambda d: nct.sf(half / error, df, d) - 0.8, 0, 50), rel=1e-6)
    assert half < found.visible < 2 * half
