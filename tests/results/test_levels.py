"""Levels: what is compared with what, which is quoted, and what a candidate's row says."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from results_builders import trained
from scipy.stats import t as student

from nas.errors import StudyError
from nas.results.choice import most_accurate
from nas.results.columns import failed, finished, trainings
from nas.results.levels import Level, candidates, is_plain, levels, quoted_level, widest_level

PLAIN, BLOCK = "resnet50", "resnet50+se@8"
SHIFTS = np.array([0.0, 0.1, 0.2])
SWEEP = {"split": "val", "fidelity": "e20", "epochs": 20, "stage_kind": "sweep"}
CONFIRM = {"split": "test", "fidelity": "e60", "epochs": 60, "stage_kind": "confirm"}


def study(**confirm: object) -> pd.DataFrame:
    """Five candidates and the plain network in one seed, of which one is confirmed in three."""
    names = [PLAIN, *(f"resnet50+se@{site}" for site in range(1, 6))]
    parts = [trained(name, [0.5 + 0.01 * i], **SWEEP) for i, name in enumerate(names)]
    parts += [trained(name, [0.6, 0.62, 0.61], **(CONFIRM | confirm)) for name in (PLAIN, "resnet50+se@5")]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(training_id=range(len(table)))


def test_trainings_of_different_lengths_splits_and_starts_are_never_one_level() -> None:
    table = pd.concat(
        [
            trained(PLAIN, [0.5], split="val", fidelity="e20"),
            trained(PLAIN, [0.6], split="val", fidelity="e60"),
            trained(PLAIN, [0.4], split="test", fidelity="e20"),
            trained(PLAIN, [0.7], split="val", fidelity="e20", start="plain:0a1b2c"),
            trained(PLAIN, [0.8], split="val", fidelity="e20", start="plain:3d4e5f"),
            trained(PLAIN, [0.9], split="val", fidelity="e20", dataset_id="other"),
        ],
        ignore_index=True,
    )
    found = levels(table)
    assert len(found) == 5
    warm = next(level for level in found if level.start == "plain")
    assert warm.rows(table)["map"].tolist() == [0.7, 0.8]  # which plain network it was is a block within the level
    assert "trained plain network" in warm.words


def test_a_table_without_a_start_was_trained_from_scratch() -> None:
    assert [level.start for level in levels(trained(PLAIN, [0.5]))] == ["scratch"]


def test_the_quoted_level_is_the_deepest_that_was_confirmed() -> None:
    found = levels(study())
    assert quoted_level(found) == Level("test", "e60")
    assert widest_level(found) == Level("val", "e20")


def test_without_a_confirm_stage_the_deepest_with_a_control_is_quoted() -> None:
    table = study()
    table = table[table["stage_kind"] == "sweep"]
    longer = pd.concat([table, trained(BLOCK, [0.6], split="val", fidelity="e60", epochs=60, stage_kind="search")])
    chosen = quoted_level(levels(longer))
    assert chosen == Level("val", "e20")
    assert chosen is not None
    assert not chosen.confirmed
    assert quoted_level([]) is None


def in_unequal_blocks() -> pd.DataFrame:
    """Everything in seed 1, with nine controls there; two networks confirmed in two more, which lie 0.01 higher."""
    level = {"split": "test", "fidelity": "e4", "epochs": 4}
    shift = {1: 0.0, 2: 0.01, 3: 0.01}
    worth = {PLAIN: 0.60, "resnet50+se@1": 0.599, "resnet50+se@2": 0.602, BLOCK: 0.61}
    rows = [
        {"notation": name, "seed": 1, "map": value, "stage_kind": "sweep", "start": "plain:ab" + "+1" * (name == PLAIN)}
        for name, value in worth.items()
        for _ in range(9 if name == PLAIN else 1)
    ]
    rows += [
        {"notation": name, "seed": seed, "map": worth[name] + shift[seed], "stage_kind": "confirm", "start": "plain:ab"}
        for name in (PLAIN, "resnet50+se@1", BLOCK)
        for seed in (2, 3)
    ]
    table = pd.DataFrame(rows).assign(status="finished", rank1=0.8, **level)
    return table.assign(training_id=range(len(table)))


def test_many_controls_in_one_seed_are_one_seed() -> None:
    """Nine of thirteen lay in the lowest seed, and the plain network stood below what is worse in every seed."""
    table = in_unequal_blocks()
    level = quoted_level(levels(table))
    assert level is not None
    found = candidates(table, level).set_index("notation")
    third = 2 * 0.01 / 3  # what the two higher seeds of three add to a mean
    assert found["map_mean"].to_dict() == pytest.approx(
        {PLAIN: 0.60 + third, "resnet50+se@1": 0.599 + third, "resnet50+se@2": 0.602, BLOCK: 0.61 + third}
    )
    assert found.loc[PLAIN, "map_sd"] == pytest.approx(np.std([0.60, 0.61, 0.61], ddof=1))
    assert found.loc[PLAIN, ["seeds", "trainings"]].tolist() == [3, 11]
    cheap = dict.fromkeys(found.index, 1.0) | {PLAIN: 0.5, BLOCK: 9.0}
    chosen = most_accurate(table, level, cheap, 2.0)
    assert chosen is not None
    assert chosen.best == PLAIN


def test_what_other_seeds_moved_is_taken_out_before_means_are_compared() -> None:
    table = in_unequal_blocks()
    found = candidates(table, quoted_level(levels(table))).set_index("notation")
    ranked = found["map_adjusted"].astype(float)
    assert ranked["resnet50+se@2"] == pytest.approx(0.602 + 2 * 0.01 / 3)  # it has seed 1 alone
    quoted = found.index[found["quoted"].astype(bool)]
    assert (ranked[quoted] == found["map_mean"][quoted]).all()  # their numbers are what they are
    alone = candidates(table[table["seed"] == 1], levels(table[table["seed"] == 1])[0])
    assert (alone["map_adjusted"] == alone["map_mean"]).all()


def test_bars_beside_others_hold_what_is_left_when_seeds_move_all_alike() -> None:
    """Three seeds lie 0.1 apart for all; two networks depart from that by 0.001, up and down."""
    left = np.array([0.001, -0.001, 0.0])
    table = pd.concat(
        [trained(PLAIN, list(0.5 + SHIFTS + left)), trained(BLOCK, list(0.6 + SHIFTS - left))], ignore_index=True
    )
    found = candidates(table, levels(table)[0]).set_index("notation")
    rest = math.sqrt(4e-6 / 2)  # sum of squares over 6 - 2 - 2 degrees of freedom
    assert found["map_beside"].to_list() == pytest.approx([student.ppf(0.975, 2) * rest / math.sqrt(3)] * 2)
    assert (found["map_sd"] > 0.099).all()
    alone = candidates(table[table["notation"] == PLAIN], levels(table)[0])  # nothing tells what is moved for all
    assert alone["map_beside"].tolist() == pytest.approx((alone["map_high"] - alone["map_mean"]).tolist())
    uneven = in_unequal_blocks()
    uneven["map"] += 1e-4 * np.sin(uneven.index)  # scores without any noise have no bars
    controls = candidates(uneven, quoted_level(levels(uneven))).set_index("notation")
    wide = controls["map_beside"] / controls.loc["resnet50+se@2", "map_beside"]  # one training, in one seed
    assert wide[BLOCK] == pytest.approx(math.sqrt(1 / 3))
    assert wide[PLAIN] == pytest.approx(math.sqrt(1 / 9 + 2) / 3)


def test_with_select_on_test_only_the_confirmed_are_to_quote() -> None:
    """One-seed rows of the sweep share the level of the confirmed ones; they stand there, but not to quote."""
    table = study(fidelity="e20", epochs=20)
    table["split"] = "test"
    level = quoted_level(levels(table))
    found = candidates(table, level).set_index("notation")
    assert found["quoted"].to_dict() == {
        name: name in (PLAIN, "resnet50+se@5") for name in [PLAIN, *(f"resnet50+se@{site}" for site in range(1, 6))]
    }
    assert found["seeds"].to_dict()["resnet50+se@1"] == 1
    assert found["seeds"].to_dict()["resnet50+se@5"] == 3


def test_failed_trainings_stay_last_and_counted() -> None:
    table = pd.concat(
        [trained("resnet50+se@1", [None, None]), trained(BLOCK, [0.6, None, 0.62]), trained(PLAIN, [0.5, 0.51, 0.52])],
        ignore_index=True,
    )
    found = candidates(table, levels(table)[0])
    assert found["notation"].tolist() == [BLOCK, PLAIN, "resnet50+se@1"]
    assert found["failed"].tolist() == [1, 0, 2]
    assert found["seeds"].tolist() == [2, 3, 0]
    assert found["map_mean"].iloc[0] == pytest.approx(0.61)
    assert math.isnan(found["map_mean"].iloc[2])


def test_an_interval_from_one_seed_is_not_known() -> None:
    table = pd.concat([trained(PLAIN, [0.5]), trained(BLOCK, [0.6])], ignore_index=True)
    found = candidates(table, levels(table)[0])
    assert found[["map_low", "map_high", "map_sd"]].isna().all(axis=None)


def test_a_finished_training_without_a_number_has_failed() -> None:
    table = trained(PLAIN, [0.5, 0.6, 0.7])
    table.loc[1, "map"] = np.nan
    table.loc[2, "map"] = np.inf
    assert len(finished(table)) == 1
    assert len(failed(table)) == 2


def test_a_table_without_the_metric_is_named() -> None:
    with pytest.raises(StudyError, match="no column 'map'"):
        levels(trained(PLAIN, [0.5]).drop(columns="map"))


def test_plain_networks_are_those_without_blocks() -> None:
    names = ("resnet50", "resnet50(width=0.25)", "resnet50[base_lr=0.001]", "resnet50+se@1", "resnet50+mine:Block@1")
    assert [is_plain(name) for name in names] == [True, True, True, False, False]


@pytest.mark.parametrize(("kind", "role"), [("search", "candidate"), ("test_rules", "plain")])
def test_what_was_confirmed_stays_so_when_a_later_stage_asks_for_it_again(kind: str, role: str) -> None:
    """The later row of a training once hid that it was confirmed, or that it is a control at all."""
    table = study(fidelity="e20", epochs=20)
    asked = table[table["stage_kind"] == "confirm"]
    both = pd.concat([table, asked.assign(stage_kind=kind, role=role)])
    before, after = quoted_level(levels(table)), quoted_level(levels(both))
    assert before is not None
    assert after is not None
    assert (after.split, after.confirmed, after.controlled, after.candidates) == ("test", True, True, before.candidates)
    alone, again = candidates(table, after), candidates(both, after)
    assert again.set_index("notation")["quoted"].to_dict() == alone.set_index("notation")["quoted"].to_dict()
    assert len(finished(both)) == len(finished(table))


def test_a_table_that_shares_no_training_is_taken_as_it_is() -> None:
    """To put its rows in order and copy them took twice as long, for every summary of a study."""
    table = study()
    assert trainings(table) is table
    shared = pd.concat([table, table.iloc[[3]]])  # a name twice, as in tables put together
    assert trainings(shared)["training_id"].tolist() == [0, 1, 2, *range(4, len(table)), 3]


def test_plain_networks_alone_are_no_level_to_quote_while_others_can_be_compared() -> None:
    """A confirm stage trains the plain networks first; until it has more, the sweep's comparison is the answer."""
    table = study()
    begun = table[table["stage_kind"].eq("sweep") | table["notation"].eq(PLAIN)]
    other = trained("resnet101", [0.61], **CONFIRM)
    more = pd.concat([begun, other.assign(training_id=99)], ignore_index=True)
    assert quoted_level(levels(more)) == Level("val", "e20")
