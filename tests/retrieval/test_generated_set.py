"""The generated set leaves room: colours alone fail, and knowing where on the body they are helps but is not enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nas.data import PackedSplit, PreparedData, load_dataset, prepare
from nas.retrieval import evaluate

BODY = slice(8, 24)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    cache: Path = tmp_path_factory.mktemp("cache")
    settings = {"train_identities": 1, "test_identities": 16, "images": 3, "height": 64, "width": 32}
    return prepare(load_dataset({"generated": settings}, cache=cache), (64, 32), cache)


def colours(split: PackedSplit) -> Tensor:
    """A histogram of 512 colours of the middle of each image, (N, 512)."""
    codes = (split.images[..., BODY] // 32).long()
    flat = (codes[:, 0] * 64 + codes[:, 1] * 8 + codes[:, 2]).flatten(1)
    return torch.zeros(len(flat), 512).scatter_add_(1, flat, torch.ones(flat.shape)).sqrt()


def colours_by_height(split: PackedSplit) -> Tensor:
    """Mean colours of sixteenths of each image's height, freed of the camera's cast and contrast, (N, 48)."""
    pixels = split.images[..., BODY].float()
    pixels = (pixels - pixels.mean((2, 3), keepdim=True)) / pixels.std((2, 3), keepdim=True)
    return pixels.unflatten(2, (16, 4)).mean((3, 4)).flatten(1)


def score(data: PreparedData, describe: Callable[[PackedSplit], Tensor]) -> float:
    query, gallery = ((describe(split), split.identities, split.cameras) for split in (data.query, data.gallery))
    return evaluate(*query, *gallery).map


def test_colours_alone_fail(data: PreparedData) -> None:
    assert score(data, colours) < 0.2


def test_where_the_colours_are_helps_but_is_not_enough(data: PreparedData) -> None:
    assert score(data, colours) + 0.05 < score(data, colours_by_height) < 0.5
