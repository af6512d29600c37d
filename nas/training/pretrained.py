"""Pretrained weights, looked for before anything starts: a study must not find a missing file after its first hour."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nas.errors import TrainingError
from nas.networks.weights import is_here, require_weights
from nas.progress import Progress
from nas.spaces.candidate import Candidate
from nas.training.recipe import Recipe


def require_pretrained(
    networks: Iterable[Candidate], recipe: Recipe, progress: Progress | None = None, *, fetch: bool = True
) -> list[Path]:
    """The files that networks start from, found (published ones downloaded) and seen to fit; [] for random weights.

    Args:
        networks: everything that will be trained from `recipe.weights`, the reference network too; blocks do not
            matter.
        fetch: download published weights; else those that are not here are left out.

    Raises:
        TrainingError: when weights are missing, cannot be downloaded or do not fit; says what to do.
    """
    bodies = dict.fromkeys(network.baseline for network in networks)
    several = len({body.backbone for body in bodies}) > 1
    found = []
    for body in bodies:
        source = recipe.weights_of(body.backbone)
        if source is None or not (fetch or is_here(body.backbone, source)):
            continue
        try:
            found.append(require_weights(body, source, progress))
        except TrainingError as error:
            if isinstance(recipe.weights, str) and several and "does not fit" in error.message:
                # One file cannot fit two backbones: the baseline's weights were given, the reference's were not.
                raise TrainingError(error.message, _one_a_backbone(source, bodies)) from error
            raise
    return found


def _one_a_backbone(source: str, bodies: Iterable[Candidate]) -> str:
    names = list(dict.fromkeys(body.backbone for body in bodies))
    listed = ", ".join(f"{name}: FILE" for name in names)
    return f"{source} is given for {' and '.join(names)}; give each its own: weights: {{{listed}}}, null for random"
