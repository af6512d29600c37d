"""The formulas on cases worked out by hand, and the traps of released code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.retrieval.metrics import (
    PerQuery,
    RetrievalMetrics,
    average_precision,
    cumulative_matches,
    inverse_negative_penalty,
)

RANKS = st.sets(st.integers(1, 200), min_size=1, max_size=30).map(sorted)


@given(RANKS)
def test_average_precision_is_the_mean_of_precisions_at_hits(ranks: list[int]) -> None:
    expected = sum(sum(r <= k for r in ranks) / k for k in ranks) / len(ranks)
    assert average_precision(ranks) == pytest.approx(expected, abs=1e-12)


@given(RANKS)
def test_perfect_only_when_all_hits_come_first(ranks: list[int]) -> None:
    perfect = ranks == list(range(1, len(ranks) + 1))
    assert (average_precision(ranks) == 1) == perfect
    assert (inverse_negative_penalty(ranks) == 1) == perfect


def test_not_the_trapezoidal_form() -> None:
    assert average_precision([2]) == 0.5  # the trapezoidal rule would say 0.25


def test_cmc_is_padded_where_the_gallery_is_short() -> None:
    assert cumulative_matches([1, 2, 2, 7], max_rank=5).tolist() == [0.25, 0.75, 0.75, 0.75, 0.75]
    assert len(cumulative_matches([1], max_rank=50)) == 50


@given(st.lists(st.integers(1, 80), min_size=1, max_size=40), st.integers(1, 60))
def test_cmc_counts_first_hits(first: list[int], max_rank: int) -> None:
    expected = [sum(f <= k for f in first) / len(first) for k in range(1, max_rank + 1)]
    np.testing.assert_allclose(cumulative_matches(first, max_rank), expected)


def per_query() -> PerQuery:
    return PerQuery(
        ap=np.array([0.5, np.nan, 1.0, 0.25]),
        inp=np.array([0.5, np.nan, 1.0, 0.1]),
        first_rank=np.array([2, 0, 1, 4]),
        positives=np.array([1, 0, 3, 2]),
    )


def test_means_are_over_valid_queries_and_skipped_ones_are_counted() -> None:
    found = RetrievalMetrics.from_per_query(per_query(), 3, "as tested", keep=False)
    assert found.map == pytest.approx((0.5 + 1 + 0.25) / 3)
    assert found.minp == pytest.approx(1.6 / 3)
    assert found.cmc == pytest.approx((1 / 3, 2 / 3, 2 / 3))
    assert (found.rank1, found.queries, found.valid_queries, found.skipped_queries) == (pytest.approx(1 / 3), 4, 3, 1)
    assert found.per_query is None
    assert found.to_dict()["protocol"] == "as tested"
    assert "rank5" not in found.to_dict()


def test_worst_queries_leave_skipped_ones_out() -> None:
    assert per_query().worst(2).tolist() == [3, 0]
    assert per_query().worst(10).tolist() == [3, 0, 2]
