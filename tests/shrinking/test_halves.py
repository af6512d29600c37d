"""Networks that follow the rules against the rest: the test itself, on tables."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from nas.shrinking.halves import MIN_HALF, compare_halves


def table(values: list[float], seeds: int = 1, status: str = "finished") -> pd.DataFrame:
    rows = [{"notation": f"n{i}", "map": v, "status": status} for i, v in enumerate(values) for _ in range(seeds)]
    return pd.DataFrame(rows, columns=["notation", "map", "status"])


def exact_two_sided_p(a: list[float], b: list[float]) -> float:
    """Mann-Whitney by listing every way to deal the pooled values out."""
    pooled = [*a, *b]

    def statistic(chosen: tuple[int, ...]) -> float:
        left = [pooled[i] for i in chosen]
        right = [pooled[i] for i in range(len(pooled)) if i not in chosen]
        return float(sum((x > y) + 0.5 * (x == y) for x in left for y in right))

    seen = statistic(tuple(range(len(a))))
    center = len(a) * len(b) / 2
    dealt = [statistic(chosen) for chosen in itertools.combinations(range(len(pooled)), len(a))]
    return float(np.mean([abs(u - center) >= abs(seen - center) - 1e-12 for u in dealt]))


def test_p_is_that_of_every_way_to_deal_the_values_out() -> None:
    a, b = [0.61, 0.64, 0.66, 0.63, 0.70], [0.60, 0.62, 0.59, 0.65, 0.58]
    [found] = compare_halves({"resnet101": (table(a), table(b))})
    assert found.p == pytest.approx(exact_two_sided_p(a, b))
    assert found.p_adjusted == found.p
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))


def test_a_clear_difference_holds_or_misleads() -> None:
    good, bad = [0.7 + i / 1000 for i in range(8)], [0.6 + i / 1000 for i in range(8)]
    found = {t.name: t for t in compare_halves({"up": (table(good), table(bad)), "down": (table(bad), table(good))})}
    assert found["up"].verdict == "hold"
    assert found["down"].verdict == "mislead"
    assert found["up"].low is not None
    assert found["up"].low > 0
    assert "the rules hold" in found["up"].sentence()


def test_p_values_are_adjusted_together() -> None:
    rng = np.random.default_rng(0)
    pairs = {
        f"b{i}": (table(list(rng.normal(0.65, 0.01, 8))), table(list(rng.normal(0.64, 0.01, 8)))) for i in range(4)
    }
    found = sorted(compare_halves(pairs), key=lambda t: t.p or 0)
    holm = np.maximum.accumulate([min(1.0, (4 - i) * (t.p or 0)) for i, t in enumerate(found)])
    assert [t.p_adjusted for t in found] == pytest.approx(list(holm))


@pytest.mark.slow
def test_chance_rarely_passes() -> None:
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(60):
        a, b = (table(list(rng.normal(0.65, 0.01, 12))) for _ in range(2))
        passed += compare_halves({"x": (a, b)})[0].verdict in ("hold", "mislead")
    assert passed <= 9  # 5 % of 60 are 3; more than 9 has a chance of 0.1 %


def test_failed_networks_rank_last_whatever_the_metric() -> None:
    # A loss of 3 is stored as -3, so its error 1 - value is 4.
    losses = [-3.0 - i / 100 for i in range(8)]
    lost = table([float("nan")] * 8, status="failed").assign(notation=[f"f{i}" for i in range(8)])
    [found] = compare_halves({"x": (table(losses), lost)}, unit="nats")
    assert found.verdict == "hold"
    [turned] = compare_halves({"x": (lost, table(losses))}, unit="nats")
    assert turned.verdict == "mislead"
    [none] = compare_halves({"x": (lost, lost)})
    assert (none.verdict, none.p) == ("no difference shown", 1.0)


def test_few_networks_are_not_enough() -> None:
    [found] = compare_halves({"x": (table([0.6] * (MIN_HALF - 1)), table([0.5] * 9))})
    assert found.verdict == "not enough data"
    assert (found.following, found.rest) == (MIN_HALF - 1, 9)
    assert found.difference is None
    assert "not enough data" in found.sentence()


def half(finished: list[float], failed: int) -> pd.DataFrame:
    lost = table([float("nan")] * failed, status="failed").assign(notation=[f"f{i}" for i in range(failed)])
    return pd.concat([table(finished), lost])


def test_failed_networks_stay_and_rank_last() -> None:
    """16 of 24 failed, the others are good: dropping them gave "the rules hold"."""
    good, rest = [0.70 + i / 1000 for i in range(8)], [0.60 + i / 1000 for i in range(24)]
    [found] = compare_halves({"x": (half(good, 16), table(rest))})
    assert found.verdict == "mislead"
    assert (found.following, found.failed_following, found.rest, found.failed_rest) == (24, 16, 24, 0)
    # Of 24 x 24 pairs, the 8 finished ones win all of theirs, the 16 failed ones lose all of theirs.
    assert found.p == pytest.approx(mannwhitneyu([*good, *[0.0] * 16], rest).pvalue)
    assert found.difference == pytest.approx(np.mean(good) - np.mean(rest)), "means are of those that finished"
    assert "the rules mislead: 16 of 24 that follow them failed and 0 of 24 others" in found.sentence()


def test_where_all_failed_nothing_is_averaged() -> None:
    [found] = compare_halves({"x": (half([], 8), table([0.6 + i / 100 for i in range(8)]))})
    assert found.verdict == "mislead"
    assert found.difference is None
    assert "too few finished" in found.sentence()
    [both] = compare_halves({"x": (half([], 8), half([], 8))})
    assert both.verdict == "no difference shown"


def test_each_candidate_counts_once_with_its_mean_over_seeds() -> None:
    rows = [
        {"notation": f"n{i}", "map": 0.6 + i / 100 + s / 10, "status": "finished"} for i in range(6) for s in (0, 1)
    ]
    [found] = compare_halves({"x": (pd.DataFrame(rows), table([0.5] * 6))})
    assert (found.following, found.mean_following) == (6, pytest.approx(0.6 + 0.025 + 0.05))


def test_a_shift_of_a_seed_is_no_merit_of_a_half() -> None:
    """The half that follows lost its trainings in the bad seed."""
    shift = {0: 0.0, 1: -0.05}
    rng = np.random.default_rng(0)
    rows = [
        {"notation": f"{side}{i}", "seed": seed, "map": 0.6 + shift[seed] + rng.normal(0, 0.001), "status": "finished"}
        for side in "fr"
        for i in range(12)
        for seed in (0, 1)
    ]
    every = pd.DataFrame(rows)
    lost = every["notation"].isin([f"f{i}" for i in range(9)]) & every["seed"].eq(1)
    follows, rest = every[every["notation"].str.startswith("f") & ~lost], every[every["notation"].str.startswith("r")]
    [within] = compare_halves({"x": (follows, rest)})
    assert within.difference == pytest.approx(0.0, abs=0.001)
    assert within.verdict == "no difference shown"
    [apart] = compare_halves({"x": (follows.drop(columns="seed"), rest.drop(columns="seed"))})
    assert apart.verdict == "hold"
