"""Samples, designs and the regression, against naive forms and statsmodels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from shrinking.conftest import BLOCKS, good_sites, make_landscape, parse

from nas.shrinking.design import SEEDS, DesignChoice, build_design, families_of, pairs_apart, pairs_in_one_stage
from nas.shrinking.effects import _inside, _solve, fit_effects
from nas.shrinking.sample import draw_samples, unbiased_rows
from nas.shrinking.saturation import saturation
from nas.spaces import Candidate, get_block_spec, get_topology
from nas.testing.landscapes import landscape_table

Sweep = Callable[..., pd.DataFrame]
PLAIN = DesignChoice(nearest=2, pairs=False, mix=False, params=False)


def rows(*entries: tuple[str, float | None, str]) -> pd.DataFrame:
    table = pd.DataFrame(entries, columns=["notation", "map", "status"])
    return table.assign(map=table["map"].astype(float), training_id=range(1, len(table) + 1))


def test_replicates_are_gathered_and_failures_counted() -> None:
    sample = draw_samples(
        rows(
            ("resnet50+cnl@8", 0.8, "finished"),
            ("resnet50+cnl@8", 0.82, "finished"),
            ("resnet50+cnl@8", None, "failed"),
            ("resnet50+cnl@9", float("inf"), "finished"),
            ("resnet50+cnl@10", 0.5, "running"),
        )
    )["resnet50"]
    assert [c.notation for c in sample.candidates] == ["resnet50+cnl@8", "resnet50+cnl@9"]
    assert sample.score[0] == pytest.approx(0.81)
    assert np.isnan(sample.score[1])
    assert sample.finished.tolist() == [2, 0]
    assert sample.failed.tolist() == [1, 1]
    assert sample.training_ids == ((1, 2, 3), (4,))
    assert sample.seed_sd == pytest.approx(np.std([0.8, 0.82], ddof=1))


def test_a_training_shared_by_stages_counts_once() -> None:
    table = rows(("resnet50+cnl@8", 0.8, "finished"))
    assert len(unbiased_rows(pd.concat([table, table]))) == 1


def test_one_fidelity_and_one_split_at_a_time() -> None:
    table = rows(*[("resnet50+cnl@8", 0.8, "finished")] * 5)
    table["fidelity"] = ["e10", "e60", "e60", "e60", "e60"]
    table["split"] = ["val", "val", "val", "test", "val"]
    assert unbiased_rows(table)["training_id"].tolist() == [2, 3, 5]


def test_backbones_are_kept_apart() -> None:
    samples = draw_samples(rows(("resnet50+cnl@8", 0.8, "finished"), ("resnet18+cnl@8", 0.7, "finished")))
    assert sorted(samples) == ["resnet18", "resnet50"]


def test_design_numbers_against_loops(space, sweep: Sweep) -> None:  # type: ignore[no-untyped-def]
    sample = draw_samples(sweep(make_landscape(), n=60))["resnet50"]
    topology = get_topology("resnet50")
    for row, candidate in enumerate(sample.candidates):
        pairs = list(combinations(candidate.sites, 2))
        assert pairs_apart(sample, 3)[row] == sum(b - a == 3 for a, b in pairs)
        same = sum(topology.site(a).stage == topology.site(b).stage > 0 for a, b in pairs)
        assert pairs_in_one_stage(sample)[row] == same
        assert families_of(sample)[row] == len({get_block_spec(b).family for b in candidate.blocks})


def test_level_contrasts_read_back_what_was_planted(sweep: Sweep) -> None:
    gains = good_sites([3, 9], 0.004)
    landscape = make_landscape(site_gain=gains, seed_sd=1e-9)
    fit = fit_effects(draw_samples(sweep(landscape, n=200))["resnet50"], PLAIN)
    effects = fit.design.levels(("site",)) @ fit.beta
    np.testing.assert_allclose(effects - effects.mean(), gains - gains.mean(), atol=1e-7)


def test_standard_errors_are_hc3_moderated_by_the_common_variance(sweep: Sweep) -> None:
    sample = draw_samples(sweep(make_landscape(), n=200))["resnet50"]
    kept = sample.take(sample.counts > 0)
    fit = fit_effects(kept, PLAIN)
    design = build_design(kept, PLAIN)
    ordinary = sm.OLS(kept.score, design.matrix).fit()
    robust = sm.OLS(kept.score, design.matrix).fit(cov_type="HC3")
    np.testing.assert_allclose(fit.beta, ordinary.params, atol=1e-9)
    covariance, df = fit.errors(np.eye(len(fit.beta)))
    shares = (fit.gain**2).sum(axis=1) ** 2 / (fit.gain**4).sum(axis=1)
    expected = (robust.bse**2 * shares + ordinary.bse**2 * 20) / (shares + 20)
    np.testing.assert_allclose(np.diag(covariance), expected, rtol=1e-6)
    np.testing.assert_allclose(df, np.minimum(shares + 20, ordinary.df_resid))


def test_a_level_that_few_candidates_decide_is_not_too_sure() -> None:
    """Single placements, four candidates a site: their own residuals alone would call one null site in ten good."""
    singles = [c for b in BLOCKS for c in parse(*(f"resnet50+{b}@{s}" for s in range(1, 18)))]
    surest = []
    for seed in range(120):
        sample = draw_samples(landscape_table(make_landscape(seed=seed), singles))["resnet50"]
        fit = fit_effects(sample, PLAIN)
        differences = [fit.difference(row) for row in fit.design.levels(("site",))]
        surest += [d.p_two_sided() for d in differences if d.known]
    assert np.mean(np.array(surest) < 0.05) < 0.07
    assert np.mean(np.array(surest) < 0.005) < 0.012


def test_bootstrap_over_candidates_agrees_with_the_interval(sweep: Sweep) -> None:
    fit = fit_effects(draw_samples(sweep(make_landscape(), n=200))["resnet50"], PLAIN)
    contrast = fit.design.levels(("site",))[4]
    difference = fit.difference(contrast)
    assert difference.known
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (4000, len(fit.jackknifed)))  # wild bootstrap, HC3 residuals
    drawn = contrast @ (fit.beta[:, None] + fit.gain @ (signs * fit.jackknifed).T)
    low, high = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose((low, high), difference.interval(), atol=0.15 * (high - low))


def test_intervals_hold_the_truth_as_often_as_they_say(space, sweep: Sweep) -> None:  # type: ignore[no-untyped-def]
    gains = good_sites([8], 0.003)
    held = []
    for seed in range(60):
        landscape = make_landscape(site_gain=gains, own_sd=0.0005, seed=seed)
        fit = fit_effects(draw_samples(sweep(landscape, n=110, seed=seed))["resnet50"], PLAIN)
        levels = fit.design.levels(("site",))
        for site in (2, 8, 15):
            low, high = fit.difference(levels[site - 1]).interval()
            held.append(low <= gains[site - 1] - gains.mean() <= high)
    assert 0.9 < np.mean(held) < 0.99


def test_seed_noise_and_own_deviations_are_told_apart(sweep: Sweep) -> None:
    landscape = make_landscape(own_sd=0.002, seed_sd=0.001)
    fit = fit_effects(draw_samples(sweep(landscape, n=240, seeds=(0, 1)))["resnet50"], PLAIN)
    assert fit.seed_sd == pytest.approx(0.001, rel=0.15)
    assert fit.own_sd == pytest.approx(0.002, rel=0.2)


def test_what_the_sample_cannot_tell_is_not_estimated() -> None:
    singles = [(f"resnet50+cnl@{s}", 0.8 + 0.001 * (s % 3), "finished") for s in range(1, 18)]
    fit = fit_effects(draw_samples(rows(*singles, *singles))["resnet50"], PLAIN)
    assert not fit.difference(fit.design.levels(("site",))[0]).known
    assert not fit.enough


def test_a_baseline_alone_gives_no_false_certainty(sweep: Sweep) -> None:
    """One candidate without blocks decides the first block's gain alone: its noise must not count as zero."""
    fit = fit_effects(draw_samples(sweep(make_landscape(), n=200))["resnet50"], PLAIN)
    first = fit.term(("count", 1))
    assert first.known
    assert first.se > 0.0009


