"""Colour and blur of whole batches, with factors that differ from image to image.

The definitions are torchvision's (`adjust_brightness`, `adjust_contrast`, `adjust_saturation`,
`gaussian_blur` with replicated borders); tests compare with it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R 601-2)."""
BLUR_REACH = 3.0
"""The blur's window reaches this many standard deviations."""


def change_colours(values: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation, in this order.

    Args:
        values: float (B, 3, H, W) in 0-255.
        factors: (B, 3), one of each an image; 1 changes nothing.
    """
    brightness, contrast, saturation = factors.to(values.device, non_blocking=True).view(-1, 3, 1, 1, 1).unbind(1)
    values = (values * brightness).clamp_(0, 255)
    values = torch.lerp(grey(values).mean((2, 3), keepdim=True), values, contrast).clamp_(0, 255)
    return torch.lerp(grey(values), values, saturation).clamp_(0, 255)


def grey(values: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, 1, H, W)."""
    return (values * _luma(values.device, values.dtype)).sum(1, keepdim=True)


@lru_cache(maxsize=16)
def _luma(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Kept on the device: a tensor made of numbers in every step would wait for the GPU in every step."""
    return torch.tensor(LUMA, device=device, dtype=dtype).view(1, 3, 1, 1)


def blur(values: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Gaussian blur, in place; an image's result does not depend on the others in its batch.

    Args:
        values: float (B, 3, H, W).
        sigma: (B,) on the CPU, standard deviation in pixels; images with 0 stay as they are.
        largest: standard deviation there can be, which sets the size of the window.
    """
    chosen = sigma.nonzero()[:, 0]
    if len(chosen) == 0:
        return values
    kernel = gaussian_kernels(sigma[chosen], largest).to(values, non_blocking=True)
    chosen = chosen.to(values.device, non_blocking=True)
    values[chosen] = _filter(_filter(values[chosen], kernel, 2), kernel, 3)
    return values


def gaussian_kernels(sigma: Tensor, largest: float) -> Tensor:
    """Kernels (B, L) of one length that add up to 1."""
    radius = max(1, round(BLUR_REACH * largest))
    steps = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (steps / sigma[:, None]) ** 2)
    return kernel / kernel.sum(1, keepdim=True)


def _filter(values: Tensor, kernel: Tensor, dim: int) -> Tensor:
    """Filter each image (B, 3, H, W) with its own kernel (B, L) along height (2) or width (3)."""
    radius = kernel.shape[1] // 2
    size = values.shape[dim]
    border = torch.arange(-radius, size + radius, device=values.device).clamp_(0, size - 1)
    windows = values.index_select(dim, border).unfold(dim, kernel.shape[1], 1)
    return torch.einsum("bchwl,bl->bchw", windows, kernel)
