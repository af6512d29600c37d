"""The optimisers of a training: one for the network, and plain SGD for the centres of the center loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from nas.training.losses import TotalLoss
from nas.training.recipe import Recipe

_OPTIMISERS: Mapping[str, Callable[[list[nn.Parameter], Recipe], Optimizer]] = {
    "adam": lambda p, r: Adam(p, r.base_lr, betas=r.betas, eps=r.eps, capturable=r.capture, **_usual(p, r)),
    "adamw": lambda p, r: AdamW(p, r.base_lr, betas=r.betas, eps=r.eps, capturable=r.capture, **_usual(p, r)),
    "sgd": lambda p, r: SGD(p, r.base_lr, momentum=r.momentum, **_usual(p, r)),
}


def network_optimiser(network: nn.Module, recipe: Recipe, maps: Iterable[nn.Parameter] = ()) -> Optimizer:
    """The recipe's optimiser over everything that is trained, `maps` of a loss too; weight decay is the same for all.

    With a `block_lr_factor` the blocks are a group of their own, whose rate is that factor times the others'.
    """
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    apart = [] if recipe.block_lr_factor == 1.0 else [p for name, p in trained if name.startswith("blocks.")]
    rest = [*(p for name, p in trained if not (apart and name.startswith("blocks."))), *maps]
    optimiser = _OPTIMISERS[recipe.optimiser](rest, recipe)
    if apart:
        optimiser.add_param_group({"params": apart, "lr_factor": recipe.block_lr_factor})
    if recipe.capture:  # a recorded step reads its rate anew from a tensor; each group has its own
        for group in optimiser.param_groups:
            group["lr"] = torch.full((), recipe.base_lr, device=rest[0].device)
    return optimiser


def centre_optimiser(loss: TotalLoss, recipe: Recipe) -> Optimizer | None:
    """SGD without momentum or decay on the centres, None when the loss has none."""
    if loss.centres is None:
        return None
    # Unfused, a scaled step waits for the GPU to tell whether gradients are finite.
    weight = loss.centres.weight
    return SGD([weight], recipe.center.lr, fused=True if weight.is_cuda else None)


def set_learning_rate(optimiser: Optimizer, lr: float) -> None:
    """Sets the rate of all groups, times a group's own factor."""
    for group in optimiser.param_groups:
        rate = lr * group.get("lr_factor", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _usual(parameters: list[nn.Parameter], recipe: Recipe) -> dict[str, Any]:
    """Weight decay, and one kernel for all parameters where there is one, for networks of many small tensors."""
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    return {"weight_decay": recipe.weight_decay, "fused": fused}
