"""The trained teachers of a distillation: checked, loaded, and asked about each batch."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from nas.errors import TrainingError
from nas.networks import ReidNetwork
from nas.spaces.plugins import code_names
from nas.training.checkpoints import PUBLISHED, Checkpoint, load_checkpoint, network_from_checkpoint
from nas.training.losses import Taught
from nas.training.recipe import Recipe, with_teachers
from nas.training.settings import HEAD_SETTINGS


def check_teachers(
    recipe: Recipe, data_id: str | None = None, input_size: tuple[int, int] | None = None
) -> list[Checkpoint]:
    """A recipe's teachers, if they can teach; none without distillation.

    Args:
        data_id: `PreparedData.dataset_id` of the images to train on; None: not known yet.
        input_size: height and width of these images; the recipe's, when None.

    Raises:
        TrainingError: one cannot be read, is not trained to its end or on images of another size or normalisation; for
            logits, it learned other identities or no classifier.
    """
    paths = () if recipe.distil is None else recipe.distil.teacher
    return [_checked(load_checkpoint(path), recipe, path, data_id, input_size or recipe.input) for path in paths]


def _checked(saved: Checkpoint, recipe: Recipe, path: Path, data_id: str | None, size: tuple[int, int]) -> Checkpoint:
    what = f"distil: the teacher {path} ({saved.candidate})"
    if not saved.finished:
        raise TrainingError(
            f"{what} is not trained to its end: {saved.epoch} of {saved.recipe.total_epochs} epochs",
            "Finish its training first.",
        )
    if saved.input_size != tuple(size):
        theirs, ours = ("x".join(map(str, one)) for one in (saved.input_size, size))
        raise TrainingError(
            f"{what} was trained on images of {theirs}, but they are {ours} here",
            "Train teacher and network at one size: both see the same batches.",
        )
    taught, learned = saved.recipe.augmentation, recipe.augmentation
    if (taught.mean, taught.std) != (learned.mean, learned.std):
        raise TrainingError(
            f"{what} was trained on images of mean {taught.mean} and deviation {taught.std}, but they are"
            f" {learned.mean} and {learned.std} here",
            "Train teacher and network with one augmentation.mean and .std: both see the same batches.",
        )
    if recipe.distil is None or "logits" not in recipe.distil.loss:
        return saved
    if "cross_entropy" not in saved.recipe.terms:
        raise TrainingError(
            f"{what} was trained without cross_entropy, so that its logits are no probabilities",
            "Write loss: features or loss: relations.",
        )
    if saved.dataset_id == PUBLISHED or data_id not in (None, saved.dataset_id):
        raise TrainingError(
            f"{what} learned other identities than those trained here, so that its logits mean others",
            "Train it on the same data and view, or write loss: features or loss: relations.",
        )
    return saved


def taught_code(recipe: Recipe) -> frozenset[str]:
    """The code of backbone, blocks and head of the teachers that does not ship with this package.

    Raises:
        SourceError: a teacher is missing.
    """
    with_teachers(recipe)  # that they are here
    found = set[str]()
    for path in () if recipe.distil is None else recipe.distil.teacher:
        at = path.stat()
        found |= _code(path, at.st_mtime_ns, at.st_size)
    return frozenset(found)


@lru_cache
def _code(path: Path, changed: int, size: int) -> frozenset[str]:
    saved = load_checkpoint(path)
    return saved.candidate.own_code | code_names("head", [saved.recipe.head_name], HEAD_SETTINGS)


def load_teachers(recipe: Recipe, data_id: str) -> list[ReidNetwork]:
    """The teachers on the CPU, in evaluation mode and without gradients; none without distillation."""
    return [network_from_checkpoint(saved).requires_grad_(False) for saved in check_teachers(recipe, data_id)]


def ask_teachers(teachers: list[ReidNetwork], images: torch.Tensor) -> tuple[Taught, ...]:
    """What each teacher says of a batch (B, 3, H, W)."""
    with torch.no_grad():
        said = [(network(images), network.classifier) for network in teachers]
        return tuple(Taught(embedding, None if last is None else last(embedding)) for embedding, last in said)
