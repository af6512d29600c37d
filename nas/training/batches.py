"""The batches of a training, as a pure function of seed, epoch and step.

Neither the sampler nor the augmentation carries hidden state from step to step, so a training resumes in mid-epoch
with nothing but the numbers of epoch and step. What a batch looks like is left to `nas.data`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nas.data.augment import BatchAugmenter
from nas.data.prepared import PackedSplit
from nas.data.sampler import PKSampler
from nas.training.recipe import Recipe

_AUGMENTATION = 0xA06


@dataclass(frozen=True)
class Batch:
    """Augmented, normalised images (B, 3, H, W) float32 and labels (B,) int64, both on the training's device."""

    images: Tensor
    labels: Tensor


class TrainingBatches:
    """Random access to the batches of every epoch.

    Args:
        split: the training images, in memory, memory-mapped or on the device.
        recipe: P, K, camera awareness and augmentation.
        seed: same seed, same batches.
        device: where the batches are wanted.

    Raises:
        DataError: fewer identities than a batch needs.
    """

    def __init__(self, split: PackedSplit, recipe: Recipe, seed: int, device: torch.device) -> None:
        self.split, self.seed, self.device = split, seed, device
        self._sampler = PKSampler(
            split.labels,
            split.cameras,
            recipe.identities,
            recipe.images,
            seed=seed,
            camera_aware=recipe.camera_aware,
        )
        self._augment = BatchAugmenter(recipe.augmentation, split.size, device)
        self._labels = split.labels.to(device)
        self._layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self._generator = torch.Generator()

    def steps(self, epoch: int) -> int:
        """Number of batches in an epoch (from 1)."""
        return len(self._sampler.plan(epoch - 1))

    def get(self, epoch: int, step: int) -> Batch:
        """The batch of a step (from 1) of an epoch (from 1)."""
        indices = torch.from_numpy(self._sampler.plan(epoch - 1)[step - 1])
        self._generator.manual_seed(_stream(self.seed, epoch, step))
        images = self._augment(self.split.gather(indices), self._generator).contiguous(memory_format=self._layout)
        return Batch(images, self._labels[indices.to(self.device, non_blocking=True)])


def _stream(*numbers: int) -> int:
    """A seed of 64 bits for the random numbers of one step."""
    return int(np.random.SeedSequence([_AUGMENTATION, *numbers]).generate_state(1, np.uint64)[0])
