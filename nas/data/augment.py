"""Batched augmentation on the device: flip, pad and crop, colour, blur, normalise, random erasing.

Each batch first *draws* all its random numbers (on the CPU, so a seed means the same on every
device), then *applies* them to the whole batch. The distributions are the strong baseline's
(Luo et al. 2019) to the letter. Batches are channels-last, as the packed store is. On a GPU all
images move at once by index; on a CPU, where that is slow, window by window: the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nas.data.augmentation import Augmentation
from nas.data.colour import blur, change_colours
from nas.data.images import Size
from nas.errors import DataError
from nas.spaces.plugins import make_part

__all__ = ["Augmentation", "BatchAugmenter", "BatchDraws"]

ERASING_ATTEMPTS = 100
"""Draws until an erased rectangle fits into the image, as in Zhong et al. 2020."""
PAD_HEIGHT = 256
"""Image height that `pad` is meant for; smaller images are padded in proportion."""


@dataclass(frozen=True)
class BatchDraws:
    """The random numbers of one batch of B images; every tensor is on the CPU.

    flip: bool (B,). top, left: int64 (B,), corner of the crop in the padded image.
    colour: float (B, 3), brightness, contrast and saturation factors (1 = unchanged).
    blur: float (B,), standard deviation in pixels, 0 = none.
    erase: int64 (B, 4), top, left, height and width; height 0 = none.
    own: int64 (B,), the first one seeds the random numbers of one's own augmentations; 0 without any.
    """

    flip: Tensor
    top: Tensor
    left: Tensor
    colour: Tensor
    blur: Tensor
    erase: Tensor
    own: Tensor


class BatchAugmenter:
    """Turns uint8 batches into normalised, augmented float batches.

    Args:
        augmentation: the numbers; `Augmentation()` is the strong baseline.
        size: height and width of the images.
        device: where the batches are wanted.

    >>> augmenter = BatchAugmenter(Augmentation(), (64, 32))
    >>> augmenter(torch.zeros(2, 3, 64, 32, dtype=torch.uint8), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 64, 32])
    """

    def __init__(self, augmentation: Augmentation, size: Size, device: str | torch.device = "cpu") -> None:
        self.augmentation, self.size, self.device = augmentation, size, torch.device(device)
        self.pad = round(augmentation.pad * size[0] / PAD_HEIGHT)
        mean, std = (torch.tensor(v, device=self.device) for v in (augmentation.mean, augmentation.std))
        # One whole line of pixels each: adding over the three channels alone is several times slower.
        self._scale = (1 / (255 * std)).repeat(size[1])
        self._shift = (-mean / std).repeat(size[1])
        self._fill = torch.tensor(augmentation.erasing_fill, device=self.device)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment uint8 (B, 3, H, W) into float32 (B, 3, H, W), channels-last, on the augmenter's device."""
        return self.apply(images, self.draw(len(images), generator))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (or 0-255 float) (B, 3, H, W) to normalised float32, nothing else: what evaluation uses."""
        lines = (
            images.to(self.device, non_blocking=True)
            .permute(0, 2, 3, 1)
            .reshape(len(images), images.shape[2], -1)
            .float()
        )
        return torch.addcmul(self._shift, lines, self._scale).view(_nhwc(images)).permute(0, 3, 1, 2)

    def draw(self, batch: int, generator: torch.Generator | None = None) -> BatchDraws:
        """The random numbers for a batch; the same for the same state of a CPU generator."""
        return self._draws([self._numbers(batch, generator)])

    def draw_all(self, batch: int, seeds: Sequence[int]) -> list[BatchDraws]:
        """`draw` for the batches of several steps, each from a seed of its own, worked out together."""
        generator = torch.Generator()
        found = self._draws([self._numbers(batch, generator.manual_seed(seed)) for seed in seeds])
        parts = [value.split(batch) for value in vars(found).values()]
        return [BatchDraws(*values) for values in zip(*parts, strict=True)]

    def _numbers(self, batch: int, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        """The draws of a batch before they mean anything; images are the last dimension but one of the boxes'."""
        return (
            torch.rand((4, batch), generator=generator),
            torch.randint(0, 2 * self.pad + 1, (2, batch), generator=generator),
            torch.rand((batch, 3), generator=generator),
            torch.rand((4, batch, ERASING_ATTEMPTS), generator=generator, dtype=torch.float64),
            # Drawn last and only where there are some: the numbers above stay what they are without.
            torch.randint(2**62, (batch,), generator=generator)
            if self.augmentation.own
            else torch.zeros(batch, dtype=torch.int64),
        )

    def _draws(self, numbers: Sequence[tuple[Tensor, ...]]) -> BatchDraws:
        a, joined = (
            self.augmentation,
            [torch.cat(parts, dim) for parts, dim in zip(zip(*numbers, strict=True), (1, 1, 0, 1, 0), strict=True)],
        )
        uniform, corner, factors, rectangles, own = joined
        spread = torch.tensor([a.brightness, a.contrast, a.saturation])
        colour = 1 + spread * (2 * factors - 1)
        low, high = a.blur_sigma
        sigma = torch.where(uniform[1] < a.blur, low + (high - low) * uniform[2], 0.0)
        erase = _erase_boxes(rectangles, a, self.size)
        erase[uniform[3] >= a.erasing] = 0
        return BatchDraws(uniform[0] < a.flip, corner[0], corner[1], colour.clamp_(min=0), sigma, erase, own)

    def apply(self, images: Tensor, draws: BatchDraws) -> Tensor:
        """Apply given draws to uint8 (B, 3, H, W): the deterministic half."""
        on_cpu = self.device.type == "cpu"
        images = images.to(self.device, non_blocking=True)
        moved = move_windows(images, draws, self.pad) if on_cpu else move_by_index(images, draws, self.pad)
        if self.augmentation.changes_colours:
            moved = blur(change_colours(moved.float(), draws.colour), draws.blur, self.augmentation.blur_sigma[1])
        if self.augmentation.own:
            moved = self._changed(moved.float(), int(draws.own[0]))
        out = self.normalise(moved)
        return erase_windows(out, draws.erase, self._fill) if on_cpu else erase_by_mask(out, draws.erase, self._fill)

    @cached_property
    def _own(self) -> list[tuple[str, Callable[[Tensor, torch.Generator], Tensor]]]:
        """One's own augmentations, loaded when images are first augmented: an evaluation needs none."""
        return [
            (name, make_part("augmentation", name, {}, settings, given=2))
            for name, settings in self.augmentation.own.items()
        ]

    def _changed(self, images: Tensor, seed: int) -> Tensor:
        """Images (B, 3, H, W) of 0 to 255 after one's own augmentations."""
        for number, (name, step) in enumerate(self._own):
            found = step(images, torch.Generator().manual_seed(seed + number))
            if not isinstance(found, Tensor) or found.shape != images.shape:
                shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
                raise DataError(f"augmentation {name} must give images of {tuple(images.shape)}, not {shape}")
            images = found
        return images


