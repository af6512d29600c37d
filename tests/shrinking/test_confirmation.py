"""EDFs and the comparison of parent and child on fresh draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from shrinking.conftest import good_sites, make_landscape

from nas.shrinking import confirm, confirmed_findings, derive_findings
from nas.shrinking.confirmation import compare_draws
from nas.shrinking.draws import (
    Draws,
    edf,
    edf_area,
    fresh_draws,
    ks_distance,
    latency_bins,
    latency_weights,
    read_draws,
)
from nas.spaces import DesignSpace
from nas.spaces.rules import MaxBlocks


def draws(error: np.ndarray, ms: np.ndarray | float = np.nan) -> Draws:
    return Draws(np.asarray(error, float), np.broadcast_to(np.asarray(ms, float), np.shape(error)).copy())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.lists(st.floats(-0.1, 1.1), min_size=1, max_size=10))
def test_edf_is_a_share(errors: list[float], at: list[float]) -> None:
    naive = [sum(e <= a for e in errors) / len(errors) for a in at]
    np.testing.assert_allclose(edf(np.array(errors), np.array(at)), naive)


def test_area_is_the_difference_of_mean_errors() -> None:
    rng = np.random.default_rng(0)
    parent, child = draws(rng.uniform(size=9)), draws(rng.uniform(size=14))
    grid = np.linspace(-1, 2, 300_001)
    integral = np.trapezoid(edf(child.error, grid) - edf(parent.error, grid), grid)
    assert edf_area(parent, child).value == pytest.approx(integral, abs=1e-4)
    assert edf_area(parent, child).value == pytest.approx(parent.error.mean() - child.error.mean())


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_ks_distance_is_scipys(a: list[float], b: list[float]) -> None:
    parent, child = draws(np.array(a)), draws(np.array(b))
    assert ks_distance(parent, child) == pytest.approx(ks_2samp(b, a, alternative="less").statistic)


def test_failed_candidates_stay_in_the_count() -> None:
    parent, child = draws(np.array([0.1, 0.1, 0.2])), draws(np.array([0.1, 0.1, np.inf]))
    assert edf(child.error, np.array([1.0]))[0] == pytest.approx(2 / 3)
    assert edf_area(parent, child).value == pytest.approx(0.0)
    assert edf_area(parent, draws(np.array([0.1, np.inf, np.inf]))).value < 0


def test_latency_weights_make_the_distributions_equal() -> None:
    rng = np.random.default_rng(1)
    parent, child = draws(np.zeros(40), rng.uniform(30, 50, 40)), draws(np.zeros(40), rng.uniform(30, 40, 40))
    weights = latency_weights(parent, child)
    bins = latency_bins(parent, child)
    assert weights is not None
    for number in np.union1d(*bins):
        assert weights[0][bins[0] == number].sum() == pytest.approx(weights[1][bins[1] == number].sum())


def test_disjoint_latencies_have_nothing_in_common() -> None:
    parent, child = draws(np.zeros(24), np.linspace(30, 31, 24)), draws(np.zeros(24), np.linspace(50, 51, 24))
    assert compare_draws(parent, child).latency_area is None


def test_a_better_child_is_confirmed_and_a_worse_one_rejected() -> None:
    rng = np.random.default_rng(0)
    parent, better, worse = (draws(rng.normal(m, 0.002, 24)) for m in (0.13, 0.128, 0.133))
    assert compare_draws(parent, better).accepted
    assert compare_draws(parent, worse).verdict == "rejected"
    assert "worse" in compare_draws(parent, worse).reason


def test_a_neutral_shrink_is_rejected_no_more_often_than_alpha_says() -> None:
    """Both tests share the level: with a level for each of them 6.2 % were rejected."""
    rng = np.random.default_rng(0)
    rejected = [
        not compare_draws(*(draws(rng.normal(0.13, 0.002, 24)) for _ in range(2))).accepted for _ in range(1500)
    ]
    assert 0.02 < np.mean(rejected) < 0.05


def test_a_neutral_shrink_at_comparable_latency_is_rejected_no_more_often() -> None:
    rng = np.random.default_rng(1)
    rejected = []
    for seed in range(150):
        sides = [draws(rng.normal(0.13, 0.002, 24), rng.uniform(30, 40, 24)) for _ in range(2)]
        rejected.append(not compare_draws(*sides, seed=seed).accepted)
    assert np.mean(rejected) < 0.05 + 2 * (0.05 * 0.95 / 150) ** 0.5


@pytest.mark.parametrize("size", [6, 12, 24])
@pytest.mark.parametrize("shape", ["normal", "skewed", "unequal"])
def test_the_areas_interval_covers_as_often_as_it_says(size: int, shape: str) -> None:
    """A percentile bootstrap covered 91 to 94 % here."""
    rng = np.random.default_rng(size)
    drawn = {
        "normal": lambda: (rng.normal(0.13, 0.002, size), rng.normal(0.13, 0.002, size)),
        "skewed": lambda: (0.13 + rng.gamma(4.0, 0.001, size), 0.13 + rng.gamma(4.0, 0.001, size)),
        "unequal": lambda: (rng.normal(0.13, 0.004, 2 * size), rng.normal(0.13, 0.001, size)),
    }[shape]
    ends = [edf_area(*(draws(error) for error in drawn())).interval() for _ in range(1500)]
    assert 0.938 < np.mean([low <= 0 <= high for low, high in ends]) < 0.97


def test_the_areas_interval_covers_at_comparable_latency() -> None:
    rng = np.random.default_rng(5)
    held = []
    for _ in range(800):
        ms = rng.uniform(30, 40, 24), rng.uniform(30, 37, 24)
        parent, child = (draws(rng.normal(0.13, 0.001, 24), at) for at in ms)
        area = edf_area(parent, child, latency_weights(parent, child), latency_bins(parent, child))
        low, high = area.interval()
        held.append(low <= 0 <= high)
    assert 0.93 < np.mean(held) < 0.97


def test_what_a_seed_moves_for_all_alike_is_not_counted() -> None:
    """Trainings lost in one seed only: without blocks the child would look worse by half of the seed's shift."""
    rng = np.random.default_rng(2)
    shift = {0: 0.0, 1: -0.02}
    rows = [
        {"notation": f"resnet50+{block}@{site}", "seed": seed, "status": "finished", "map": 0.6 + shift[seed]}
        for block in ("cnl", "se")
        for site in range(1, 13)
        for seed in (0, 1)
    ]
    table = pd.DataFrame(rows)
    table["map"] += rng.normal(0, 0.0005, len(table))
    parent, child = table[table["notation"].str.contains("cnl")], table[table["notation"].str.contains("se@")]
    lost = child["seed"].eq(0) & child["notation"].isin([f"resnet50+se@{site}" for site in range(1, 10)])
    decision = confirm(parent, child[~lost])
    assert decision.accepted
    assert decision.area == pytest.approx(0.0, abs=0.0005)
    assert not confirm(parent.drop(columns="seed"), child[~lost].drop(columns="seed")).accepted


