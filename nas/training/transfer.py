"""Two-step fine-tuning: a new classifier on a source network, trained alone first, then with everything else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn

from nas.errors import TrainingError
from nas.networks import ReidNetwork
from nas.spaces.candidate import Candidate
from nas.training.checkpoints import Checkpoint, copy_weights, load_checkpoint
from nas.training.settings import Transfer


@contextmanager
def only_trainable(network: nn.Module, part: nn.Module) -> Iterator[None]:
    """Inside, no parameter outside `part` is trained; afterwards exactly those that were trained before are again.

    What was frozen for another reason (the BNNeck's bias) stays frozen throughout.
    """
    kept = {id(parameter) for parameter in part.parameters()}
    frozen = [p for p in network.parameters() if p.requires_grad and id(p) not in kept]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def source_file(transfer: Transfer, candidate: Candidate) -> Path:
    """The source checkpoint of a candidate: `{id}` in the path stands for the id of its network.

    So each candidate of a study can go on from its own source, e.g. `from: market/{id}.pt`.
    """
    return transfer.file_of(candidate.architecture.id)


def check_source(path: Path, candidate: Candidate) -> Checkpoint:
    """The checkpoint that a transfer goes on from: of the same network (its recipe may differ), trained to its end.

    Raises:
        TrainingError: the file cannot be read, or holds another network, or half a training; says which.
    """
    source = finished_source(path)
    if source.candidate.architecture != candidate.architecture:
        raise TrainingError(
            f"{path} holds {source.candidate.architecture}, not {candidate.architecture}",
            "Transfer goes on with the same network on other data; use a start to add blocks to a plain network.",
        )
    return source


def finished_source(path: Path) -> Checkpoint:
    """A checkpoint of a whole training; a `TrainingError` where the file cannot be read, or holds half of one."""
    source = load_checkpoint(path)
    if not source.finished:
        raise TrainingError(
            f"{path} is not trained to its end: {source.epoch} of {source.recipe.total_epochs} epochs",
            "Finish its training first.",
        )
    return source


def load_source(network: ReidNetwork, path: Path) -> Tensor | None:
    """Copies all weights but the classifier's from the source of a transfer; returns the images that it has seen."""
    source = check_source(path, network.candidate)
    copy_weights(network, source.weights, str(path), skip=lambda name: name.startswith("classifier."))
    return source.seen
