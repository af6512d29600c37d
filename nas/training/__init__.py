"""Training: recipes, losses, schedule, the trainer, checkpoints and features.

Names load when first used, so that recipes can be read without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.training.checkpoints import Checkpoint as Checkpoint
    from nas.training.checkpoints import load_checkpoint as load_checkpoint
    from nas.training.checkpoints import network_from_checkpoint as network_from_checkpoint
    from nas.training.extraction import FeatureExtractor as FeatureExtractor
    from nas.training.failures import Diverged as Diverged
    from nas.training.failures import OutOfMemory as OutOfMemory
    from nas.training.failures import TrainingInterrupted as TrainingInterrupted
    from nas.training.failures import failure_kind as failure_kind
    from nas.training.fidelity import Fidelity as Fidelity
    from nas.training.inherit import identity_at_start as identity_at_start
    from nas.training.recipe import Recipe as Recipe
    from nas.training.recipe import load_recipe as load_recipe
    from nas.training.results import EpochRecord as EpochRecord
    from nas.training.results import TrainingResult as TrainingResult
    from nas.training.run import final_recipe as final_recipe
    from nas.training.run import train as train
    from nas.training.scoring import score as score

_LAZY = {
    "Checkpoint": "checkpoints",
    "Diverged": "failures",
    "EpochRecord": "results",
    "FeatureExtractor": "extraction",
    "Fidelity": "fidelity",
    "OutOfMemory": "failures",
    "Recipe": "recipe",
    "TrainingInterrupted": "failures",
    "TrainingResult": "results",
    "failure_kind": "failures",
    "final_recipe": "run",
    "identity_at_start": "inherit",
    "load_checkpoint": "checkpoints",
    "load_recipe": "recipe",
    "network_from_checkpoint": "checkpoints",
    "score": "scoring",
    "train": "run",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
