"""Embeddings of images: of packed splits while evaluating, of files and arrays for a user (`FeatureExtractor`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from nas.data.augment import BatchAugmenter
from nas.data.augmentation import Augmentation
from nas.data.content import unreadable_error
from nas.data.devices import usable_device
from nas.data.images import as_rgb, read_image
from nas.data.prepared import PackedSplit
from nas.data.records import ImageRecord
from nas.errors import DataError
from nas.networks import ReidNetwork
from nas.progress import Progress, silent
from nas.training.checkpoints import load_checkpoint, network_from_checkpoint
from nas.training.failures import Diverged

if TYPE_CHECKING:
    from nas.training.checkpoints import Checkpoint

EVALUATION_BATCH = 128
"""Images at a time when nothing is trained."""
SMALLEST_SPREAD = 1e-5
"""Largest difference between entries of features of length 1 up to which they count as one: about a hundred roundings
of float32, so that what is left of a difference is the arithmetic's and not the network's."""


def embed_batches(
    network: ReidNetwork,
    batches: Iterable[Tensor],
    augmentation: Augmentation,
    device: torch.device,
    *,
    flip: bool = False,
) -> Iterator[Tensor]:
    """Embeddings of uint8 batches (B, 3, H, W): fp32 (B, D), L2-normalised, on the device.

    The network is put into evaluation mode and back; nothing is augmented, only normalised. With `flip` an embedding is
    the mean of the image's and its mirror image's (the flip test).
    """
    was_training = network.training
    network.eval()
    normalise = BatchAugmenter(augmentation, network.input_size, device).normalise
    try:
        for batch in batches:
            with torch.inference_mode():
                images = normalise(batch).contiguous(memory_format=torch.channels_last)
                embedding = network(images)
                if flip:
                    embedding = embedding + network(images.flip(3))
                yield functional.normalize(embedding.float(), dim=1)
    finally:
        network.train(was_training)


def embed_split(
    network: ReidNetwork,
    split: PackedSplit,
    augmentation: Augmentation,
    *,
    batch: int = EVALUATION_BATCH,
    progress: Progress | None = None,
    flip: bool = False,
) -> Tensor:
    """Embeddings of all images of a split: fp32 (N, D), L2-normalised, on the network's device."""
    device = next(network.parameters()).device
    tell = progress or silent
    places = [torch.arange(i, min(i + batch, len(split))) for i in range(0, len(split), batch)]
    parts = []
    for embedding in embed_batches(network, map(split.gather, places), augmentation, device, flip=flip):
        parts.append(embedding)
        tell(min(len(parts) * batch, len(split)), len(split), "embedding images")
    return torch.cat(parts) if parts else torch.empty((0, network.embedding_dim), device=device)


def check_features(features: Tensor, *, several: bool = True) -> None:
    """Refuse features (N, D) that say nothing, where they are made.

    Args:
        several: they are of different images, so that all alike mean a collapsed network.

    Raises:
        Diverged: a feature is NaN, infinite or zero, or all are alike.
    """
    norms = features.norm(dim=1)
    wrong = int((~((norms > 0.5) & norms.isfinite())).sum())
    if wrong:
        raise Diverged(
            f"the features of {wrong} of {len(features)} images are not finite or zero",
            "Lower base_lr, or set clip_norm.",
        )
    if several and len(features) > 1 and bool((features - features[0]).abs().amax() < SMALLEST_SPREAD):
        raise Diverged(
            f"the features of all {len(features)} images are the same: the network has collapsed",
            "Lower base_lr, or look at the losses.",
        )


