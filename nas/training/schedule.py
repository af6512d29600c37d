"""The learning rate at any point of a training, as a pure function of the recipe.

Having no state, it needs no place in a checkpoint: a resumed training computes the same rate again. Time is counted
in epochs: epoch 1 is t = 1.0, and with `per: step` the s-th of n steps of epoch e is t = e - 1 + s / n.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.training.recipe import Recipe


def learning_rate(recipe: Recipe, epoch: int, step: int = 1, steps: int = 1) -> float:
    """The rate of one step.

    Args:
        recipe: its `base_lr`, `schedule`, `per`, warm-up and transfer fields are used.
        epoch: 1 .. `recipe.total_epochs`; transfer's head epochs come first and have a constant rate.
        step: 1 .. steps, only looked at with `per: step`.

    >>> from nas.training.recipe import Recipe
    >>> [f"{learning_rate(Recipe(), epoch):.4g}" for epoch in (1, 2, 10, 39, 40, 69, 70, 120)]
    ['3.815e-05', '7.28e-05', '0.00035', '0.00035', '3.5e-05', '3.5e-05', '3.5e-06', '3.5e-06']
    """
    if epoch <= recipe.head_epochs and recipe.transfer is not None:
        return recipe.transfer.head_lr or recipe.base_lr
    own = epoch - recipe.head_epochs
    t = float(own) if recipe.per == "epoch" else own - 1 + step / steps
    return recipe.base_lr * warmup_factor(recipe, t) * decay_factor(recipe, t)


def warmup_factor(recipe: Recipe, t: float) -> float:
    """Linear from `warmup_factor` at t = 0 to 1 at t = `warmup_epochs`: f + (1 - f) t / T."""
    if t >= recipe.warmup_epochs:
        return 1.0
    return recipe.warmup_factor + (1.0 - recipe.warmup_factor) * t / recipe.warmup_epochs


def decay_factor(recipe: Recipe, t: float) -> float:
    """Steps: `decay` to the number of milestones reached; cosine: half a wave from warm-up's end to the last epoch."""
    if recipe.schedule == "steps":
        return recipe.decay ** sum(t >= milestone for milestone in recipe.milestones)
    if recipe.schedule == "constant" or t <= recipe.warmup_epochs:
        return 1.0
    span = max(recipe.epochs - recipe.warmup_epochs, 1)
    wave = 0.5 * (1.0 + math.cos(math.pi * min((t - recipe.warmup_epochs) / span, 1.0)))
    return recipe.final_lr_factor + (1.0 - recipe.final_lr_factor) * wave
