"""`init: inherit`: a candidate starts from the trained baseline's weights, its blocks from their own initialisation.

A block that is the identity at its insertion (AGW, ABD, a zero-initialised C-NL) leaves the baseline's features as
they are, so a few epochs are enough to compare placements. Blocks that are not (SE, HAC, a plain gate) start from
scaled features; `identity_at_start` says which it is.
"""

from __future__ import annotations

from pathlib import Path

from nas.errors import TrainingError
from nas.networks import ReidNetwork
from nas.networks.blocks import get_block
from nas.spaces.candidate import Candidate
from nas.training.checkpoints import copy_weights, load_checkpoint


def inherit_weights(network: ReidNetwork, path: Path) -> None:
    """Copies everything but the blocks from the checkpoint of a trained baseline.

    The classifier comes along when the baseline was trained for as many identities, otherwise it stays new.

    Raises:
        TrainingError: the file cannot be read, or its backbone is another one; names both.
    """
    source = load_checkpoint(path)
    mine, theirs = network.candidate, source.candidate
    if (mine.backbone, mine.backbone_params) != (theirs.backbone, theirs.backbone_params):
        raise TrainingError(
            f"{mine} cannot inherit from {path}, which holds {theirs}",
            "Give the checkpoint of a trained baseline with the same backbone and width.",
        )
    left_out = ("blocks.",) if source.num_classes == network.num_classes else ("blocks.", "classifier.")
    copy_weights(network, source.weights, str(path), skip=lambda name: name.startswith(left_out))


def identity_at_start(candidate: Candidate) -> bool:
    """Whether every block of a candidate passes its input on unchanged before it is trained."""
    return all(get_block(p.block).identity_at_insertion(**dict(p.params)) for p in candidate.placements)