@pytest.mark.parametrize(("limit", "factors"), [(2, {3: 2 / 3, 4: 0.5, 5: 0.4}), (None, {})])
def test_saturation_is_estimated_where_there_is_one(sweep: Sweep, limit: int | None, factors: dict[int, float]) -> None:
    landscape = make_landscape(site_gain=good_sites([2, 5, 8, 11, 14], 0.005), count_limit=limit)
    sample = draw_samples(sweep(landscape, n=400))["resnet50"]
    found = saturation(build_design(sample, PLAIN), sample)
    assert sorted(found) == sorted(factors)
    for count, factor in factors.items():
        assert found[count] == pytest.approx(factor, abs=0.15)


def test_noise_is_not_scaled(sweep: Sweep) -> None:
    for seed in range(10):
        sample = draw_samples(sweep(make_landscape(seed=seed), n=150, seed=seed))["resnet50"]
        assert saturation(build_design(sample, DesignChoice()), sample) == {}


def test_candidates_are_canonical_in_samples() -> None:
    sample = draw_samples(rows(("resnet50+cnl@14,6", 0.8, "finished"), ("resnet50+cnl@6,14", 0.9, "finished")))
    assert sample["resnet50"].candidates == (Candidate.parse("resnet50+cnl@6,14"),)
    assert sample["resnet50"].finished.tolist() == [2]


# Seeds and starts as blocks ------------------------------------------------------------------------------------------


