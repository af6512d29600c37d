"""The selection view never reads the test split and holds whole identities out; shares are nested."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_builders import records
from hypothesis import given
from hypothesis import strategies as st

from nas.data.records import ReidDataset
from nas.data.views import dataset_view, identity_share
from nas.errors import DataError


def dataset(train: list[tuple[int, int]], test: list[tuple[int, int]] | None = None) -> ReidDataset:
    test_records = records(test or [(900, 1), (900, 2)])
    return ReidDataset("toy", records(train), test_records[:1], test_records[1:], Path(), fixed_id="toy")


ROWS = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 3)), min_size=4, max_size=80)


@given(ROWS, st.floats(0.1, 0.9), st.integers(0, 5))
def test_selection_partitions_the_training_identities(rows: list[tuple[int, int]], share: float, seed: int) -> None:
    whole = dataset(rows)
    try:
        view = dataset_view(whole, "select", val_share=share, seed=seed)
    except DataError:
        return
    kept, held = {r.identity for r in view.train}, {r.identity for r in view.gallery}
    assert kept | held == {i for i, _ in rows}
    assert not kept & held
    assert len(held) == round(share * len(kept | held))
    assert set(view.query) <= set(view.gallery) <= set(whole.train)
    assert not {900} & (kept | held)
    assert sorted(view.train + view.gallery, key=str) == sorted(whole.train, key=str)


@given(ROWS, st.integers(0, 5))
def test_queries_are_one_a_camera_and_can_all_be_answered(rows: list[tuple[int, int]], seed: int) -> None:
    try:
        view = dataset_view(dataset(rows), "select", val_share=0.5, seed=seed)
    except DataError:
        return
    asked = [(q.identity, q.camera) for q in view.query]
    assert len(asked) == len(set(asked))
    for query in view.query:
        assert any(g.identity == query.identity and g.camera != query.camera for g in view.gallery)


def test_same_seed_same_view_other_seed_other_view() -> None:
    whole = dataset([(i, c) for i in range(1, 21) for c in (1, 2)])
    ids = [dataset_view(whole, seed=seed).id for seed in (0, 0, 1)]
    held = [{r.identity for r in dataset_view(whole, seed=seed).gallery} for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]
    assert held[0] == held[1] != held[2]


def test_final_view_is_everything() -> None:
    whole = dataset([(1, 1), (1, 2)])
    view = dataset_view(whole, "final")
    assert (view.train, view.query, view.gallery) == (whole.train, whole.query, whole.gallery)


def test_views_share_the_packs_of_the_set() -> None:
    whole = dataset([(i, c) for i in range(1, 5) for c in (1, 2)])
    assert dataset_view(whole, "select").packable == dataset_view(whole, "final").packable == whole.packable


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_share_must_leave_both_parts(share: float) -> None:
    with pytest.raises(DataError, match="for selection"):
        dataset_view(dataset([(1, 1), (2, 1)]), val_share=share)


def test_one_camera_cannot_be_selected_on() -> None:
    with pytest.raises(DataError, match="seen by two cameras"):
        dataset_view(dataset([(i, 1) for i in range(1, 9)]))


def test_unknown_view() -> None:
    with pytest.raises(DataError, match="unknown view 'test'"):
        dataset_view(dataset([(1, 1)]), "test")


def test_held_out_number_of_identities() -> None:
    whole = dataset([(i, c) for i in range(1, 9) for c in (1, 2)])
    assert len({r.identity for r in dataset_view(whole, val_identities=3).gallery}) == 3


@given(st.floats(0.05, 1.0), st.floats(0.05, 1.0), st.integers(0, 3))
def test_identity_shares_are_nested(one: float, other: float, seed: int) -> None:
    train = records([(i, c) for i in range(1, 31) for c in (1, 2)])
    small, large = (set(identity_share(train, share, seed)) for share in sorted((one, other)))
    assert small <= large
    assert len({r.identity for r in small}) == max(1, round(min(one, other) * 30))


@pytest.mark.parametrize("share", [0.0, 1.5, -0.1])
def test_identity_share_out_of_range(share: float) -> None:
    with pytest.raises(DataError, match="share of identities"):
        identity_share(records([(1, 1)]), share, 0)
