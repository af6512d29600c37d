"""Two-step fine-tuning: a new classifier on a source network, trained alone first, then with everything else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn

from nas.errors import TrainingError
from nas.networks import ReidNetwork
from nas.spaces.candidate import Candidate
from nas.training.checkpoints import copy_weights, load_checkpoint
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


def load_source(network: ReidNetwork, path: Path) -> Tensor | None:
    """Copies all weights but the classifier's from a checkpoint of the same candidate (its recipe may differ).

    Returns:
        The images that the source has seen (`Checkpoint.seen`).

    Raises:
        TrainingError: the file cannot be read, or holds another network; names both.
    """
    source = load_checkpoint(path)
    if source.candidate.architecture != network.candidate.architecture:
        raise TrainingError(
            f"{path} holds {source.candidate.architecture}, not {network.candidate.architecture}",
            "Transfer goes on with the same network on other data; use a start to add blocks to a plain network.",
        )
    copy_weights(network, source.weights, str(path), skip=lambda name: name.startswith("classifier."))
    return source.seen
