"""Batched augmentation on the device: flip, pad and crop, colour, blur, normalise, random erasing.

Each batch first *draws* all its random numbers (on the CPU, so a seed means the same on every
device), then *applies* them to the whole batch at once. The distributions are the strong
baseline's (Luo et al. 2019) to the letter; tests hold the batched form against a per-image one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from nas.data.images import Size

Share = Annotated[float, Field(ge=0, le=1)]
Triple = tuple[float, float, float]

ERASING_ATTEMPTS = 100
"""Draws until an erased rectangle fits into the image, as in Zhong et al. 2020."""
PAD_HEIGHT = 256
"""Image height that `pad` is meant for; smaller images are padded in proportion."""


class Augmentation(BaseModel):
    """Every number of the augmentation; the defaults are the strong baseline's.

    The order is fixed: flip, pad and crop, colour, blur, normalise, random erasing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: Share = Field(0.5, description="probability of a left-right flip")
    pad: int = Field(10, ge=0, description="black border in pixels of a 256 pixels high image, then a random crop")
    brightness: float = Field(0.0, ge=0, description="factor drawn from [1-b, 1+b]; 0 = off")
    contrast: float = Field(0.0, ge=0, description="factor drawn from [1-c, 1+c]; 0 = off")
    saturation: float = Field(0.0, ge=0, description="factor drawn from [1-s, 1+s]; 0 = off")
    blur: Share = Field(0.0, description="probability of a Gaussian blur")
    blur_sigma: tuple[float, float] = Field((0.1, 2.0), description="its standard deviation in pixels, uniform")
    erasing: Share = Field(0.5, description="probability of random erasing")
    erasing_area: tuple[float, float] = Field((0.02, 0.4), description="erased share of the image, uniform")
    erasing_aspect: tuple[float, float] = Field((0.3, 3.33), description="height over width, uniform")
    erasing_fill: Triple = Field((0.485, 0.456, 0.406), description="value written after normalisation")
    mean: Triple = Field((0.485, 0.456, 0.406), description="normalisation: subtracted, RGB in 0-1")
    std: Triple = Field((0.229, 0.224, 0.225), description="normalisation: divided by")

    @model_validator(mode="after")
    def _ranges_in_order(self) -> Augmentation:
        for name in ("blur_sigma", "erasing_area", "erasing_aspect"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be two numbers above 0, low before high, not {(low, high)}")
        return self


@dataclass(frozen=True)
class Draws:
    """The random numbers of one batch of B images; every tensor is on the CPU.

    flip: bool (B,). top, left: int64 (B,), corner of the crop in the padded image.
    colour: float (B, 3), brightness, contrast and saturation factors (1 = unchanged).
    blur: float (B,), standard deviation in pixels, 0 = none.
    erase: int64 (B, 4), top, left, height and width; height 0 = none.
    """

    flip: Tensor
    top: Tensor
    left: Tensor
    colour: Tensor
    blur: Tensor
    erase: Tensor


class BatchAugmenter:
    """Turns uint8 batches into normalised, augmented float batches.

    Args:
        augmentation: the numbers; `Augmentation()` is the strong baseline.
        size: height and width of the images.
        device: where the batches are.

    >>> augmenter = BatchAugmenter(Augmentation(), (64, 32))
    >>> augmenter(torch.zeros(2, 3, 64, 32, dtype=torch.uint8), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 64, 32])
    """

    def __init__(self, augmentation: Augmentation, size: Size, device: str | torch.device = "cpu") -> None:
        self.augmentation, self.size, self.device = augmentation, size, torch.device(device)
        self.pad = round(augmentation.pad * size[0] / PAD_HEIGHT)
        mean, std = (torch.tensor(v, device=self.device) for v in (augmentation.mean, augmentation.std))
        self._scale = (1 / (255 * std)).view(1, 3, 1, 1)
        self._shift = (-mean / std).view(1, 3, 1, 1)
        self._fill = torch.tensor(augmentation.erasing_fill, device=self.device).view(1, 3, 1, 1)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment uint8 (B, 3, H, W) into float32 (B, 3, H, W)."""
        return self.apply(images, self.draw(len(images), generator))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) to normalised float32, nothing else: what evaluation uses."""
        return images.to(self.device, torch.float32).mul_(self._scale).add_(self._shift)

    def draw(self, batch: int, generator: torch.Generator | None = None) -> Draws:
        """The random numbers for a batch; the same for the same state of a CPU generator."""
        a, pad = self.augmentation, self.pad
        uniform = torch.rand((5, batch), generator=generator)
        corner = torch.randint(0, 2 * pad + 1, (2, batch), generator=generator)
        spread = torch.tensor([a.brightness, a.contrast, a.saturation])
        colour = 1 + spread * (2 * torch.rand((batch, 3), generator=generator) - 1)
        low, high = a.blur_sigma
        blur = torch.where(uniform[1] < a.blur, low + (high - low) * uniform[2], 0.0)
        erase = _erase_boxes(batch, a, self.size, generator)
        erase[uniform[3] >= a.erasing] = 0
        return Draws(uniform[0] < a.flip, corner[0], corner[1], colour.clamp_(min=0), blur, erase)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply given draws to uint8 (B, 3, H, W): the deterministic half."""
        a = self.augmentation
        moved = _flip_and_crop(images.to(self.device), draws, self.pad)
        if a.brightness or a.contrast or a.saturation or a.blur:
            values = _blur(_colour(moved.float(), draws.colour), draws.blur)
            out = values.mul_(self._scale).add_(self._shift)
        else:
            out = self.normalise(moved)
        return _erase(out, draws.erase, self._fill)


def _erase_boxes(batch: int, a: Augmentation, size: Size, generator: torch.Generator | None) -> Tensor:
    """(B, 4) top, left, height, width: the first of 100 drawn rectangles that is smaller than the image."""
    height, width = size
    area, aspect, y, x = torch.rand((4, batch, ERASING_ATTEMPTS), generator=generator, dtype=torch.float64)
    area = (a.erasing_area[0] + (a.erasing_area[1] - a.erasing_area[0]) * area) * height * width
    aspect = a.erasing_aspect[0] + (a.erasing_aspect[1] - a.erasing_aspect[0]) * aspect
    h, w = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (h < height) & (w < width)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    # A corner is drawn among all places where the rectangle lies inside, the last one included.
    top, left = (y * (height - h + 1)).floor(), (x * (width - w + 1)).floor()
    boxes = torch.stack([v.gather(1, first)[:, 0] for v in (top, left, h, w)], 1).long()
    return boxes * fits.any(1, keepdim=True)


def _flip_and_crop(images: Tensor, draws: Draws, pad: int) -> Tensor:
    """Flip, pad with black and crop, by looking each pixel up where it comes from."""
    batch, _, height, width = images.shape
    device = images.device
    flip, top, left = (v.to(device, non_blocking=True) for v in (draws.flip, draws.top, draws.left))
    rows = torch.arange(height, device=device) + (top - pad)[:, None]
    columns = torch.arange(width, device=device) + (left - pad)[:, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    columns = torch.where(flip[:, None], width - 1 - columns, columns)
    index = torch.arange(batch, device=device)[:, None, None]
    pixels = images.permute(0, 2, 3, 1)[
        index, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]
    ]
    return (pixels * inside[..., None]).permute(0, 3, 1, 2)


def _colour(values: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation of float (B, 3, H, W) in 0-255, as torchvision blends them."""
    brightness, contrast, saturation = factors.to(values.device).view(-1, 3, 1, 1, 1).unbind(1)
    values = (values * brightness).clamp_(0, 255)
    mean = _grey(values).mean((1, 2, 3), keepdim=True)
    values = torch.lerp(mean, values, contrast).clamp_(0, 255)
    return torch.lerp(_grey(values), values, saturation).clamp_(0, 255)


def _grey(values: Tensor) -> Tensor:
    weights = values.new_tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)
    return (values * weights).sum(1, keepdim=True)