class FeatureExtractor:
    """Turns images into re-identification features with a trained network.

    Args:
        checkpoint: file written by a training, or a `Checkpoint` that is loaded already.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch: images at a time.

    Example: `features = FeatureExtractor("last.pt")(["a.jpg", "b.jpg"])` gives a float32 array (2, D) whose rows have
    length 1, so that `features @ features.T` are cosine similarities.

    Raises:
        TrainingError: the checkpoint is missing or damaged, or there is no such device.
    """

    def __init__(self, checkpoint: str | Path | Checkpoint, device: str = "cpu", batch: int = 64) -> None:
        self.device = torch.device(usable_device(device))
        loaded = load_checkpoint(checkpoint) if isinstance(checkpoint, (str, Path)) else checkpoint
        self.candidate, self.size, self.batch = loaded.candidate, loaded.input_size, batch
        self._augmentation = loaded.recipe.augmentation
        self._network = network_from_checkpoint(loaded, self.device)
        self._network.to(memory_format=torch.channels_last)

    @property
    def network(self) -> ReidNetwork:
        """The network."""
        return self._network

    def pixels(self, image: Any) -> NDArray[np.uint8]:
        """One image as the network sees it before normalisation, uint8 (H, W, 3).

        Raises:
            DataError: it cannot be read.
        """
        if isinstance(image, (str, Path)):
            return read_image(ImageRecord(Path(image), 0, 0), self.size)
        return _resized(image, self.size)

    def normalised(self, batch: Tensor) -> Tensor:
        """uint8 images (B, 3, H, W) as the network takes them, on its device."""
        return BatchAugmenter(self._augmentation, self.size, self.device).normalise(batch.to(self.device))

    @property
    def dim(self) -> int:
        """Length of a feature."""
        return self._network.embedding_dim

    def __call__(self, images: Any, progress: Progress | None = None) -> NDArray[np.float32]:
        """Features (N, D) of N images in any mixture and size, or (1, D) of one.

        Args:
            images: paths, PIL images, uint8 arrays (H, W, 3) or tensors (3, H, W): one, or an iterable of them.
            progress: told the images done.

        Raises:
            DataError: images cannot be read; all are counted, the first few named.
            Diverged: a feature is NaN, infinite or zero.
        """
        images = _several(images)
        features, unreadable = self.extract(images, progress)
        if unreadable:
            raise unreadable_error(list(unreadable.values()), len(images))
        return features

    def extract(
        self, images: Sequence[Any], progress: Progress | None = None
    ) -> tuple[NDArray[np.float32], dict[int, str]]:
        """Features (M, D) of the images that can be read, in order, and why the others cannot, by place.

        Raises:
            Diverged: a feature is NaN, infinite or zero.
        """
        tell = progress or silent
        unreadable: dict[int, str] = {}
        parts = []
        for part in embed_batches(self._network, self._batches(images, unreadable), self._augmentation, self.device):
            parts.append(part.cpu())
            tell(sum(map(len, parts)) + len(unreadable), len(images), "extracting features")
        if not parts:
            return np.empty((0, self.dim), dtype=np.float32), unreadable
        features = torch.cat(parts)
        check_features(features, several=False)  # the images given may well be equal
        return features.numpy(), unreadable

    def _batches(self, images: Sequence[Any], unreadable: dict[int, str]) -> Iterator[Tensor]:
        for begin in range(0, len(images), self.batch):
            pixels = []
            for place, image in enumerate(images[begin : begin + self.batch], start=begin):
                try:
                    pixels.append(self.pixels(image))
                except DataError as error:
                    unreadable[place] = error.message
            if pixels:
                yield torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def _several(images: Any) -> Sequence[Any]:
    """The images as a list; one image is one."""
    one = isinstance(images, (str, Path)) or (getattr(images, "ndim", 0) == 3) or not isinstance(images, Iterable)
    return [images] if one else list(images)


def _resized(image: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A PIL image, uint8 array (H, W, 3) or tensor (3, H, W), resized as the packed store does."""
    if isinstance(image, Tensor):
        image = image.detach().cpu().movedim(0, -1).numpy() if image.ndim == 3 else image.detach().cpu().numpy()
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DataError(f"an image array must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise DataError(f"an image must be a path, a PIL image, an array or a tensor, not {type(image).__name__}")
    resized = as_rgb(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8)
