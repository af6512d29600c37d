"""Folds batch normalisation into the layers before it: the network as it is deployed, timed and exported.

Which normalisation follows which layer is seen by running the network once, not by names, so own blocks and backbones
are folded too. A normalisation stays where it follows no convolution or linear layer, or something else uses that
layer's output too; BNNeck becomes one multiplication and addition.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas.networks.network import ReidNetwork

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_LAYERS = (*_CONVOLUTIONS, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class ScaleShift(nn.Module):
    """out = x * scale + shift for (B, D): a batch normalisation whose statistics no longer change."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        mean, variance = norm.running_mean, norm.running_var
        if mean is None or variance is None:
            raise TypeError("only a normalisation with running statistics can be folded")
        scale = (norm.weight / torch.sqrt(variance + norm.eps)).detach()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", (norm.bias - mean * scale).detach())

    def forward(self, x: Tensor) -> Tensor:
        """Scales and shifts each feature."""
        return x * self.scale + self.shift


def fold_batchnorm(network: ReidNetwork) -> ReidNetwork:
    """A copy of a network as deployed: evaluation mode, normalisation folded, no classifier.

    Its embeddings equal those of `network` in evaluation mode up to rounding; that one is left as it is.
    """
    folded = copy.deepcopy(network).eval()
    folded.classifier = None
    for layer, norm in _followed_by_norm(folded):
        _fuse(folded, layer, norm)
    if isinstance(folded.bnneck, nn.BatchNorm1d):
        folded.bnneck = ScaleShift(folded.bnneck)
    folded.requires_grad_(False)
    return folded


class _Uses(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that take a tensor, of the tensors it is told to watch."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[int] = Counter()
        self._watched: dict[int, Tensor] = {}  # alive, so that no other tensor takes their identity

    def watch(self, tensor: Tensor) -> None:
        self._watched[id(tensor)] = tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {id(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        self.counts.update(given & self._watched.keys())
        return func(*args, **(kwargs or {}))


def _followed_by_norm(network: ReidNetwork) -> list[tuple[str, str]]:
    """Names of (layer, norm) where the norm, and nothing else, takes what the layer returned; each is called once."""
    blocked = {f"backbone.{network.sites[site - 1].path}" for site in network.candidate.sites}
    names = {module: name for name, module in network.named_modules()}
    calls: Counter[str] = Counter()
    uses, made = _Uses(), dict[int, str]()
    pairs: list[tuple[str, str, int]] = []

    def after_layer(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[names[module]] += 1
        made[id(output)] = names[module]
        uses.watch(output)

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls[names[module]] += 1
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])], names[module], id(inputs[0])))

    layers = [m for m, name in names.items() if _multiplies(m) and name not in blocked]
    hooks = [layer.register_forward_hook(after_layer) for layer in layers]
    hooks += [module.register_forward_pre_hook(before_norm) for module in names if isinstance(module, _NORMS)]
    place = next(network.parameters())
    try:
        with torch.no_grad(), uses:
            network(torch.zeros(1, 3, *network.input_size, device=place.device, dtype=place.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return [(layer, norm) for layer, norm, of in pairs if calls[layer] == calls[norm] == uses.counts[of] == 1]


def _multiplies(module: nn.Module) -> bool:
    """Whether a module uses its weights as they are; timm's `StdConv2d` and hooks such as weight_norm's change them."""
    plain = type(module) in _LAYERS or type(module).__name__ == "Conv2dSame"
    return plain and not module._forward_pre_hooks


def _fuse(network: nn.Module, layer_name: str, norm_name: str) -> None:
    layer, norm = network.get_submodule(layer_name), network.get_submodule(norm_name)
    fuse: Any = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
    _replace(network, layer_name, fuse(layer, norm))
    _replace(network, norm_name, _after_norm(norm))


def _after_norm(norm: nn.Module) -> nn.Module:
    """What a normalisation does beside normalising: timm's `BatchNormAct2d` holds the activation too."""
    rest = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), nn.Module)]
    return nn.Sequential(*rest) if rest else nn.Identity()


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Puts a module in another's place, with the block that stands after it."""
    parent, _, child = name.rpartition(".")
    for hook in network.get_submodule(name)._forward_hooks.values():
        module.register_forward_hook(hook)
    setattr(network.get_submodule(parent), child, module)
