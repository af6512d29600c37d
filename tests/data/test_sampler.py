"""PK sampling: the strong baseline's semantics, its counts on Market-1501's identity sizes, resuming anywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nas.data.sampler import PKSampler
from nas.errors import DataError

LABELS = st.lists(st.integers(0, 8), min_size=20, max_size=120)


def market_like_counts() -> np.ndarray:
    """Images a person with Market-1501's published facts: 751 persons, 12 936 images, 2 to 72 each."""
    shape = stats.lognorm(0.6).ppf((np.arange(751) + 0.5) / 751)
    counts = np.clip(np.round(shape * 12_936 / 751 / shape.mean()), 2, 72).astype(int)
    rng = np.random.default_rng(0)
    while (missing := 12_936 - counts.sum()) != 0:
        chosen = rng.permutation(751)[: abs(missing)]
        counts[chosen] = np.clip(counts[chosen] + np.sign(missing), 2, 72)
    return counts


def test_market_has_182_to_184_batches_an_epoch() -> None:
    counts = market_like_counts()
    assert (len(counts), counts.sum(), counts.min(), counts.max()) == (751, 12_936, 2, 72)
    labels = np.repeat(np.arange(751), counts)
    for seed in range(3):
        sampler = PKSampler(labels, labels, 16, 4, seed)
        assert {len(sampler.plan(epoch)) for epoch in range(3)} <= {182, 183, 184}


@given(LABELS, st.integers(1, 4), st.integers(1, 4), st.integers(0, 9))
def test_batches_hold_p_identities_with_k_images(labels: list[int], p: int, k: int, seed: int) -> None:
    if len(set(labels)) < p:
        with pytest.raises(DataError):
            PKSampler(labels, labels, p, k, seed)
        return
    counts = np.bincount(labels)
    batches = list(PKSampler(labels, labels, p, k, seed))
    assert batches
    for batch in batches:
        chosen = np.asarray(labels)[batch].reshape(p, k)
        assert (chosen == chosen[:, :1]).all()
        assert len(set(chosen[:, 0])) == p
    used = np.concatenate(batches)
    for image, times in zip(*np.unique(used, return_counts=True), strict=True):
        assert times == 1 or counts[labels[image]] < k


@given(LABELS, st.integers(1, 4), st.integers(0, 9))
def test_an_epoch_ends_only_when_fewer_than_p_identities_have_a_hand_left(labels: list[int], k: int, seed: int) -> None:
    p = 2
    if len(set(labels)) < p:
        return
    hands = np.maximum(np.bincount(labels) // k, np.bincount(labels) > 0)
    drawn = np.asarray(labels)[np.concatenate(list(PKSampler(labels, labels, p, k, seed)))]
    left = hands - np.bincount(drawn, minlength=len(hands)) // k
    assert (left >= 0).all()
    assert (left > 0).sum() < p


@given(LABELS, st.integers(0, 30), st.integers(0, 3))
def test_resuming_anywhere_goes_on_the_same(labels: list[int], steps: int, seed: int) -> None:
    if len(set(labels)) < 3:
        return

    def endless(sampler: PKSampler) -> itertools.chain[np.ndarray]:
        return itertools.chain.from_iterable(iter(sampler) for _ in itertools.count())

    first = PKSampler(labels, labels, 3, 2, seed)
    stream = endless(first)
    for _ in range(steps):
        next(stream)
    second = PKSampler(labels, labels, 3, 2, seed)
    second.load_state_dict(first.state_dict())
    for one, other in itertools.islice(zip(stream, endless(second), strict=False), 12):
        assert np.array_equal(one, other)


def test_epochs_differ_and_repeat_by_number() -> None:
    labels = np.repeat(np.arange(6), 8)
    sampler = PKSampler(labels, labels, 3, 4, seed=1)
    zero, one = sampler.plan(0), sampler.plan(1)
    assert not np.array_equal(zero, one)
    assert np.array_equal(sampler.plan(0), zero)
    assert not np.array_equal(PKSampler(labels, labels, 3, 4, seed=2).plan(0), zero)


def test_length_is_of_the_current_epoch() -> None:
    labels = np.repeat(np.arange(6), 8)
    sampler = PKSampler(labels, labels, 3, 4)
    assert len(sampler) == len(list(sampler))
    assert sampler.state_dict() == {"seed": 0, "epoch": 1, "position": 0}


def test_few_images_are_drawn_with_replacement() -> None:
    batches = list(PKSampler([0, 1, 1], [1, 1, 2], 2, 4))
    assert len(batches) == 1
    assert sorted(batches[0])[:4] == [0, 0, 0, 0]


@given(st.lists(st.integers(1, 5), min_size=4, max_size=40), st.integers(2, 5), st.integers(0, 5))
def test_camera_aware_hands_mix_cameras_as_evenly_as_can_be(cameras: list[int], k: int, seed: int) -> None:
    if len(cameras) < k:
        return
    sampler = PKSampler([0] * len(cameras), cameras, 1, k, seed, camera_aware=True)
    hands = len(cameras) // k
    worst = -(-max(np.bincount(cameras)) // hands)
    for batch in sampler:
        assert len(set(batch)) == k
        assert max(np.bincount(np.asarray(cameras)[batch])) <= worst + 1


def test_camera_aware_prefers_different_cameras() -> None:
    labels, cameras = np.repeat(np.arange(4), 8), np.tile([1, 1, 2, 2, 3, 3, 4, 4], 4)

    def distinct(aware: bool) -> float:
        sampler = PKSampler(labels, cameras, 2, 4, camera_aware=aware)
        return float(
            np.mean([len(set(hand)) for e in range(20) for b in sampler.plan(e) for hand in cameras[b].reshape(2, 4)])
        )

    assert distinct(True) == 4
    assert distinct(False) < 3.5


@pytest.mark.parametrize(
    ("labels", "cameras", "p", "k", "message"),
    [
        ([0, 1], [1, 1], 3, 2, "a batch needs 3 identities, but the training split has 2"),
        ([0, 1], [1], 1, 1, "do not go with"),
        ([0, 1], [1, 1], 0, 1, "at least one identity"),
        ([0, 1], [1, 1], 1, 0, "at least one identity"),
    ],
)
def test_what_cannot_be_sampled(labels: list[int], cameras: list[int], p: int, k: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        PKSampler(labels, cameras, p, k)


def test_a_state_of_another_seed_is_refused() -> None:
    with pytest.raises(DataError, match="seed is 1, the saved state's 2"):
        PKSampler([0, 1], [1, 1], 1, 1, seed=1).load_state_dict({"seed": 2, "epoch": 0, "position": 0})
