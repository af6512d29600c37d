"""Expanded and joined queries, mirror images, single-shot galleries, rates of verification: against plain forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from nas.errors import DataError
from nas.retrieval.evaluation import evaluate
from nas.retrieval.protocols import evaluate_as, expand_queries, join_queries, single_shot
from nas.retrieval.roc_picture import draw_roc, equal_error_rate
from nas.retrieval.verification import PairDistances


def six(queries: int = 12, gallery: int = 40, people: int = 6, noise: float = 0.6) -> tuple[torch.Tensor, ...]:
    """Features around a centre a person; two cameras."""
    rng = torch.Generator().manual_seed(4)
    centres = torch.randn(people, 8, generator=rng)
    found = []
    for number, camera_of in ((queries, 1), (gallery, 2)):
        ids = torch.arange(number) % people + 1
        features = centres[ids - 1] + noise * torch.randn(number, 8, generator=rng)
        cameras = torch.where(torch.arange(number) // people % 2 == 0, camera_of, 3 - camera_of)
        found += [functional.normalize(features, dim=1), ids, cameras]
    return tuple(found)


def test_expansion_is_the_weighted_mean_with_the_nearest() -> None:
    query, _, _, gallery, _, _ = six()
    for power in (0.0, 3.0):
        found = expand_queries(query, gallery, 4, power)
        for q, row in zip(query.numpy(), found.numpy(), strict=True):
            near = gallery.numpy() @ q
            places = np.argsort(-near)[:4]
            weights = np.maximum(near[places], 0) ** power
            mean = q + (weights[:, None] * gallery.numpy()[places]).sum(0)
            assert row == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_the_images_of_one_person_in_one_camera_are_one_query() -> None:
    given = six()
    joined = join_queries(given)
    keys = list(zip(joined[1].tolist(), joined[2].tolist(), strict=True))
    assert len(keys) == len(set(keys)) == len({*zip(given[1].tolist(), given[2].tolist(), strict=True)})
    person, camera = keys[0]
    own = given[0][(given[1] == person) & (given[2] == camera)]
    removed = given[3][(given[4] == person) & (given[5] == camera)]
    mean = torch.cat([own, removed]).mean(0)
    assert joined[0][0].numpy() == pytest.approx((mean / mean.norm()).numpy(), abs=1e-6)
    assert evaluate_as(given, multi_query=True).queries == len(keys)


def test_what_was_done_is_named() -> None:
    plain = evaluate(*six())
    assert evaluate_as(six()) == plain
    named = evaluate_as(six(), expansion=3, multi_query=True, flipped=True).protocol
    for words in ("several images a query", "average query expansion (3)", "mirror images averaged"):
        assert words in named
    assert evaluate_as(six(), expansion=3).map > plain.map  # neighbours denoise a query here


def test_single_shot_is_the_mean_over_random_galleries() -> None:
    given = six(queries=6, gallery=12)  # a gallery image a person and camera: one right answer in every draw
    found = single_shot(given, draws=400, seed=1)
    features, ids, cameras, gallery, gallery_ids, gallery_cameras = (part.numpy() for part in given)
    rng, first = np.random.default_rng(7), []
    for _ in range(400):
        shown = [rng.choice(np.flatnonzero(gallery_ids == person)) for person in np.unique(gallery_ids)]
        for q, person, camera in zip(features, ids, cameras, strict=True):
            right = [g for g in shown if gallery_ids[g] == person and gallery_cameras[g] != camera]
            if right:
                best = max(shown, key=lambda g: gallery[g] @ q)
                first.append((float(best == right[0]), 1))
    assert found.rank1 == pytest.approx(np.mean([hit for hit, _ in first]), abs=0.06)
    assert "mean of 400 draws" in found.protocol
    alone = (given[0], given[1], torch.ones(6), given[3], given[4], torch.ones(12))
    with pytest.raises(DataError, match="another camera"):
        single_shot(alone, draws=3)


def test_the_equal_error_rate_is_where_both_errors_meet() -> None:
    roc = PairDistances(*six(noise=1.2)).roc()
    rate = equal_error_rate(roc)
    missed = 1.0 - roc.tpr
    place = np.argmin(np.abs(roc.fpr - missed))
    assert min(roc.fpr[place], missed[place]) <= rate <= max(roc.fpr[place], missed[place])
    picture = draw_roc(roc, 200)
    assert picture.size == (200, 200)
    assert len(picture.getcolors(100_000) or ()) > 3
