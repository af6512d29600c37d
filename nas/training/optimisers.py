"""The optimisers of a training: one for the network, and plain SGD for the centres of the center loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from nas.training.losses import TotalLoss
from nas.training.recipe import Recipe

_OPTIMISERS: Mapping[str, Callable[[list[nn.Parameter], Recipe], Optimizer]] = {
    "adam": lambda p, r: Adam(p, r.base_lr, betas=r.betas, eps=r.eps, weight_decay=r.weight_decay, fused=_fused(p)),
    "adamw": lambda p, r: AdamW(p, r.base_lr, betas=r.betas, eps=r.eps, weight_decay=r.weight_decay, fused=_fused(p)),
    "sgd": lambda p, r: SGD(p, r.base_lr, momentum=r.momentum, weight_decay=r.weight_decay, fused=_fused(p)),
}


def network_optimiser(network: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser over everything that is trained; weight decay is the same for all of it.

    With a `block_lr_factor` the blocks are a group of their own, whose rate is that factor times the others'.
    """
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if recipe.block_lr_factor == 1.0:
        return _OPTIMISERS[recipe.optimiser]([p for _, p in trained], recipe)
    blocks = [p for name, p in trained if name.startswith("blocks.")]
    optimiser = _OPTIMISERS[recipe.optimiser]([p for name, p in trained if not name.startswith("blocks.")], recipe)
    if blocks:
        optimiser.add_param_group({"params": blocks, "lr_factor": recipe.block_lr_factor})
    return optimiser


def centre_optimiser(loss: TotalLoss, recipe: Recipe) -> Optimizer | None:
    """SGD without momentum or decay on the centres, None when the loss has none."""
    return None if loss.centres is None else SGD([loss.centres.weight], recipe.center.lr)


def set_learning_rate(optimiser: Optimizer, lr: float) -> None:
    """Sets the rate of all groups, times a group's own factor."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group.get("lr_factor", 1.0)


def _fused(parameters: list[nn.Parameter]) -> bool:
    """One kernel for all parameters where there is one: it makes the step cheap for networks of many small tensors."""
    return all(p.device.type in ("cpu", "cuda") for p in parameters)