def _erase_boxes(rectangles: Tensor, a: Augmentation, size: Size) -> Tensor:
    """(B, 4) top, left, height, width: the first of 100 drawn rectangles (4, B, 100) that is smaller than the image."""
    height, width = size
    area, aspect, y, x = rectangles
    area = (a.erasing_area[0] + (a.erasing_area[1] - a.erasing_area[0]) * area) * height * width
    aspect = a.erasing_aspect[0] + (a.erasing_aspect[1] - a.erasing_aspect[0]) * aspect
    h, w = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (h < height) & (w < width)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    # A corner is drawn among all places where the rectangle lies inside, the last one included.
    top, left = (y * (height - h + 1)).floor(), (x * (width - w + 1)).floor()
    boxes = torch.stack([v.gather(1, first)[:, 0] for v in (top, left, h, w)], 1).long()
    found: Tensor = boxes * fits.any(1, keepdim=True)
    return found


def move_windows(images: Tensor, draws: BatchDraws, pad: int) -> Tensor:
    """Flip, pad with black and crop uint8 (B, 3, H, W), one copied window an image."""
    source = images.permute(0, 2, 3, 1).numpy()
    moved = torch.zeros(_nhwc(images), dtype=images.dtype)
    target = moved.numpy()
    for i, (flip, top, left) in enumerate(
        zip(draws.flip.tolist(), draws.top.tolist(), draws.left.tolist(), strict=True)
    ):
        rows_to, rows_from = _overlap(top - pad, images.shape[2])
        columns_to, columns_from = _overlap(left - pad, images.shape[3])
        image = source[i, :, ::-1] if flip else source[i]
        target[i, rows_to, columns_to] = image[rows_from, columns_from]
    return moved.permute(0, 3, 1, 2)


def _overlap(offset: int, length: int) -> tuple[slice, slice]:
    """Where a window moved by `offset` gets its pixels: (places in the window, places in the image)."""
    first = max(offset, 0)
    last = max(first, min(offset + length, length))  # nothing, where the padding is larger than the image
    return slice(first - offset, last - offset), slice(first, last)


def move_by_index(images: Tensor, draws: BatchDraws, pad: int) -> Tensor:
    """The same as `move_windows` for a GPU: every pixel is looked up where it comes from."""
    batch, _, height, width = images.shape
    device = images.device
    flip, top, left = (v.to(device, non_blocking=True) for v in (draws.flip, draws.top, draws.left))
    rows = torch.arange(height, device=device) + (top - pad)[:, None]
    columns = torch.arange(width, device=device) + (left - pad)[:, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    columns = torch.where(flip[:, None], width - 1 - columns, columns).clamp(0, width - 1)
    index = torch.arange(batch, device=device)[:, None, None]
    pixels = images.permute(0, 2, 3, 1)[index, rows.clamp(0, height - 1)[:, :, None], columns[:, None]]
    return (pixels * inside[..., None]).permute(0, 3, 1, 2)


def erase_windows(out: Tensor, boxes: Tensor, fill: Tensor) -> Tensor:
    """Write `fill` (3,) into a rectangle of each image (B, 3, H, W), in place."""
    lines = out.permute(0, 2, 3, 1)
    for i, top, left, height, width in _boxes(boxes):
        lines[i, top : top + height, left : left + width] = fill
    return out


def _boxes(boxes: Tensor) -> Iterator[tuple[int, int, int, int, int]]:
    for i, (top, left, height, width) in enumerate(boxes.tolist()):
        if height:
            yield i, top, left, height, width


def erase_by_mask(out: Tensor, boxes: Tensor, fill: Tensor) -> Tensor:
    """The same as `erase_windows` for a GPU, all images at once."""
    top, left, height, width = (v[:, None] for v in boxes.to(out.device, non_blocking=True).unbind(1))
    y, x = torch.arange(out.shape[2], device=out.device), torch.arange(out.shape[3], device=out.device)
    rows, columns = (y >= top) & (y < top + height), (x >= left) & (x < left + width)
    return torch.where(rows[:, None, :, None] & columns[:, None, None, :], fill.view(1, 3, 1, 1), out)


def _nhwc(images: Tensor) -> tuple[int, int, int, int]:
    batch, channels, height, width = images.shape
    return batch, height, width, channels
