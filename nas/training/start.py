"""A warm start: a candidate goes on from a trained plain network, its blocks from their own first weights.

Trunk, neck and classifier are taken over whole, so that what is compared after a few epochs differs in the blocks
alone. A control (the plain network trained on for equally long) is repeated by moving its weights at rounding level,
which shows how much a training moves by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from nas.errors import TrainingError
from nas.files.hashes import sha256_of
from nas.networks import ReidNetwork
from nas.spaces.candidate import Candidate
from nas.training.checkpoints import SCRATCH, Checkpoint, copy_weights, load_checkpoint

MOVE = 1e-6
"""Relative size of a move: some ten roundings of fp32 (1.2e-7), far below what a step changes."""
_MOVED = 0x40FED


@dataclass(frozen=True)
class StartingPoint:
    """Where a training begins: the checkpoint whose weights it takes over (None: from scratch).

    `moved` is the number of a control, see `start_from`.
    """

    path: Path | None = None
    moved: int = 0

    @cached_property
    def id(self) -> str:
        """The start by content: `scratch`, or 16 digits of `Checkpoint.weights_sha256` and the number of the move."""
        return SCRATCH if self.path is None else start_id(load_checkpoint(self.path).weights_sha256, self.moved)

    @property
    def former_id(self) -> str:
        """As checkpoints name it that were written when a start was known by its whole file."""
        return SCRATCH if self.path is None else start_id(sha256_of(self.path), self.moved)


def start_id(sha256: str, moved: int = 0) -> str:
    """A start by content.

    >>> start_id("0123456789abcdef0123"), start_id("0123456789abcdef0123", 2)
    ('0123456789abcdef', '0123456789abcdef+2')
    """
    return sha256[:16] + (f"+{moved}" if moved else "")


def start_from(network: ReidNetwork, path: Path, *, moved: int = 0) -> torch.Tensor | None:
    """Takes over everything but the blocks from the checkpoint of a trained plain network; returns what that has seen.

    Args:
        moved: number of a control; each but 0 moves all weights by its own draw of `MOVE`.

    Raises:
        TrainingError: see `check_start`; also when the file cannot be read.
    """
    source = load_checkpoint(path)
    check_start(source, network.candidate, network.num_classes, str(path), network.input_size)
    copy_weights(network, source.weights, str(path), skip=lambda name: name.startswith("blocks."))
    if moved:
        _move(network, moved)
    return source.seen


def check_start(
    source: Checkpoint,
    candidate: Candidate,
    num_classes: int | None,
    what: str,
    input_size: tuple[int, int] | None = None,
) -> None:
    """Whether a candidate can go on from a checkpoint.

    Args:
        num_classes: identities it is trained on; None where that is not known.
        input_size: height and width of the images it is trained on; None where that is not known.

    Raises:
        TrainingError: it has blocks, is of another backbone or width, of other identities or images of another size,
            or not trained to its end.
    """
    if source.candidate.placements:
        raise TrainingError(
            f"{what} holds {source.candidate.architecture}, which has blocks; a start is a plain network",
            f"Give the checkpoint of {candidate.baseline}.",
        )
    if source.candidate.baseline != candidate.baseline:
        raise TrainingError(
            f"{candidate} cannot start from {what}, which holds {source.candidate.baseline}",
            "Give the checkpoint of a trained plain network with the same backbone, width and last stride.",
        )
    if num_classes not in (None, source.num_classes):
        raise TrainingError(
            f"{what} was trained on {source.num_classes} identities, but there are {num_classes} here",
            "Give a start that was trained on the same data; to go on with other data, see transfer.",
        )
    if input_size is not None and tuple(source.input_size) != tuple(input_size):
        theirs, ours = ("x".join(map(str, size)) for size in (source.input_size, input_size))
        raise TrainingError(
            f"{what} was trained on images of {theirs}, but they are {ours} here",
            "Give a start that was trained at this size, or set the recipe's input to its own.",
        )
    if not source.finished:
        raise TrainingError(
            f"{what} is not trained to its end: {source.epoch} of {source.recipe.total_epochs} epochs",
            "Finish its training first.",
        )


def _move(network: ReidNetwork, number: int) -> None:
    """Multiplies every weight by 1 + `MOVE` times a normal draw of that number's own stream."""
    seed = int(np.random.SeedSequence([_MOVED, number]).generate_state(1, np.uint64)[0])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + MOVE * torch.randn(parameter.shape, generator=generator))
