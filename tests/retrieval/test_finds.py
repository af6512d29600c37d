"""Rank lists show what was found in order, removed images marked; the picture frames them."""

from __future__ import annotations

import numpy as np
import pytest
from retrieval_builders import features

from nas.retrieval import evaluate
from nas.retrieval.finds import rank_lists
from nas.retrieval.pictures import FRAMES, draw_rank_lists


def test_verdicts_and_ranks_by_hand() -> None:
    query = np.array([[1.0, 0.0]])
    gallery = np.array([[1, 0.1], [1, 0.0], [1, 0.2], [0, 1], [1, 0.3]], dtype=np.float32)
    ids, cameras = [1, 1, 2, 1, 1], [2, 1, 2, 2, 2]
    (found,) = rank_lists(query, [1], [1], gallery, ids, cameras, [0], top=3)
    assert [(f.place, f.verdict, f.rank) for f in found.finds] == [
        (1, "removed", 0),
        (0, "right", 1),
        (2, "wrong", 2),
        (4, "right", 3),
    ]
    assert found.right == 3
    assert found.finds[0].distance == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_lists_agree_with_the_evaluation(seed: int) -> None:
    query, gallery = features(seed)
    metrics = evaluate(*query, *gallery, per_query=True)
    assert metrics.per_query is not None
    worst = metrics.per_query.worst(3)
    for place, found in zip(worst, rank_lists(*query, *gallery, worst, top=200), strict=True):
        hits = [f.rank for f in found.finds if f.verdict == "right"]
        assert found.query == place
        assert hits[0] == metrics.per_query.first_rank[place]
        assert np.mean(np.arange(1, len(hits) + 1) / hits) == pytest.approx(metrics.per_query.ap[place])
        assert len(hits) == found.right


def test_picture_has_a_row_a_query_and_the_frames_colours() -> None:
    query, gallery = features(0)
    lists = rank_lists(*query, *gallery, [0, 1], top=4)
    white = np.full((32, 16, 3), 255, np.uint8)
    picture = np.asarray(draw_rank_lists(lists, lambda _: white, lambda _: white, height=40))
    colours = {tuple(c) for c in picture.reshape(-1, 3).tolist()}
    shown = {f.verdict for found in lists for f in found.finds} | {"query"}
    assert {FRAMES[verdict] for verdict in shown} <= colours
    assert picture.shape[0] > 2 * 40


def test_no_lists_an_empty_picture() -> None:
    assert draw_rank_lists([], lambda _: np.empty(0, np.uint8), lambda _: np.empty(0, np.uint8)).size == (1, 1)
