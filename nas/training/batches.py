"""The batches of a training, as a pure function of seed, epoch and step.

Neither the sampler nor the augmentation carries hidden state from step to step, so a training resumes in mid-epoch
with nothing but the numbers of epoch and step. What a batch looks like is left to `nas.data`. For a GPU the next
batch's part of the CPU (random numbers; pixels, where the GPU has no room for all of them) is done in a second thread.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nas.data.augment import BatchAugmenter, BatchDraws
from nas.data.devices import card
from nas.data.prepared import PackedSplit
from nas.data.sampler import PKSampler
from nas.errors import DataError
from nas.spaces.plugins import find_part
from nas.training.recipe import Recipe

_AUGMENTATION = 0xA06
DRAWN_AT_ONCE = 32
"""Steps whose random numbers are worked out together: some thousand images fill the processor, in few megabytes."""


@dataclass(frozen=True)
class Batch:
    """Augmented, normalised images (B, 3, H, W) float32 and labels (B,) int64, both on the training's device."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class _Half:
    """What the CPU does for a batch: places in the split, random numbers, and pixels in pinned memory where the GPU has
    not all of them."""

    indices: Tensor
    draws: BatchDraws
    pixels: Tensor | None


class TrainingBatches:
    """Random access to the batches of every epoch.

    Args:
        split: the training images, in memory, memory-mapped or on the device.
        recipe: sampler, P, K, camera awareness and augmentation.

    Raises:
        DataError: fewer identities than a batch needs, or a sampler of one's own that makes no batches.
    """

    def __init__(self, split: PackedSplit, recipe: Recipe, seed: int, device: torch.device) -> None:
        self.split, self.seed, self.device = split, seed, device
        self._sampler = sampler_of(recipe, split.labels.cpu().numpy(), split.cameras.cpu().numpy(), seed)
        self._augment = BatchAugmenter(recipe.augmentation, split.size, device)
        self._labels = split.labels.to(device)
        self._layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self._drawn: tuple[tuple[int, int], list[BatchDraws]] = ((0, 0), [])
        self._helper: ThreadPoolExecutor | None = None
        if self.device.type == "cuda":
            # Without a reference back to this: a circle would hold the pixels after the training.
            self._helper = ThreadPoolExecutor(1, "batches", torch.cuda.set_device, (card(device),))
        self._next: tuple[tuple[int, int], Future[_Half]] | None = None

    def steps(self, epoch: int) -> int:
        """Number of batches in an epoch (from 1)."""
        return len(self._sampler.plan(epoch - 1))

    def get(self, epoch: int, step: int) -> Batch:
        """The batch of a step (from 1) of an epoch (from 1)."""
        half = self._half_ahead(epoch, step) if self._helper else self._half(epoch, step)
        pixels = self.split.gather(half.indices) if half.pixels is None else half.pixels
        images = self._augment.apply(pixels, half.draws).contiguous(memory_format=self._layout)
        return Batch(images, self._labels[half.indices.to(self.device, non_blocking=True)])

    def _half_ahead(self, epoch: int, step: int) -> _Half:
        """`_half` of this step, while the next one of the epoch is begun beside the GPU's work on this one."""
        if self._helper is None:
            raise RuntimeError("there is no second thread")
        asked, self._next = self._next, None
        found = asked[1].result() if asked is not None else None
        if found is None or asked is None or asked[0] != (epoch, step):
            found = self._half(epoch, step)
        if step < self.steps(epoch):
            self._next = ((epoch, step + 1), self._helper.submit(self._half, epoch, step + 1))
        return found

    def _half(self, epoch: int, step: int) -> _Half:
        indices = torch.as_tensor(self._sampler.plan(epoch - 1)[step - 1])
        first = (step - 1) // DRAWN_AT_ONCE * DRAWN_AT_ONCE + 1
        if self._drawn[0] != (epoch, first):
            last = min(first + DRAWN_AT_ONCE, self.steps(epoch) + 1)
            seeds = [_stream(self.seed, epoch, number) for number in range(first, last)]
            self._drawn = (epoch, first), self._augment.draw_all(len(indices), seeds)
        pixels = None
        if self.device.type == "cuda" and self.split.device.type == "cpu":
            pixels = self.split.gather(indices).pin_memory()
        return _Half(indices, self._drawn[1][step - first], pixels)


def sampler_of(recipe: Recipe, labels: ArrayLike, cameras: ArrayLike, seed: int = 0) -> Any:
    """`PKSampler`, or one's own: a class with its arguments, whose `plan(epoch)` gives (batches, images) places."""
    make = find_part("sampler", recipe.sampler, {"pk": PKSampler})
    p, k, aware = recipe.identities, recipe.images, recipe.camera_aware
    if make is PKSampler:
        return PKSampler(labels, cameras, p, k, seed=seed, camera_aware=aware)
    labels = np.asarray(labels)
    try:
        made = make(labels, cameras, p, k, seed=seed, camera_aware=aware)
        plan = np.asarray(made.plan(0))
    except (TypeError, AttributeError, ValueError) as error:
        raise DataError(f"sampler {recipe.sampler} cannot be used: {error}") from error
    if plan.ndim != 2 or not plan.size or not np.issubdtype(plan.dtype, np.integer):
        raise DataError(f"plan of sampler {recipe.sampler} must give whole numbers (batches, images), not {plan.shape}")
    if plan.min() < 0 or plan.max() >= len(labels):
        raise DataError(f"sampler {recipe.sampler} names images that are not there: 0 to {len(labels) - 1} are")
    return made


def _stream(*numbers: int) -> int:
    """A seed of 64 bits for the random numbers of one step."""
    return int(np.random.SeedSequence([_AUGMENTATION, *numbers]).generate_state(1, np.uint64)[0])
