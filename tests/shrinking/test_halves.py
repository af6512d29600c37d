"""Networks that follow the rules against the rest: the test itself, on tables."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from nas.shrinking.halves import MIN_HALF, compare_halves, scores


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


def test_chance_rarely_passes() -> None:
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(60):
        a, b = (table(list(rng.normal(0.65, 0.01, 12))) for _ in range(2))
        passed += compare_halves({"x": (a, b)}, bootstrap=10)[0].verdict in ("hold", "mislead")
    assert passed <= 9  # 5 % of 60 are 3; more than 9 has a chance of 0.1 %


def test_few_networks_are_not_enough_and_failures_do_not_count() -> None:
    few = table([0.6] * (MIN_HALF - 1))
    lost = pd.concat([few, table([0.9] * 4, status="failed").assign(notation=["a", "b", "c", "d"])])
    [found] = compare_halves({"x": (lost, table([0.5] * 9))})
    assert found.verdict == "not enough data"
    assert found.following == MIN_HALF - 1
    assert found.difference is None
    assert "not enough data" in found.sentence()


def test_each_candidate_counts_once() -> None:
    rows = pd.DataFrame({"notation": ["a", "a", "b"], "map": [0.6, 0.8, 0.5], "status": ["finished"] * 3})
    assert scores(rows).tolist() == pytest.approx([0.7, 0.5])
