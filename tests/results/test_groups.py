"""A study's own question: group means and paired differences, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nas.errors import NasError, StudyError
from nas.results.groups import group_differences, group_means


def table(*rows: tuple[str, int, float]) -> pd.DataFrame:
    names, seeds, scores = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "notation": [f"resnet50+{name}" for name in names],
            "seed": seeds,
            "map": scores,
            "status": "finished",
            "training_id": range(len(rows)),
        }
    )


SHIFTED = table(
    *(("cnl@4", 0, 0.620), ("cnl@4", 1, 0.602), ("se@4", 0, 0.610), ("se@4", 1, 0.590)),
    *(("cnl@8", 0, 0.640), ("cnl@8", 1, 0.620), ("se@8", 0, 0.632), ("se@8", 1, 0.610)),
    *(("hac@8", 0, 0.5), ("hac@8", 1, 0.48), ("cnl@4+se@8", 0, 0.9), ("cnl@4+se@8", 1, 0.88)),
)
"""Two seeds, the second lower by 0.02 for all; a network that holds both blocks belongs to neither."""


def test_means_by_site_have_the_noise_of_their_trainings() -> None:
    found = group_means(SHIFTED, ["cnl", "se"]).set_index(["by", "group"])
    assert list(found.index) == [(4, "cnl"), (4, "se"), (8, "cnl"), (8, "se")]
    assert found["networks"].tolist() == [1] * 4
    assert found["trainings"].tolist() == [2] * 4
    gap = found.loc[(4, "cnl"), "mean"] - found.loc[(4, "se"), "mean"]
    assert gap == pytest.approx(0.611 - 0.600)
    low, mean, high = found.loc[(8, "se"), ["low", "mean", "high"]]
    assert 0 < high - mean == pytest.approx(mean - low)
    assert high - low < 0.006, "the seeds' shift is no part of it"


def test_the_difference_is_paired_by_site() -> None:
    (found,) = group_differences(SHIFTED, ["cnl", "se"])
    gaps = np.array([0.611 - 0.600, 0.630 - 0.621])
    assert found.pairs == 2
    assert found.estimate.value == pytest.approx(gaps.mean())
    assert found.estimate.se == pytest.approx(gaps.std(ddof=1) / 2**0.5)
    assert found.sentence().startswith("C-NL over SE: +0.0100 [")
    assert found.sentence().endswith("paired by site (2 sites): not told apart")


def test_a_network_with_several_blocks_counts_at_each_of_its_places() -> None:
    rows = table(("cnl@4,8", 0, 0.62), ("se@4", 0, 0.61), ("se@8", 0, 0.60), ("cnl@14", 0, 0.63))
    found = group_means(rows, ["cnl", "se"]).set_index(["by", "group"])["mean"]
    assert found.to_dict() == {(4, "cnl"): 0.62, (4, "se"): 0.61, (8, "cnl"): 0.62, (8, "se"): 0.60, (14, "cnl"): 0.63}
    by_count = group_means(rows, ["cnl", "se"], "count").set_index(["by", "group"])["mean"]
    assert by_count.to_dict() == {(1, "cnl"): 0.63, (1, "se"): pytest.approx(0.605), (2, "cnl"): 0.62}


def test_one_seed_tells_no_interval_of_a_mean_but_of_the_pairs() -> None:
    once = SHIFTED[SHIFTED["seed"] == 0]
    assert group_means(once, ["cnl", "se"])[["low", "high"]].isna().all().all()
    (found,) = group_differences(once, ["cnl", "se"])
    assert np.isfinite(found.estimate.interval()).all()
    (single,) = group_differences(once[once["notation"].str.contains("@4")], ["cnl", "se"])
    assert single.verdict() == "not told apart"
    assert "interval not known" in single.sentence()


def test_what_was_never_trained_at_one_place_is_said() -> None:
    (found,) = group_differences(table(("cnl@4", 0, 0.6), ("se@8", 0, 0.6)), ["cnl", "se"])
    assert found.pairs == 0
    assert found.sentence() == "C-NL over SE: not trained at the same sites"
    (nothing,) = group_differences(SHIFTED.iloc[:0], ["cnl", "se"])
    assert nothing.pairs == 0


def test_bad_questions_are_refused() -> None:
    with pytest.raises(StudyError, match="two or more different blocks"):
        group_means(SHIFTED, ["cnl", "cnl"])
    with pytest.raises(StudyError, match="did you mean"):
        group_means(SHIFTED, ["cnl", "se"], "sites")  # type: ignore[arg-type]
    with pytest.raises(NasError):
        group_means(SHIFTED, ["cnl", "nothing"])


def test_from_trained_weights_blocks_are_compared_in_forms_that_both_have() -> None:
    """HAC as published spoils .01 of a trained network, and is as good as C-NL (here the identity) otherwise."""
    sites = range(1, 18)
    cnl, own = (
        [(f"{name}@{n}", 0, 0.6 + 0.0001 * n) for n in sites] for name in ("cnl(fuse=gate2)", "hac(start=identity)")
    )
    spoilt = [(f"hac@{n}", 0, 0.59) for n in sites]
    warm = table(*cnl, *own, *spoilt).assign(start="plain:a")
    (found,) = group_differences(warm, ["cnl", "hac"])
    assert (found.pairs, found.estimate.value) == (17, pytest.approx(0.0))
    (unlike,) = group_differences(table(*cnl, *spoilt).assign(start="plain:a"), ["cnl", "hac"])
    assert unlike.sentence() == "C-NL over HAC: not compared, one is put in as published and the other as the identity"
    (scratch,) = group_differences(table(*cnl, *spoilt).assign(start="scratch"), ["cnl", "hac"])
    assert scratch.estimate.value == pytest.approx(0.0109)
