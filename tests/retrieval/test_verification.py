"""ROC, TPR at FPR and histograms against naive counting over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_builders import features

from nas.errors import DataError
from nas.retrieval import verification
from nas.retrieval.verification import PairDistances


def pairs(seed: int) -> tuple[PairDistances, np.ndarray, np.ndarray]:
    """The object under test, and all positive and negative distances by brute force."""
    query, gallery = features(seed)
    found = PairDistances(*query, *gallery)
    q, g = (x[0] / np.linalg.norm(x[0], axis=1, keepdims=True) for x in (query, gallery))
    distances = 1 - q @ g.T
    same = query[1][:, None] == gallery[1][None]
    removed = same & (query[2][:, None] == gallery[2][None])
    return found, np.sort(distances[same & ~removed]), np.sort(distances[~same])


@given(st.integers(0, 200), st.floats(0, 1))
@settings(max_examples=30)
def test_tpr_at_fpr_is_the_best_threshold_s(seed: int, fpr: float) -> None:
    found, positive, negative = pairs(seed)
    roc = found.roc()
    allowed = [t for t in positive if (negative <= t).mean() <= fpr]
    expected = (positive <= max(allowed)).mean() if allowed else 0.0
    assert roc.tpr_at(fpr) == pytest.approx(expected, abs=2 / len(positive))
    assert (roc.positives, roc.negatives) == (len(positive), len(negative))


def test_nearer_pairs_are_accepted_first_the_usual_sign() -> None:
    query = np.array([[1.0, 0.0]])
    gallery = np.array([[1.0, 0.01], [0.0, 1.0]])
    good = PairDistances(query, [1], [1], gallery, [1, 2], [2, 2]).roc()
    bad = PairDistances(query, [1], [1], gallery, [2, 1], [2, 2]).roc()
    assert (good.auc, good.tpr_at(0.0)) == (1.0, 1.0)
    assert (bad.auc, bad.tpr_at(0.0), bad.tpr_at(1.0)) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_the_share_of_pairs_in_order(seed: int) -> None:
    found, positive, negative = pairs(seed)
    difference = negative[None] - positive[:, None]
    expected = (difference > 0).mean() + 0.5 * (difference == 0).mean()
    assert found.roc().auc == pytest.approx(expected, abs=1e-4)


def test_curve_rises_and_ends_at_all_positives() -> None:
    roc = pairs(1)[0].roc()
    assert (np.diff(roc.thresholds) >= 0).all()
    assert (np.diff(roc.tpr) >= 0).all()
    assert (np.diff(roc.fpr) >= 0).all()
    assert roc.tpr[-1] == 1


@pytest.mark.parametrize("seed", range(3))
def test_histogram_counts_every_pair_once(seed: int) -> None:
    found, positive, negative = pairs(seed)
    histogram = found.histogram(20)
    assert histogram.positive.sum() == len(positive)
    assert histogram.negative.sum() == len(negative)
    assert histogram.edges[0] == pytest.approx(min(positive[0], negative[0]), abs=1e-5)
    assert len(histogram.edges) == 21


def test_chunks_do_not_change_the_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pairs(2)[0].roc()
    monkeypatch.setattr(verification, "chunk_rows", lambda *_: 2)
    parts = pairs(2)[0].roc()
    np.testing.assert_allclose(whole.fpr, parts.fpr)
    np.testing.assert_allclose(whole.tpr, parts.tpr)


def test_without_both_kinds_there_is_no_curve() -> None:
    with pytest.raises(DataError, match="both kinds of pairs"):
        PairDistances(np.eye(2), [1, 2], [1, 1], np.eye(2), [3, 4], [1, 1])
