"""The compiled loop and the NumPy loop count the same, and exactly what a plain loop counts."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from retrieval_builders import Problem, problems

from nas.retrieval import counting
from nas.retrieval.counting import count_before
from nas.retrieval.matching import Matches, Persons

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
ALWAYS_COMPILED = 1 << 60


def find_matches(problem: Problem) -> Matches:
    return Matches.find(
        Persons(problem.query_ids, problem.query_cameras), Persons(problem.gallery_ids, problem.gallery_cameras)
    )


def plain(problem: Problem, matches: Matches) -> list[int]:
    found = []
    for query, row in enumerate(problem.distances):
        removed = set(matches.removed.of(query).tolist())
        for place in matches.positives.of(query).tolist():
            others = (j for j in range(len(row)) if j not in removed)
            found.append(sum((row[j], j) < (row[place], place) for j in others))
    return found


@pytest.mark.slow
@needs_numba
@given(problems())
@settings(max_examples=80)
def test_compiled_is_plain(problem: Problem) -> None:
    matches = find_matches(problem)
    rows = np.arange(len(problem.distances))
    found = count_before(problem.distances, rows, matches, ALWAYS_COMPILED)
    assert found is not None
    assert found.tolist() == plain(problem, matches)


@given(problems())
@settings(max_examples=80)
def test_numpy_is_plain(problem: Problem) -> None:
    matches = find_matches(problem)
    before = problem.distances.copy()
    found = count_before(problem.distances, np.arange(len(before)), matches)
    assert found is not None
    assert found.tolist() == plain(problem, matches)
    assert np.array_equal(problem.distances, before)


@needs_numba
@pytest.mark.parametrize("gallery", [1, 1023, 1024, 1025, 3000])
def test_strips_of_the_compiled_loop(gallery: int) -> None:
    rng = np.random.default_rng(gallery)
    distances = rng.integers(0, 40, (4, gallery)).astype(np.float32)
    ids, cameras = rng.integers(1, 4, gallery), rng.integers(1, 3, gallery)
    matches = Matches.find(Persons(np.array([1, 2, 3, 1]), np.array([1, 2, 1, 2])), Persons(ids, cameras))
    rows = np.array([2, 0, 3, 1])
    compiled, numpy = (count_before(distances, rows, matches, c) for c in (ALWAYS_COMPILED, 0))
    assert compiled is not None
    assert numpy is not None
    assert np.array_equal(compiled, numpy)
    # Scaled and moved as they are counted, with one rounding each: as if that had been done before, ties and all.
    divisor, offset = rng.normal(size=(2, gallery)).astype(np.float32)
    expected = count_before(distances / divisor + offset, rows, matches)
    for comparisons in (ALWAYS_COMPILED, 0):
        found = count_before(distances, rows, matches, comparisons, divisor, offset)
        assert found is not None
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("comparisons", [0, pytest.param(ALWAYS_COMPILED, marks=needs_numba)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_told(comparisons: int, value: float) -> None:
    distances = np.array([[0.5, 1.0, value]])
    matches = Matches.find(Persons(np.array([1]), np.array([1])), Persons(np.array([1, 2, 3]), np.array([2, 2, 2])))
    assert count_before(distances, np.array([0]), matches, comparisons) is None


def test_without_numba_numpy_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "compiled", lambda: None)
    matches = Matches.find(Persons(np.array([1]), np.array([1])), Persons(np.array([2, 1]), np.array([2, 2])))
    found = count_before(np.array([[0.1, 0.2]]), np.array([0]), matches, ALWAYS_COMPILED)
    assert found is not None
    assert found.tolist() == [1]
