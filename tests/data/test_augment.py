"""Batched augmentation against an independent per-image form: by fixed draws and by statistics."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from nas.data.augment import (
    BatchAugmenter,
    BatchDraws,
    erase_by_mask,
    erase_windows,
    move_by_index,
    move_windows,
)
from nas.data.augmentation import Augmentation

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SIZE = (32, 16)


def pictures(count: int, size: tuple[int, int] = SIZE, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *size, 3), dtype=torch.uint8, generator=generator).permute(0, 3, 1, 2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_at_a_time(pixels: np.ndarray, draws: BatchDraws, index: int, pad: int) -> np.ndarray:
    """The strong baseline's pipeline on one image (H, W, 3), with Pillow and NumPy: (3, H, W) normalised."""
    image = Image.fromarray(pixels)
    if draws.flip[index]:
        image = ImageOps.mirror(image)
    image = ImageOps.expand(image, pad, fill=0)
    left, top = int(draws.left[index]), int(draws.top[index])
    image = image.crop((left, top, left + pixels.shape[1], top + pixels.shape[0]))
    values = (np.asarray(image) / 255 - MEAN) / STD
    y, x, height, width = draws.erase[index].tolist()
    values[y : y + height, x : x + width] = MEAN
    return values.transpose(2, 0, 1)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(0, 80))
@settings(max_examples=40)
def test_fixed_draws_give_what_pillow_gives(seed: int, count: int, pad: int) -> None:
    augmenter = BatchAugmenter(Augmentation(pad=pad), SIZE)
    images = pictures(count, seed=seed)
    draws = augmenter.draw(count, seeded(seed))
    found = augmenter.apply(images, draws)
    for i in range(count):
        expected = one_at_a_time(images[i].permute(1, 2, 0).numpy(), draws, i, augmenter.pad)
        np.testing.assert_allclose(found[i].numpy(), expected, atol=2e-6)


@given(st.integers(0, 10_000))
@settings(max_examples=40)
def test_the_gpu_s_forms_are_the_cpu_s(seed: int) -> None:
    augmenter = BatchAugmenter(Augmentation(pad=60, erasing=0.8), SIZE)
    images, draws = pictures(6, seed=seed), augmenter.draw(6, seeded(seed))
    moved = move_windows(images, draws, augmenter.pad)
    assert torch.equal(moved, move_by_index(images, draws, augmenter.pad))
    values, fill = augmenter.normalise(moved), torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(erase_windows(values.clone(), draws.erase, fill), erase_by_mask(values, draws.erase, fill))


def test_nothing_drawn_is_only_normalised() -> None:
    augmenter = BatchAugmenter(Augmentation(flip=0, pad=0, erasing=0), SIZE)
    images = pictures(3)
    assert torch.equal(augmenter(images, seeded()), augmenter.normalise(images))
    expected = (images.permute(0, 2, 3, 1).numpy() / 255 - MEAN) / STD
    np.testing.assert_allclose(augmenter.normalise(images).permute(0, 2, 3, 1).numpy(), expected, atol=2e-6)


def test_results_are_channels_last_float32_and_the_source_is_untouched() -> None:
    images = pictures(4)
    before = images.clone()
    found = BatchAugmenter(Augmentation(brightness=0.5, blur=1), SIZE)(images, seeded())
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_same_generator_state_same_batch() -> None:
    augmenter = BatchAugmenter(Augmentation(brightness=0.3, blur=0.5), SIZE)
    assert torch.equal(augmenter(pictures(8), seeded(3)), augmenter(pictures(8), seeded(3)))
    assert not torch.equal(augmenter(pictures(8), seeded(3)), augmenter(pictures(8), seeded(4)))


