"""Fronts, promotion and noise, beside their plain definitions."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.results.noise import block_effects
from nas.search.history import front, observations, promoted, seed_noise, spread_over_cost
from nas.search.proposals import Observation
from nas.spaces import Candidate

SINGLES = [Candidate.parse(f"resnet50+{b}@{s}") for b in ("cnl", "hac") for s in range(1, 18)]
values = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=len(SINGLES))


def made(pairs: list[tuple[int, int]]) -> list[Observation]:
    return [Observation(c, m / 10, float(t)) for c, (m, t) in zip(SINGLES, pairs, strict=False)]


def dominates(a: Observation, b: Observation) -> bool:
    assert a.map is not None
    assert b.map is not None
    assert a.cost is not None
    assert b.cost is not None
    return a.map >= b.map and a.cost <= b.cost and (a.map > b.map or a.cost < b.cost)


@given(values)
def test_front_is_what_nothing_dominates(pairs: list[tuple[int, int]]) -> None:
    found = made(pairs)
    expected = {o.candidate.id for o in found if not any(dominates(p, o) for p in found)}
    assert {o.candidate.id for o in front(found)} == expected


@given(values, st.integers(1, 40))
def test_promotion_goes_layer_by_layer(pairs: list[tuple[int, int]], count: int) -> None:
    found = made(pairs)
    chosen = promoted(found, count)
    assert len(chosen) == min(count, len(found))
    ids = {o.candidate.id for o in chosen}
    # Whoever dominates a promoted candidate is promoted too.
    for winner in chosen:
        assert all(o.candidate.id in ids for o in found if dominates(o, winner))


@given(values, st.integers(2, 10))
def test_spread_keeps_the_ends(pairs: list[tuple[int, int]], count: int) -> None:
    line = front(made(pairs))
    kept = spread_over_cost(line, count)
    assert len(kept) <= max(count, 1)
    assert kept[0] == line[0]
    assert kept[-1] == line[-1]


def table(rows: list[tuple[str, int, float | None, str]]) -> pd.DataFrame:
    columns = ["notation", "seed", "map", "status"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["training_id"] = range(len(frame))
    frame["candidate_id"] = frame["notation"]
    return frame


def test_observations_are_means_and_keep_failures() -> None:
    rows = [
        ("resnet50+cnl@8", 0, 0.5, "finished"),
        ("resnet50+cnl@8", 1, 0.7, "finished"),
        ("resnet50+hac@8", 0, None, "failed"),
        ("resnet50+hac@9", 0, None, "running"),
    ]
    found = observations(table(rows), lambda c: float(len(c.placements)))
    assert [(o.candidate.notation, o.replicates) for o in found] == [("resnet50+cnl@8", 2), ("resnet50+hac@8", 0)]
    assert found[0].map == pytest.approx(0.6)
    assert found[1].map is None


trained = st.tuples(
    st.integers(0, 5),
    st.integers(0, 3),
    st.none() | st.floats(0, 1),
    st.sampled_from(["finished", "failed", "running"]),
)


@given(st.lists(trained, max_size=30), st.sets(st.integers(0, 29)))
def test_observations_beside_a_loop_over_candidates(
    rows: list[tuple[int, int, float | None, str]], noted: set[int]
) -> None:
    """Means over seeds without what a seed moved, in the order in which candidates were asked for."""
    drawn = table([(SINGLES[number].notation, seed, value, status) for number, seed, value, status in rows])
    drawn = drawn.astype({"map": float, "notation": object})
    attrs = {number: {"generation": number} for number in noted}
    found = observations(drawn, lambda c: float(c.sites[0]), attrs, [lambda c: None])
    done = drawn[drawn["status"].isin(["finished", "failed"])]
    done = done.assign(map=done["map"] - block_effects(done))
    expected = []
    for notation, own in done.groupby("notation", sort=False):
        values = own.loc[own["status"] == "finished", "map"].dropna()
        mean = pytest.approx(values.mean(), abs=1e-12) if len(values) else None
        note = next((attrs[i] for i in own["training_id"] if i in attrs), {})
        expected.append((notation, mean, len(values), note))
    assert [(o.candidate.notation, o.map, o.replicates, o.attrs) for o in found] == expected
    assert all((o.cost, o.more) == (float(o.candidate.sites[0]), (None,)) for o in found)


def test_seed_noise_pools_within_candidates() -> None:
    rows = [("a", 0, 0.1, "finished"), ("a", 1, 0.3, "finished"), ("b", 0, 0.9, "finished"), ("b", 1, 0.9, "finished")]
    assert seed_noise(table(rows)) == pytest.approx(math.sqrt((0.01 + 0.01) / 2))
    assert seed_noise(table(rows[:1])) is None


def test_what_a_seed_moves_for_all_alike_is_no_merit_of_a_candidate() -> None:
    """Two candidates in both seeds tell the shift; a third was trained in the good one, a fourth in the bad one."""
    rows = [("cnl@8", 0, 0.63), ("cnl@8", 1, 0.61), ("cnl@9", 0, 0.62), ("cnl@9", 1, 0.60)]
    rows += [("se@3", 0, 0.63), ("se@4", 1, 0.61)]
    table = pd.DataFrame(
        {
            "notation": [f"resnet50+{name}" for name, _, _ in rows],
            "seed": [seed for _, seed, _ in rows],
            "map": [value for _, _, value in rows],
            "status": "finished",
            "training_id": range(len(rows)),
        }
    )
    found = {o.candidate.notation.removeprefix("resnet50+"): o.map for o in observations(table, lambda c: None)}
    assert found["se@3"] == pytest.approx(found["se@4"])
    assert found["se@3"] == pytest.approx(found["cnl@8"])
    assert seed_noise(table) == pytest.approx(0.0, abs=1e-9)
    assert seed_noise(table.drop(columns="seed")) == pytest.approx(0.02 / 2**0.5)