@pytest.fixture
def uneven(sweep: Sweep) -> pd.DataFrame:
    """A sweep in three seeds of which four trainings in ten are missing."""
    table = sweep(make_landscape(site_gain=good_sites([6, 8, 14])), n=70, seeds=(0, 1, 2))
    return table[np.random.default_rng(0).random(len(table)) < 0.6]


def test_what_a_seed_or_a_start_moves_for_all_alike_changes_nothing(uneven: pd.DataFrame) -> None:
    uneven = uneven.assign(start=np.where(uneven["training_id"] % 2, "a", "b"))
    shift = uneven["seed"].map({0: 0.0, 1: 0.01, 2: -0.02}) + uneven["start"].map({"a": 0.0, "b": 0.03})
    fits = [fit_effects(draw_samples(t)["resnet50"], PLAIN) for t in (uneven, uneven.assign(map=uneven["map"] + shift))]
    assert fits[0].seed_sd == pytest.approx(fits[1].seed_sd)
    assert fits[0].seed_sd == pytest.approx(0.001, rel=0.35)
    for factor in (("site",), ("block",)):
        found = [[fit.difference(row) for row in fit.design.levels(factor)] for fit in fits]
        for before, after in zip(*found, strict=True):
            assert (after.value, after.se) == (pytest.approx(before.value), pytest.approx(before.se))


def test_without_seeds_the_shift_is_noise(uneven: pd.DataFrame) -> None:
    moved = uneven.assign(map=uneven["map"] + uneven["seed"].map({0: 0.0, 1: 0.01, 2: -0.02}))
    within, apart = (draw_samples(t)["resnet50"].seed_sd for t in (moved, moved.drop(columns="seed")))
    assert apart > 8 * within


def test_the_fit_is_generalised_least_squares_over_trainings(uneven: pd.DataFrame) -> None:
    """Written out: one row a training, covariance own^2 within a candidate and seed^2 on the diagonal."""
    own, seed = 0.0007, 0.0011
    sample = draw_samples(uneven)["resnet50"]
    sample = sample.take(np.isfinite(sample.score))
    design = build_design(sample, PLAIN)
    inside = _inside(design, sample)
    variance = np.concatenate([own**2 + seed**2 / sample.finished, np.full(len(inside[1]), seed**2)])
    fit = _solve(design, sample, inside, 1 / variance, np.ones(len(sample), dtype=bool))
    rows = sample.trained
    x = design.matrix[rows.candidate].copy()
    first, blocks = design.factors[SEEDS].first, np.eye(rows.blocks)[rows.block]
    x[:, first : first + rows.blocks - 1] = blocks[:, :-1] - blocks[:, -1:]
    covariance = own**2 * (rows.candidate[:, None] == rows.candidate[None, :]) + seed**2 * np.eye(len(rows.score))
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    naive = np.linalg.lstsq(root @ x, root @ rows.score, rcond=None)[0]
    contrasts = design.levels(("site",))
    np.testing.assert_allclose(contrasts @ fit.beta, contrasts @ naive, rtol=1e-6)
    np.testing.assert_allclose(design.levels(SEEDS) @ fit.beta, design.levels(SEEDS) @ naive, rtol=1e-6)


def test_seeds_of_one_candidate_alone_are_its_noise(sweep: Sweep) -> None:
    """Where no seed has two candidates nothing could take its shift out, and no columns are spent on it."""
    table = sweep(make_landscape(), n=60)
    table = pd.concat([table, table.assign(map=table["map"] + 0.001, training_id=table["training_id"] + 1000)])
    sample = draw_samples(table.assign(seed=range(len(table))))["resnet50"]
    assert sample.trained.blocks == 1
    assert SEEDS not in build_design(sample, PLAIN).factors
    assert sample.seed_sd == pytest.approx(0.001 / 2**0.5)


def test_a_network_trained_in_seeds_of_its_own_is_not_compared(sweep: Sweep) -> None:
    """What the first block brings cannot be told from what the baseline's seeds moved."""
    table = sweep(make_landscape(), n=60)
    plain = table["notation"].eq("resnet50")
    apart = table.assign(seed=np.where(plain, 7, 0))
    told = [fit_effects(draw_samples(t)["resnet50"], PLAIN).term(("count", 1)) for t in (table, apart)]
    assert told[0].known
    assert not told[1].known


def test_repeats_of_the_control_in_one_seed_tell_the_noise(sweep: Sweep) -> None:
    table = sweep(make_landscape(), n=60)
    plain = table[table["notation"].eq("resnet50")]
    again = [plain.assign(map=plain["map"] + d, training_id=900 + i) for i, d in enumerate((0.001, 0.002), 1)]
    sample = draw_samples(pd.concat([table, *again]))["resnet50"]
    assert sample.seed_sd == pytest.approx(0.001)
    assert sample.finished[sample.candidates.index(Candidate.parse("resnet50"))] == 3