@pytest.mark.parametrize(("height", "pad"), [(256, 10), (384, 15), (128, 5), (64, 2)])
def test_padding_is_in_proportion_to_256_pixels(height: int, pad: int) -> None:
    assert BatchAugmenter(Augmentation(), (height, height // 2)).pad == pad


def baseline_erasing(size: tuple[int, int], rng: random.Random, p: float = 0.5) -> tuple[int, int, int, int] | None:
    """Random erasing as published (Zhong et al. 2020; Luo et al. 2019): one image, one attempt after the other."""
    height, width = size
    if rng.uniform(0, 1) >= p:
        return None
    for _ in range(100):
        area = rng.uniform(0.02, 0.4) * height * width
        aspect = rng.uniform(0.3, 1 / 0.3)
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if w < width and h < height:
            return rng.randint(0, height - h), rng.randint(0, width - w), h, w
    return None


@pytest.mark.parametrize("size", [(256, 128), (64, 32)])
def test_erasing_has_the_published_distribution(size: tuple[int, int]) -> None:
    count = 6000
    boxes = BatchAugmenter(Augmentation(), size).draw(count, seeded(1)).erase.numpy()
    rng = random.Random(2)
    published = [baseline_erasing(size, rng) for _ in range(count)]
    erased = boxes[boxes[:, 2] > 0]
    expected = np.array([box for box in published if box is not None])
    assert abs(len(erased) / count - len(expected) / count) < 0.03
    measures: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        lambda b: b[:, 0],
        lambda b: b[:, 1],
        lambda b: b[:, 2] * b[:, 3],
        lambda b: b[:, 2] / b[:, 3],
    )
    for measure in measures:
        assert stats.ks_2samp(measure(erased), measure(expected)).pvalue > 0.01
    assert (erased[:, 0] + erased[:, 2] <= size[0]).all()
    assert (erased[:, 1] + erased[:, 3] <= size[1]).all()


def test_flips_and_corners_are_uniform() -> None:
    draws = BatchAugmenter(Augmentation(), (256, 128)).draw(21_000, seeded())
    assert abs(draws.flip.float().mean() - 0.5) < 0.015
    for corner in (draws.top, draws.left):
        counts = np.bincount(corner.numpy(), minlength=21)
        assert len(counts) == 21
        assert stats.chisquare(counts).pvalue > 0.01


def test_what_is_switched_off_is_never_drawn() -> None:
    draws = BatchAugmenter(Augmentation(flip=0, erasing=0, blur=0), SIZE).draw(500, seeded())
    assert not draws.flip.any()
    assert not draws.erase.any()
    assert not draws.blur.any()
    assert (draws.colour == 1).all()


def test_colour_factors_stay_in_their_ranges() -> None:
    draws = BatchAugmenter(Augmentation(brightness=0.2, contrast=0.4, saturation=1.5, blur=1), SIZE).draw(
        4000, seeded()
    )
    low, high = draws.colour.amin(0).tolist(), draws.colour.amax(0).tolist()
    np.testing.assert_allclose(low, [0.8, 0.6, 0.0], atol=0.01)
    np.testing.assert_allclose(high, [1.2, 1.4, 2.5], atol=0.01)
    assert draws.blur.min() >= 0.1
    assert draws.blur.max() <= 2.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"pad": -1},
        {"erasing_area": (0.4, 0.02)},
        {"blur_sigma": (0, 1)},
        {"std": (0, 1, 1)},
        {"flipp": 0.5},
    ],
)
def test_wrong_numbers_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Augmentation.model_validate(wrong)


def test_a_padding_larger_than_the_image_leaves_it_black_where_nothing_is_left() -> None:
    augmenter = BatchAugmenter(Augmentation(flip=0, pad=10 * SIZE[0], erasing=0), SIZE)
    images = torch.full((16, 3, *SIZE), 200, dtype=torch.uint8)
    draws = augmenter.draw(16, torch.Generator().manual_seed(0))
    moved = move_windows(images, draws, augmenter.pad)
    assert torch.equal(moved, move_by_index(images, draws, augmenter.pad))
    assert set(moved.unique().tolist()) <= {0, 200}
