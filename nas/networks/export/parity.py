"""Whether two sets of embeddings of the same images say the same: cosine an image, and the nearest neighbour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

RANDOM_CROPS = 8  # where no images are given: enough for a wrong operator, which is wrong on every image
_TIE = 1e-3  # cosines closer than fp16 tells apart: either neighbour is the nearest


@dataclass(frozen=True)
class Parity:
    """How an exported file compares with PyTorch in fp32.

    Attributes:
        min_cosine, mean_cosine: between the two embeddings of an image.
        max_difference: largest absolute difference of an embedding's value, over the largest value.
        top1_agreement: share of images whose nearest other image is the same.
        given: how many of them were given, the others are random.
    """

    min_cosine: float
    mean_cosine: float
    max_difference: float
    top1_agreement: float
    images: int
    given: int


def random_crops(input_size: tuple[int, int], count: int = RANDOM_CROPS, seed: int = 0) -> Tensor:
    """Normal noise (N, 3, H, W), half of it smooth as images are; the same on every machine."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, *input_size, generator=generator)
    coarse = torch.randn(count - count // 2, 3, 4, 2, generator=generator)
    noise[count // 2 :] = F.interpolate(coarse, size=input_size, mode="bilinear")
    return noise


def compare(reference: Tensor, exported: Tensor, *, images: int, given: int = 0) -> Parity:
    """Compares embeddings (N, D) of the same images; what is not finite or has another shape differs entirely."""
    if reference.shape != exported.shape or not torch.isfinite(exported).all():
        return Parity(-1.0, -1.0, float("inf"), 0.0, images, given)
    cosine = F.cosine_similarity(reference.double(), exported.double())
    difference = (reference - exported).abs().max() / reference.abs().max().clamp(min=1e-30)
    return Parity(
        float(cosine.min()), float(cosine.mean()), float(difference), top1_agreement(reference, exported), images, given
    )


def top1_agreement(reference: Tensor, exported: Tensor) -> float:
    """Share of rows whose nearest other row, by cosine, is the same; one as near (to 0.001) counts as the same.

    >>> a = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> top1_agreement(a, a), round(top1_agreement(a, a[[2, 1, 0]]), 3)
    (1.0, 0.667)
    """
    mine, theirs = _similarities(reference), _similarities(exported)
    chosen = mine.gather(1, theirs.argmax(1, keepdim=True))[:, 0]
    return float((chosen >= mine.amax(1) - _TIE).double().mean())


def _similarities(embeddings: Tensor) -> Tensor:
    unit = F.normalize(embeddings.double(), dim=1)
    return (unit @ unit.T).fill_diagonal_(-2.0)