def _blur(values: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with a standard deviation an image; images with 0 stay as they are."""
    chosen = sigma.nonzero()[:, 0]
    if len(chosen) == 0:
        return values
    radius = max(1, int(3 * float(sigma.max())))
    steps = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (steps / sigma[chosen, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(values)
    chosen = chosen.to(values.device)
    values[chosen] = _filter(_filter(values[chosen], kernel, 2), kernel, 3)
    return values


def _filter(values: Tensor, kernel: Tensor, dim: int) -> Tensor:
    """Filter every image (B, 3, H, W) with its own kernel (B, L) along height (2) or width (3)."""
    radius = kernel.shape[1] // 2
    size = values.shape[dim]
    border = torch.arange(-radius, size + radius, device=values.device).clamp_(0, size - 1)
    windows = values.index_select(dim, border).unfold(dim, kernel.shape[1], 1)
    return torch.einsum("bchwl,bl->bchw", windows, kernel)


def _erase(out: Tensor, boxes: Tensor, fill: Tensor) -> Tensor:
    """Write `fill` into a rectangle of each image, in place."""
    top, left, height, width = (v[:, None] for v in boxes.to(out.device, non_blocking=True).unbind(1))
    y, x = torch.arange(out.shape[2], device=out.device), torch.arange(out.shape[3], device=out.device)
    rows, columns = (y >= top) & (y < top + height), (x >= left) & (x < left + width)
    return torch.where((rows[:, None, :, None] & columns[:, None, None, :]), fill, out)
