"""A small set of striped figures that a narrow ResNet learns in a second, and recipes to match."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.data.prepared import PackedSplit, PreparedData
from nas.data.records import ImageRecord
from nas.training.recipe import Recipe, load_recipe

SIZE = (32, 16)
CANDIDATE = "resnet18(width=0.25)"


def striped_image(identity: int, rng: np.random.Generator) -> np.ndarray:
    """Three horizontal stripes in colours that belong to the identity, with noise and a random brightness."""
    colours = np.random.default_rng(identity).integers(30, 220, (3, 3))
    rows = np.repeat(colours, [11, 11, 10], axis=0)[:, None, :]
    noisy = rows * rng.uniform(0.6, 1.2) + rng.normal(0, 25, (*SIZE, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def make_split(identities: range, images: int, seed: int) -> PackedSplit:
    rng = np.random.default_rng(seed)
    numbers = [i for i in identities for _ in range(images)]
    cameras = [1 + k % 3 for _ in identities for k in range(images)]
    pixels = np.stack([striped_image(i, rng) for i in numbers])
    records = tuple(ImageRecord(Path(f"{n}.png"), i, c) for n, (i, c) in enumerate(zip(numbers, cameras, strict=True)))
    raw = torch.tensor(numbers)
    return PackedSplit(
        store=torch.from_numpy(pixels).permute(0, 3, 1, 2),
        rows=torch.arange(len(numbers)),
        identities=raw,
        labels=torch.unique(raw, return_inverse=True)[1],
        cameras=torch.tensor(cameras),
        records=records,
    )


@pytest.fixture(scope="session")
def data() -> PreparedData:
    """Twelve persons to learn, eight others to find."""
    return PreparedData(
        train=make_split(range(1, 13), 8, seed=0),
        query=make_split(range(21, 29), 3, seed=1),
        gallery=make_split(range(21, 29), 6, seed=2),
        num_classes=12,
        dataset_id="stripes",
        size=SIZE,
        name="stripes",
    )


@pytest.fixture
def recipe() -> Recipe:
    """Two epochs of six batches."""
    return load_recipe(
        {
            "extends": "quickstart",
            "input": SIZE,
            "epochs": 2,
            "warmup_epochs": 1,
            "identities": 4,
            "images": 4,
            "loss": "ce",
            "precision": "fp32",
        }
    )


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
