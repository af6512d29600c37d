"""Recipe spaces: counting, numbering and conditions."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import SpaceError
from nas.spaces import Domain
from nas.spaces.recipes import RecipeSpace

CONDITIONAL = {
    "loss": ["ce", "circle"],
    "gamma": {"values": [64, 128, 256], "when": {"loss": "circle"}},
    "margin": {"values": [0.25, 0.35], "when": {"loss": "circle", "gamma": [128, 256]}},
    "epochs": [60, 120],
}


def make(data: dict[str, Any]) -> RecipeSpace:
    return RecipeSpace.ordered({key: Domain.of(value) for key, value in data.items()})


def naive(data: dict[str, Any]) -> set[tuple[tuple[str, Any], ...]]:
    """All settings by trying every value and 'absent' for every key."""
    domains = {key: Domain.of(value) for key, value in data.items()}
    found = set()
    for row in itertools.product(*([None, *domain.values] for domain in domains.values())):
        values = {key: value for key, value in zip(domains, row, strict=True) if value is not None}
        if all((key in values) == domain.is_active(values) for key, domain in domains.items()):
            found.add(tuple(sorted(values.items())))
    return found


@st.composite
def recipe_data(draw: st.DrawFn) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key in "abcd"[: draw(st.integers(0, 4))]:
        values = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True))
        parents = [other for other in data if draw(st.booleans())][:2]
        when = {
            other: draw(st.lists(st.sampled_from(data[other]["values"]), min_size=1, unique=True)) for other in parents
        }
        data[key] = {"values": values, "when": when}
    return data


@given(recipe_data())
def test_numbers_are_the_settings(data: dict[str, Any]) -> None:
    space = make(data)
    listed = [space.at(i) for i in range(space.count())]
    assert len(set(listed)) == len(listed)
    assert set(listed) == naive(data)
    assert [space.index(dict(setting)) for setting in listed] == list(range(space.count()))


def test_conditional_values_exist_only_when_active() -> None:
    space = make(CONDITIONAL)
    assert space.count() == 2 * (1 + 1 + 2 * 2)
    assert list(space) == ["loss", "gamma", "margin", "epochs"] or list(space).index("loss") < list(space).index(
        "gamma"
    )
    problems = dict(space.problems({"loss": "ce", "gamma": 64, "epochs": 60, "lr": 1}))
    assert "exists only when loss is circle" in problems["gamma"]
    assert "unknown recipe value 'lr'" in problems["lr"]
    assert dict(space.problems({"loss": "circle", "epochs": 61}))["epochs"] == "epochs is 61; legal here: 60, 120"
    assert "is missing" in dict(space.problems({"loss": "circle", "epochs": 60}))["gamma"]


def test_order_in_the_file_does_not_matter_for_conditions() -> None:
    assert make(dict(reversed(CONDITIONAL.items()))).count() == make(CONDITIONAL).count()


def test_continuous_values_are_drawn_not_counted() -> None:
    space = make({"loss": ["ce", "circle"], "lr": {"log": [1e-4, 1e-3]}})
    assert space.count() == 2
    assert space.continuous == ("lr",)
    drawn = dict(space.at(1, random.Random(0)))
    assert drawn["loss"] == "circle"
    assert 1e-4 <= drawn["lr"] <= 1e-3
    assert space.index(drawn) == 1
    assert space.index({**drawn, "lr": 1}) is None
    assert dict(space.at(0)) == {"loss": "ce"}


def test_completing_and_neighbours_stay_inside() -> None:
    space = make({**CONDITIONAL, "lr": {"range": [0, 1]}})
    start = dict(space.completed({"loss": "circle", "gamma": 7, "lr": 0.5, "strange": 1}))
    assert start == {"loss": "circle", "gamma": 64, "epochs": 60, "lr": 0.5}
    around = [dict(setting) for setting in space.neighbours(start)]
    assert all(not list(space.problems(setting)) for setting in around)
    assert {"loss": "ce", "epochs": 60, "lr": 0.5} in around
    assert {"loss": "circle", "gamma": 128, "margin": 0.25, "epochs": 60, "lr": 0.5} in around


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"a": {"values": [1], "when": {"b": 1}}}, "unknown recipe value 'b'"),
        ({"a": {"values": [1], "when": {"b": 1}}, "b": {"values": [1], "when": {"a": 1}}}, "circle"),
        ({"a": {"values": [1], "when": {"b": 2}}, "b": [1]}, "never 2"),
        ({"a": {"values": [1], "when": {"b": 0.5}}, "b": {"range": [0, 1]}}, "points"),
    ],
)
def test_conditions_that_cannot_be_are_refused(data: dict[str, Any], words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        make(data)


def test_numbers_beyond_the_last_are_refused() -> None:
    with pytest.raises(IndexError):
        make(CONDITIONAL).at(12)