def test_a_child_that_is_only_cheaper_is_compared_at_its_latency() -> None:
    """Fewer blocks, lower mAP, less time: worse as a whole, yet no worse than the parent at the same time."""
    rng = np.random.default_rng(3)
    ms = rng.uniform(30, 40, 60)
    parent = draws(0.2 - 0.002 * ms + rng.normal(0, 0.0005, 60), ms)
    cheap = rng.uniform(30, 36, 60)
    child = draws(0.2 - 0.002 * cheap + rng.normal(0, 0.0005, 60) - 0.001, cheap)
    decision = compare_draws(parent, child)
    assert decision.area is not None
    assert decision.area < 0
    assert decision.accepted


def test_fresh_draws_have_every_number_of_blocks(space: DesignSpace) -> None:
    counts = [len(c.placements) for c in fresh_draws(space, 20, np.random.default_rng(0))]
    assert {n: counts.count(n) for n in sorted(set(counts))} == dict.fromkeys(range(1, 6), 4)
    counts = [len(c.placements) for c in fresh_draws(space, 10, np.random.default_rng(0), {1, 2})]
    assert sorted(counts) == [1] * 5 + [2] * 5
    assert len(fresh_draws(space.restrict([MaxBlocks(count=1)]), 500, np.random.default_rng(0))) == 68


def test_few_draws_confirm_nothing() -> None:
    decision = compare_draws(draws(np.zeros(3)), draws(np.zeros(30)))
    assert decision.verdict == "not enough data"
    assert not decision.accepted


def test_draws_read_tables() -> None:
    table = pd.DataFrame(
        {
            "notation": ["resnet50+cnl@8", "resnet50+cnl@8", "resnet50+cnl@9", "resnet50+cnl@10"],
            "map": [0.8, 0.9, np.nan, 0.7],
            "status": ["finished", "finished", "failed", "finished"],
            "training_id": [1, 2, 3, 4],
            "latency_ms": [37.0, 37.0, np.nan, np.nan],
        }
    )
    known = pd.DataFrame({"notation": ["resnet50+cnl@9"], "latency_ms": [38.0]})
    read, empty = read_draws(table, table.iloc[:0], known)
    assert sorted(read.error) == [pytest.approx(0.15), pytest.approx(0.3), np.inf]
    np.testing.assert_array_equal(np.sort(read.latency_ms), [37.0, 38.0, np.nan])
    assert len(empty) == 0


def test_same_seed_same_decision() -> None:
    rng = np.random.default_rng(0)
    parent, child = draws(rng.normal(size=20), rng.uniform(size=20)), draws(rng.normal(size=20), rng.uniform(size=20))
    assert compare_draws(parent, child, seed=4) == compare_draws(parent, child, seed=4)


def test_a_rejected_shrink_is_undone_and_says_so(space: DesignSpace, sweep: Callable[..., pd.DataFrame]) -> None:
    table = sweep(make_landscape(site_gain=good_sites([6, 8, 14]), count_limit=3))
    findings = derive_findings(table, space, families=["sites", "count", "block_preference"])
    worse = table.assign(map=table["map"] - 0.01)
    undone = confirmed_findings(findings, confirm(table, worse))
    assert [f.verdict for f in findings if f.adopted and f.rule.is_hard]
    assert not [f for f in undone if f.adopted and f.rule.is_hard]
    fallen = [f for f, before in zip(undone, findings, strict=True) if before.adopted and before.rule.is_hard]
    assert all(f.verdict == "rejected" and f.reason.startswith("not confirmed") for f in fallen)
    assert all(f.evidence.confirmation["verdict"] == "rejected" for f in fallen)
    kept = confirmed_findings(findings, confirm(table, table))
    assert [f.verdict for f in kept] == [f.verdict for f in findings]
    assert all(f.evidence.confirmation for f in kept if f.adopted and f.rule.is_hard)
