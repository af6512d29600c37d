"""Fronts and volumes against loops over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.results.fronts import growing_hypervolume, hypervolume, layers, on_front

NUMBERS = st.one_of(st.integers(0, 6).map(float), st.just(float("nan")))


def naive_front(points: list[tuple[float, ...]], less: tuple[bool, ...]) -> list[bool]:
    turned = [[x if small else -x for x, small in zip(point, less, strict=True)] for point in points]
    known = [all(x == x for x in point) for point in turned]

    def beats(a: list[float], b: list[float]) -> bool:
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    return [
        ok and not any(beats(other, point) for other, fine in zip(turned, known, strict=True) if fine)
        for point, ok in zip(turned, known, strict=True)
    ]


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_two_objectives_as_by_all_pairs(points: list[tuple[float, float]]) -> None:
    assert on_front(points).tolist() == naive_front(points, (False, True))


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=10))
def test_three_objectives_as_by_all_pairs(points: list[tuple[float, float, float]]) -> None:
    less = (False, True, True)
    assert on_front(points, less).tolist() == naive_front(points, less)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=10))
def test_layers_peel_one_front_after_the_other(points: list[tuple[float, float]]) -> None:
    left, expected = list(range(len(points))), [0] * len(points)
    for rank in range(len(points) + 1):
        front = naive_front([points[i] for i in left], (False, True))
        if not any(front):
            expected = [rank if i in left else value for i, value in enumerate(expected)]
            break
        expected = [rank if i in left and front[left.index(i)] else value for i, value in enumerate(expected)]
        left = [i for i, kept in zip(left, front, strict=True) if not kept]
    assert layers(points).tolist() == expected


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=10))
def test_volume_is_the_area_of_unit_squares_below_the_front(points: list[tuple[float, float]]) -> None:
    reference = (1.0, 5.0)
    squares = [
        (s, c)
        for s in range(1, 6)
        for c in range(5)
        if any(score >= s + 1 and cost <= c for score, cost in points if score == score and cost == cost)
    ]
    assert hypervolume(points, reference) == pytest.approx(len(squares))


def test_growing_volume_is_the_volume_of_each_beginning() -> None:
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.random(40), rng.random(40)])
    points[7] = np.nan
    expected = [hypervolume(points[: i + 1], (0.1, 0.9)) for i in range(40)]
    assert growing_hypervolume(points, (0.1, 0.9)) == pytest.approx(np.array(expected))
