"""Domains of hyperparameters."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from scipy import stats

from nas.errors import SpaceError
from nas.spaces import BlockDomain, Domain, get_block_spec


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ([1, 2, 1.0], (1, 2)),
        ("circle", ("circle",)),
        ([1, True], (1, True)),
        ({"values": [3]}, (3,)),
        ({"range": [0, 1], "points": 5}, (0, 0.25, 0.5, 0.75, 1)),
        ({"log": [1e-4, 1e-2], "points": 3}, (1e-4, 1e-3, 1e-2)),
        ({"range": [2, 2]}, (2,)),
    ],
)
def test_finite_domains(written: Any, values: tuple[Any, ...]) -> None:
    domain = Domain.of(written)
    assert domain.values == values
    assert domain.is_finite
    assert all(value in domain for value in values)
    assert "other" not in domain


def test_continuous_domain_has_its_bounds() -> None:
    domain = Domain.of({"log": [1e-4, 1e-3]})
    assert not domain.is_finite
    assert [value in domain for value in (1e-4, 5e-4, 1e-3, 1.1e-3, True, "x")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "written", [{"log": [1e-4, 1e-3]}, {"range": [0, 2]}, [1, "a"], {"values": [1], "when": {"loss": ["circle"]}}]
)
def test_written_form_reads_back(written: Any) -> None:
    domain = Domain.of(written)
    assert Domain.of(domain.to_data()) == domain
    assert domain.sentence()


@pytest.mark.parametrize("scale", ["log", "range"])
def test_draws_are_uniform_on_their_scale(scale: str) -> None:
    low, high = 1e-4, 1e-1
    domain = Domain.of({scale: [low, high]})
    rng = random.Random(1)
    drawn = [float(domain.draw(rng)) for _ in range(2000)]
    expected = stats.loguniform(low, high) if scale == "log" else stats.uniform(low, high - low)
    assert min(drawn) >= low
    assert max(drawn) <= high
    assert stats.kstest(drawn, expected.cdf).pvalue > 0.001


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ([], "at least one value"),
        ({}, "exactly one of the keys"),
        ({"range": [0, 1], "log": [1, 2]}, "exactly one of the keys"),
        ({"range": [1, 0]}, "in order"),
        ({"range": [0]}, "two numbers"),
        ({"range": ["a", "b"]}, "two numbers"),
        ({"log": [0, 1]}, "above 0"),
        ({"range": [0, 1], "points": 1}, "points"),
        ({"range": [0, float("inf")]}, "finite"),
        ({"rang": [0, 1]}, "did you mean 'range'"),
        ([float("nan")], "finite"),
        ([[1]], "must be text, a number"),
    ],
)
def test_what_is_no_domain_is_refused(written: Any, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        Domain.of(written)


def test_narrowing() -> None:
    grid = Domain.of([1, 2, 4, 8])
    assert grid.narrowed(2, 4).values == (2, 4)
    assert grid.narrowed(None, 2).values == (1, 2)
    assert grid.narrowed(9, None).is_empty
    line = Domain.of({"range": [0, 10]})
    assert (line.narrowed(2, 20).low, line.narrowed(2, 20).high) == (2, 10)
    assert line.narrowed(11, 12).is_empty
    assert line.only([5, 11, "x"]).values == (5,)
    with pytest.raises(SpaceError, match="a range needs numbers"):
        Domain.of(["ce"]).narrowed(0, 1)


def test_near_stays_inside_and_changes() -> None:
    assert Domain.of([1, 2, 3]).near(2) == [1, 3]
    line = Domain.of({"log": [1e-4, 1e-2]})
    assert line.near(1e-3) == [pytest.approx(1e-3 * 10**-0.2, rel=1e-4), pytest.approx(1e-3 * 10**0.2, rel=1e-4)]
    assert line.near(1e-4) == [pytest.approx(1e-4 * 10**0.2, rel=1e-4)]
    assert line.first == pytest.approx(1e-3)


def test_variants_are_the_distinct_complete_settings() -> None:
    domain = BlockDomain.of("cnl", {"width": "all", "reduction": [8, 16], "fuse": ["gate", "add"], "zero_init": "auto"})
    spec = get_block_spec("cnl")
    expected = set()
    for width, reduction, fuse in itertools.product(["full", "half", "reduced"], [8, 16], ["gate", "add"]):
        given = {"width": width, "fuse": fuse} | ({"reduction": reduction} if width == "reduced" else {})
        expected.add(spec.complete(given))
    assert set(domain.variants()) == expected
    assert len(domain.variants()) == 8


def test_zero_init_auto_and_explicit_values_do_not_count_twice() -> None:
    assert len(BlockDomain.of("cnl", {"fuse": "all", "zero_init": ["auto", True, False]}).variants()) == 6


def test_block_domain_refuses_what_is_illegal() -> None:
    for data, words in [({"widht": "full"}, "width"), ({"width": ["hlf"]}, "hlf"), ("x", "needs hyperparameters")]:
        with pytest.raises(SpaceError, match=words):
            BlockDomain.of("cnl", data)
