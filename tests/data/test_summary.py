"""Numbers a person plans with, against naive counting."""

from __future__ import annotations

from pathlib import Path

from data_builders import records, small_dataset
from hypothesis import given
from hypothesis import strategies as st

from nas.data.records import ReidDataset
from nas.data.summary import positives_a_query, summarise

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=30)


@given(PAIRS, PAIRS)
def test_positives_a_query(query: list[tuple[int, int]], gallery: list[tuple[int, int]]) -> None:
    dataset = ReidDataset("toy", (), records(query), records(gallery), Path())
    expected = [sum(g == q and q != 0 and c != d for g, d in gallery) for q, c in query]
    assert positives_a_query(dataset) == expected


def test_summary_of_a_small_set(tmp_path: Path) -> None:
    summary = summarise(small_dataset(tmp_path), size=(8, 4), p=2, k=4)
    assert summary.images_a_person is not None
    assert (summary.images_a_person.least, summary.images_a_person.most) == (6, 6)
    assert summary.cameras_a_person is not None
    assert summary.cameras_a_person.mean == 2
    assert summary.positives is not None
    assert summary.positives.mean == 1
    assert summary.batches == 4
    assert summary.pack_bytes == (48 + 4 + 4) * 8 * 4 * 3
    assert summary.to_dict()["splits"]["train"]["identities"] == 8


def test_too_few_persons_for_a_batch(tmp_path: Path) -> None:
    assert summarise(small_dataset(tmp_path)).batches is None
