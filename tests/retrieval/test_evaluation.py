"""Counting gives exactly what sorting gives: every query, ties, distractors, cameras, chunks, devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_builders import Problem, features, problems, sorted_protocol

from nas.errors import DataError
from nas.retrieval import evaluate
from nas.retrieval.distances import Distances
from nas.retrieval.evaluation import evaluate_distances
from nas.retrieval.matching import Matches, Persons
from nas.retrieval.metrics import PerQuery
from nas.retrieval.ranking import Block, rank_positives
from nas.retrieval.reranking import Rerank


def assert_same(found: PerQuery | None, problem: Problem) -> None:
    assert found is not None
    aps, inps, firsts = sorted_protocol(problem)
    np.testing.assert_allclose(found.ap, aps, atol=1e-12)
    np.testing.assert_allclose(found.inp, inps, atol=1e-12)
    assert found.first_rank.tolist() == firsts


@given(problems())
@settings(max_examples=150)
def test_counting_is_sorting(problem: Problem) -> None:
    if np.isnan(sorted_protocol(problem)[0]).all():
        with pytest.raises(DataError, match="has a right answer in another camera"):
            evaluate_distances(problem.distances, *problem.people)
        return
    before = problem.distances.copy()
    found = evaluate_distances(problem.distances, *problem.people, per_query=True)
    assert_same(found.per_query, problem)
    assert np.array_equal(problem.distances, before)


@given(problems())
@settings(max_examples=60)
def test_the_gpu_s_form_is_sorting_too(problem: Problem) -> None:
    firsts = sorted_protocol(problem)[2]
    found = Matches.find(
        Persons(problem.query_ids, problem.query_cameras), Persons(problem.gallery_ids, problem.gallery_cameras)
    )
    queries = np.flatnonzero(found.positives.counts)
    if not len(queries):
        return
    mine, distances = found.take(queries), problem.distances[queries]
    ranks = rank_positives(mine, Block.fresh(torch.from_numpy(distances.copy())))
    assert np.array_equal(ranks, rank_positives(mine, Block.fresh(distances)))
    assert ranks[:, 0].tolist() == [firsts[q] for q in queries]


@given(st.integers(0, 1000), st.sampled_from([1, 2, 7, 100]), st.sampled_from(["cosine", "euclidean"]))
@settings(max_examples=25)
def test_chunks_do_not_change_the_result(seed: int, chunk: int, metric: str) -> None:
    query, gallery = features(seed)
    whole = evaluate(*query, *gallery, metric=metric, per_query=True)
    parts = evaluate(*query, *gallery, metric=metric, chunk=chunk, per_query=True)
    assert whole.per_query is not None
    assert parts.per_query is not None
    np.testing.assert_allclose(whole.per_query.ap, parts.per_query.ap, atol=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_features_give_what_their_distances_give(metric: str) -> None:
    query, gallery = features(3)
    q, g = (x[0].astype(np.float64) for x in (query, gallery))
    if metric == "cosine":
        q, g = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, g))
        distances = 1 - q @ g.T
    else:
        distances = ((q[:, None] - g[None]) ** 2).sum(-1)
    expected = evaluate_distances(distances, *query[1:], *gallery[1:], per_query=True)
    found = evaluate(*query, *gallery, metric=metric, per_query=True)
    assert found.map == pytest.approx(expected.map, abs=1e-9)
    assert found.cmc == expected.cmc
    assert found.protocol == f"{metric}, same identity and camera removed"


def test_tensors_arrays_lists_and_low_precision_are_taken() -> None:
    query, gallery = features(1)
    plain = evaluate(*query, *gallery).map
    as_tensors = [torch.from_numpy(np.asarray(x)) for x in (*query, *gallery)]
    assert evaluate(*as_tensors).map == plain
    assert evaluate(*(x.tolist() for x in (*query, *gallery))).map == pytest.approx(plain, abs=1e-9)
    as_tensors[0], as_tensors[3] = as_tensors[0].bfloat16(), as_tensors[3].bfloat16()
    assert evaluate(*as_tensors).map == pytest.approx(plain, abs=0.1)


def test_features_that_want_gradients_and_are_not_contiguous() -> None:
    query, gallery = features(1)
    q = torch.from_numpy(query[0]).T.contiguous().T.requires_grad_()
    assert evaluate(q, *query[1:], *gallery).map == pytest.approx(evaluate(*query, *gallery).map, abs=1e-9)


def test_a_gallery_shorter_than_the_cmc() -> None:
    found = evaluate_distances(np.array([[0.5, 0.1]]), [1], [1], [1, 2], [2, 2])
    assert len(found.cmc) == 50
    assert (found.cmc[0], found.cmc[1], found.cmc[-1]) == (0, 1, 1)
    assert found.map == 0.5


def test_ties_are_ordered_by_gallery_index() -> None:
    assert evaluate_distances(np.zeros((1, 3)), [1], [1], [2, 1, 2], [2, 2, 2]).map == 0.5
    assert evaluate_distances(np.zeros((1, 3)), [1], [1], [1, 2, 2], [2, 2, 2]).map == 1
    signed = np.array([[0.0, -0.0]])
    assert evaluate_distances(signed, [1], [1], [2, 1], [2, 2]).map == 0.5


def test_same_camera_images_are_removed_and_do_not_push_others_down() -> None:
    distances = np.array([[0.0, 0.1, 0.2]])
    assert evaluate_distances(distances, [1], [1], [1, 1, 1], [1, 1, 2]).map == 1


def test_distractors_stay_and_are_always_wrong() -> None:
    found = evaluate_distances(np.array([[0.0, 1.0], [0.0, 1.0]]), [0, 1], [1, 1], [0, 1], [2, 2], per_query=True)
    assert found.skipped_queries == 1
    assert found.map == 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_features_are_an_error(value: float) -> None:
    query, gallery = features(0)
    gallery[0][3, 2] = value
    with pytest.raises(DataError, match="features of 1 of 90 gallery images hold NaN or infinite"):
        evaluate(*query, *gallery)
    with pytest.raises(DataError, match="features of 1 of 90 query images hold NaN or infinite"):
        evaluate(*gallery, *query)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy])
def test_nan_distances_are_an_error(value: float, form: type) -> None:
    distances = np.array([[0.5, value, 0.2]])
    with pytest.raises(DataError, match="distances hold NaN or infinite"):
        evaluate_distances(form(distances), [1], [1], [1, 2, 3], [2, 2, 2])


def test_what_does_not_fit_is_said() -> None:
    query, gallery = features(0)
    with pytest.raises(DataError, match="query features have 12 numbers, gallery features 5"):
        evaluate(*query, gallery[0][:, :5], *gallery[1:])
    with pytest.raises(DataError, match=r"gallery: identities and cameras .* do not go with 90 images"):
        evaluate(*query, gallery[0], gallery[1][:4], gallery[2])
    with pytest.raises(DataError, match="unknown metric 'cosinus'; did you mean 'cosine'"):
        evaluate(*query, *gallery, metric="cosinus")
    with pytest.raises(DataError, match="must be a matrix"):
        evaluate(query[0][0], *query[1:], *gallery)
    with pytest.raises(DataError, match="must be a matrix"):
        evaluate_distances(np.zeros(3), [1], [1], [1], [1])


def test_junk_must_be_left_out_before() -> None:
    with pytest.raises(DataError, match="gallery holds junk images"):
        evaluate_distances(np.zeros((1, 2)), [1], [1], [1, -1], [2, 2])


def test_re_ranking_is_named() -> None:
    query, gallery = features(2)
    found = evaluate(*query, *gallery, rerank=Rerank(k1=10, k2=3))
    assert found.protocol == "cosine, same identity and camera removed, re-ranked (k-reciprocal 10, 3, 0.3)"
    assert found.map > evaluate(*query, *gallery).map


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda d: d[:, ::-1][:, ::-1],
        lambda d: d.astype(np.float16),
        lambda d: (d * 1000).round().astype(np.int64),
        torch.from_numpy,
        lambda d: torch.from_numpy(d.T.copy()).T,
    ],
)
def test_distances_in_any_layout_and_type(change: Callable[[np.ndarray], np.ndarray]) -> None:
    query, gallery = features(5)
    distances = (np.random.default_rng(0).integers(0, 9, (len(query[1]), len(gallery[1]))) / 8).astype(np.float32)
    people = (*query[1:], *gallery[1:])
    assert evaluate_distances(change(distances), *people).map == evaluate_distances(distances, *people).map


def test_a_read_only_map_of_distances(tmp_path: Path) -> None:
    query, gallery = features(5)
    np.save(tmp_path / "d.npy", np.random.default_rng(0).random((len(query[1]), len(gallery[1])), dtype=np.float32))
    people = (*query[1:], *gallery[1:])
    mapped, loaded = (np.load(tmp_path / "d.npy", mmap_mode=mode) for mode in ("r", None))
    assert evaluate_distances(mapped, *people).map == evaluate_distances(loaded, *people).map


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu() -> None:
    query, gallery = features(4, queries=40, gallery=3000, persons=50)
    on_gpu = [torch.from_numpy(x[0]).cuda() for x in (query, gallery)]
    found = evaluate(on_gpu[0], *query[1:], on_gpu[1], *gallery[1:], per_query=True)
    expected = evaluate(*query, *gallery, per_query=True)
    assert found.per_query is not None
    assert expected.per_query is not None
    np.testing.assert_allclose(found.per_query.ap, expected.per_query.ap, atol=1e-4)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("chunk", [1, 3, 7, 64])
def test_equal_gallery_vectors_are_equally_far_whatever_the_chunk(metric: str, chunk: int) -> None:
    rng = np.random.default_rng(0)
    distinct = rng.standard_normal((7, 33)).astype(np.float32)
    gallery = distinct[np.arange(301) % 7]
    query = rng.standard_normal((65, 33)).astype(np.float32)
    distances = Distances.between(query, gallery, metric)
    for start in range(0, 65, chunk):
        places = torch.arange(start, min(start + chunk, 65))
        for found in (distances.order(places), distances.rows(places)):
            for first in range(7):
                assert (found[:, first::7] == found[:, first, None]).all()


def test_ties_of_whole_number_features_stay_ties() -> None:
    # Two gallery images at equal distance 5 and 5 (3-4-0 and 0-0-5): the earlier one, which is right, comes first.
    query, gallery = np.zeros((1, 3)), np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 5.0]])
    for scale in (1, 3, 7, 11):
        found = evaluate(query, [1], [1], gallery * scale, [1, 2], [2, 2], metric="euclidean")
        assert found.map == 1.0


@pytest.mark.parametrize("width", [1, 4])
def test_features_along_one_axis_have_one_direction_whatever_their_length(width: int) -> None:
    lengths = np.random.default_rng(0).uniform(0.1, 50, 500)
    query, gallery = np.zeros((3, width)), np.zeros((500, width))
    query[:, 0], gallery[:, 0] = (0.3, 1.0, 7.7), lengths
    distances = Distances.between(query, gallery)
    assert (distances.order(torch.arange(3)) == -1).all()
    # All tie, so the gallery's own order is the ranking.
    found = evaluate(query, [1] * 3, [1] * 3, gallery, [2] * 499 + [1], [2] * 500)
    assert found.map == pytest.approx(1 / 500)


@pytest.mark.parametrize("values", [[1.5, 1.7], [1.0, np.nan], ["a", "b"]])
def test_identities_that_are_no_whole_numbers_are_refused(values: list[object]) -> None:
    with pytest.raises(DataError, match="must be whole numbers"):
        evaluate(np.eye(2), values, [1, 1], np.eye(2), [1, 2], [2, 2])


def test_whole_numbers_in_a_float_column_are_meant() -> None:
    assert evaluate(np.eye(2), [1.0, 2.0], [1, 1], np.eye(2), [1, 2], [2, 2]).map == 1.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda q: q + 1j, "real numbers, not complex128"),
        (lambda q: q.astype(object), "real numbers, not object"),
        (lambda q: np.ma.masked_array(q, mask=q > 0), "masked"),
        (lambda q: q * 1e-200, "too small for numbers of 32 bits"),
        (lambda q: q * 0, "of 3 of 3 query images are zero"),
        (lambda q: torch.from_numpy(q + 1j), "real numbers, not torch.complex128"),
    ],
)
def test_features_that_do_not_mean_what_would_be_scored_are_refused(change: Any, said: str) -> None:
    """Imaginary parts, masks and tiny numbers were dropped, zeros were ranked by the gallery's order."""
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
    with pytest.raises(DataError, match=said):
        evaluate(change(query), [1, 2, 3], [1, 1, 1], gallery, [1, 2, 3, 1, 2], [2, 2, 2, 1, 1])
