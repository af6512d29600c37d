"""Finds the sites of a backbone by its structure, and runs it with blocks at them.

A trunk is a nesting of sequences. What is not a sequence and holds convolutions itself is a *unit* (a residual block
or its like): there is a site after the stem and after each unit. `nas.spaces.sites` has the same facts as tables, for
those who must not load a network; tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nas.networks.shapes import FeatureShape

UNKNOWN = FeatureShape(0, 0, 0)


@dataclass(frozen=True)
class FoundSite:
    """A site as found in a trunk.

    Attributes:
        number: from 1 (after the stem).
        stage: 0 for the stem, then counted; a stage begins where a sequence begins or a unit has a stride.
        place: from 1 within the stage.
        stage_length: sites in the stage.
        path: name of the module that the site follows.
        shape: of the feature map there; `UNKNOWN` before `with_shapes`.
    """

    number: int
    stage: int
    place: int
    path: str
    stage_length: int = 0
    shape: FeatureShape = UNKNOWN


def plan(trunk: nn.Sequential) -> list[str]:
    """Names of the modules that run one after the other: those of the stem, units, those after the last unit."""
    return list(_flatten(trunk, ""))


def _flatten(sequence: nn.Sequential, prefix: str) -> Iterator[str]:
    for name, child in sequence.named_children():
        if isinstance(child, nn.Sequential) and any(map(_is_unit, child.modules())):
            yield from _flatten(child, f"{prefix}{name}.")
        else:
            yield prefix + name


def _is_unit(module: nn.Module) -> bool:
    """A composite that is no mere sequence."""
    return not isinstance(module, nn.Sequential) and next(module.children(), None) is not None


def find_sites(trunk: nn.Sequential) -> tuple[FoundSite, ...]:
    """The sites of a trunk with the strides as published (a last stride of 1 hides where the last stage begins)."""
    paths = plan(trunk)
    units = [path for path in paths if _is_unit(trunk.get_submodule(path))]
    sites = [FoundSite(1, 0, 1, paths[paths.index(units[0]) - 1])]
    for path in units:
        last = sites[-1]
        if last.stage == 0 or _begins_stage(trunk, last.path, path):
            sites.append(FoundSite(last.number + 1, last.stage + 1, 1, path))
        else:
            sites.append(FoundSite(last.number + 1, last.stage, last.place + 1, path))
    lengths = [sum(other.stage == site.stage for other in sites) for site in sites]
    return tuple(replace(site, stage_length=length) for site, length in zip(sites, lengths, strict=True))


def _begins_stage(trunk: nn.Sequential, before: str, path: str) -> bool:
    return before.rpartition(".")[0] != path.rpartition(".")[0] or _has_stride(trunk.get_submodule(path))


def _has_stride(unit: nn.Module) -> bool:
    return any(max(conv.stride) > 1 for conv in _convolutions(unit))


def _convolutions(unit: nn.Module) -> Iterator[nn.Conv2d]:
    return (module for module in unit.modules() if isinstance(module, nn.Conv2d))


def set_stride(unit: nn.Module, stride: int) -> None:
    """Gives every strided convolution of a unit another stride (the unit's structure stays)."""
    for conv in _convolutions(unit):
        if max(conv.stride) > 1:
            conv.stride = (stride, stride)


def with_shapes(
    trunk: nn.Sequential, sites: tuple[FoundSite, ...], input_size: tuple[int, int]
) -> tuple[FoundSite, ...]:
    """The sites with the shapes that feature maps have there, for inputs of (height, width) pixels."""
    seen: dict[str, torch.Size] = {}

    def look(path: str, x: Tensor) -> Tensor:
        seen[path] = x.shape
        return x

    device = next(trunk.parameters()).device
    was_training = trunk.training
    trunk.eval()
    with torch.no_grad():
        x = torch.empty(1, 3, *input_size, device=device)
        for path in plan(trunk):
            x = look(path, trunk.get_submodule(path)(x))
    trunk.train(was_training)
    return tuple(replace(site, shape=FeatureShape(*seen[site.path][1:])) for site in sites)


def run_with_blocks(
    trunk: nn.Sequential, paths: list[str], blocks: nn.ModuleDict, after: Mapping[str, str], x: Tensor
) -> Tensor:
    """Runs a trunk, and after the module `path` the block `blocks[after[path]]` where there is one.

    Args:
        x: images (B, 3, H, W).

    Returns:
        The last feature map, (B, C, h, w).
    """
    for path in paths:
        x = trunk.get_submodule(path)(x)
        if path in after:
            x = blocks[after[path]](x)
    return x
