"""Colour and blur of batches against torchvision, image by image."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import functional as tv

from nas.data.colour import blur, change_colours, gaussian_kernels


def pictures(count: int = 5) -> Tensor:
    return torch.rand((count, 3, 24, 18), generator=torch.Generator().manual_seed(0)) * 255


def test_brightness_contrast_saturation_in_order() -> None:
    images = pictures()
    factors = torch.tensor([[1, 1, 1], [0.5, 1, 1], [1, 1.7, 1], [1, 1, 0], [1.4, 0.3, 1.6]], dtype=torch.float32)
    found = change_colours(images, factors)
    for image, (brightness, contrast, saturation), changed in zip(images, factors.tolist(), found, strict=True):
        expected = tv.adjust_brightness(image / 255, brightness)
        expected = tv.adjust_saturation(tv.adjust_contrast(expected, contrast), saturation)
        torch.testing.assert_close(changed / 255, expected, atol=2e-6, rtol=0)


def test_blur_inside_the_borders() -> None:
    images, sigma = pictures(), torch.tensor([0.0, 0.4, 1.0, 1.5, 0.0])
    found = blur(images.clone(), sigma, largest=1.5)
    radius = gaussian_kernels(sigma[1:2], 1.5).shape[1] // 2
    inner = (slice(None), slice(radius, -radius), slice(radius, -radius))
    for image, deviation, changed in zip(images, sigma.tolist(), found, strict=True):
        expected = tv.gaussian_blur(image, [2 * radius + 1] * 2, [deviation] * 2) if deviation else image
        torch.testing.assert_close(changed[inner], expected[inner], atol=1e-3, rtol=0)


def test_blur_keeps_flat_images_and_does_not_depend_on_the_batch() -> None:
    flat = torch.full((2, 3, 12, 9), 77.0)
    torch.testing.assert_close(blur(flat.clone(), torch.tensor([1.0, 2.0]), 2.0), flat)
    images = pictures()
    alone = blur(images[:1].clone(), torch.tensor([0.7]), 2.0)
    together = blur(images.clone(), torch.tensor([0.7, 2.0, 0.0, 1.0, 0.3]), 2.0)
    torch.testing.assert_close(alone[0], together[0])


def test_kernels_add_up_to_one() -> None:
    kernels = gaussian_kernels(torch.tensor([0.1, 1.0, 2.0]), 2.0)
    torch.testing.assert_close(kernels.sum(1), torch.ones(3))
    assert kernels.shape == (3, 13)
