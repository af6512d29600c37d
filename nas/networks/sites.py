"""Finds the sites of a network by its structure, and puts blocks there.

The network is run once without data, and every tensor is followed from the image to the last feature map. A module
whose output *all* of the signal passes through is a place where a block sees the whole map; of those, there is a site
after the stem and after each *unit*: a module that holds convolutions and is no mere sequence of them (a residual
block, or its like). Inside of units there is none. `nas.spaces.sites` has the same facts for those who must not load a
network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas.errors import SpaceError
from nas.networks.shapes import FeatureShape

STEMS = ("stem", "patch_embed")
"""What authors call a module that is the stem as a whole, whatever it consists of."""
INPUT = (3, 256, 128)
"""Channels, height and width: not square, so that an axis of channels is not taken for one of positions."""


@dataclass(frozen=True)
class FoundSite:
    """A site as found in a network.

    Attributes:
        number: from 1 (after the stem), in the order the network runs.
        stage: 0 for the stem, then counted: the units of one resolution.
        place: from 1 within the stage.
        stage_length: sites in the stage.
        shape: of the feature map there.
        stride: pixels of the input for one position there.
    """

    number: int
    stage: int
    place: int
    path: str
    stage_length: int
    shape: FeatureShape
    stride: int


def find_sites(module: nn.Module, input_shape: tuple[int, int, int] = INPUT) -> tuple[FoundSite, ...]:
    """The sites of any network that maps images to a feature map.

    A class may declare them instead: an attribute `sites` with the names of the modules they follow, in their order,
    the stem's first.

    >>> [(site.number, site.path) for site in find_sites(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)))]
    [(1, '0'), (2, '1')]

    Args:
        module: maps (B, 3, H, W) to (B, C, h, w); it is run once, in evaluation mode, on its own device.
        input_shape: channels, height and width of the images; stages are told by the resolution at this size.

    Raises:
        SpaceError: it has no sites; the sentence says why.
    """
    return sites_of(look_through(module, input_shape), module)


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        node: number of the tensor it returned, in the order they were made.
        shape: of that tensor.
    """

    path: str
    module: nn.Module
    node: int
    shape: torch.Size


@dataclass
class Trace:
    """What a run of a network showed.

    Attributes:
        calls: every call of a module that returned one tensor, in the order they ended.
        whole: numbers of the tensors through which everything passes.
        output: shape of what came out.
    """

    calls: list[Call]
    whole: frozenset[int]
    output: torch.Size
    input_shape: tuple[int, int, int]

    @cached_property
    def times(self) -> Counter[str]:
        """How often each module was called."""
        return Counter(call.path for call in self.calls)

    @cached_property
    def _parts(self) -> dict[str, list[Call]]:
        found: dict[str, list[Call]] = {}
        for call in self.calls:
            found.setdefault(_caller(call.path, self.times), []).append(call)
        return found

    def parts(self, path: str) -> list[Call]:
        """The modules that a module called, not those that these called; "" is the network."""
        return self._parts.get(path, [])

    def is_series(self, path: str) -> bool:
        """Whether the module runs its parts one after the other, with nothing beside them."""
        parts = self.parts(path)
        return bool(parts) and all(part.node in self.whole for part in parts)


def _caller(path: str, called: Container[str]) -> str:
    while path:
        path = path.rpartition(".")[0]
        if path in called:
            return path
    return ""


class _Followed(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Numbers the tensors that come from the images, and keeps what each was made of.

    What is written in place, into a tensor or a view of it, changes all that share its memory: they take its number.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sources: list[set[int]] = [set()]
        self._nodes = {id(images): 0}
        self._written: dict[int, int] = {}
        self._kept = [images]  # alive, so that no other tensor takes its identity or memory

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = (self.node(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor))
        sources = {node for node in given if node is not None}
        if sources:
            self.sources.append(sources)
            for made in tree_leaves(out):
                if isinstance(made, Tensor):
                    self._nodes[id(made)] = len(self.sources) - 1
                    self._kept.append(made)
            for argument, value in zip(func._schema.arguments, args, strict=False):
                if argument.is_write and isinstance(value, Tensor):
                    self._written[_memory(value)] = len(self.sources) - 1
                    self._kept.append(value)
        return out

    def node(self, tensor: Tensor) -> int | None:
        """The number of a tensor as it is now; None where it does not come from the images."""
        found = self._nodes.get(id(tensor)), self._written.get(_memory(tensor))
        return max((node for node in found if node is not None), default=None)

    def whole(self, last: int) -> frozenset[int]:
        """Tensors that every way from the images to the last tensor leads through."""
        needed, waiting = {last}, [last]
        while waiting:
            new = self.sources[waiting.pop()] - needed
            needed |= new
            waiting += new
        used = {source: node for node in sorted(needed) for source in self.sources[node]}  # by what was made last
        reach, found = 0, set()
        for node in sorted(needed):
            if reach <= node:
                found.add(node)
            reach = max(reach, used.get(node, node))
        return frozenset(found)


def _memory(tensor: Tensor) -> int:
    place: int = tensor.untyped_storage()._cdata
    return place


def look_through(module: nn.Module, input_shape: tuple[int, int, int] = INPUT) -> Trace:
    """Runs a network once, in evaluation mode, and tells what all of the signal passes through.

    Raises:
        SpaceError: it does not run at this size, or what comes out is no feature map.
    """
    place = next(module.parameters(), torch.empty(0))
    images = torch.empty(1, *input_shape, device=place.device, dtype=place.dtype).fill_(0.5)
    flow, calls = _Followed(images), list[tuple[str, nn.Module, Tensor, int]]()

    def after(path: str) -> Any:
        def note(called: nn.Module, inputs: Any, output: Any) -> None:
            node = flow.node(output) if isinstance(output, Tensor) else None
            if node is not None:
                calls.append((path, called, output, node))

        return note

    hooks = [found.register_forward_hook(after(path)) for path, found in module.named_modules() if path]
    was_training = module.training
    try:
        with torch.inference_mode(), flow:
            output = module.eval()(images)
    except SpaceError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SpaceError(f"it does not run on images of {input_shape[1]}x{input_shape[2]}: {said}") from error
    finally:
        module.train(was_training)
        for hook in hooks:
            hook.remove()
    _check_map(output, input_shape)
    last = flow.node(output)
    whole = frozenset() if last is None else flow.whole(last)
    return Trace([Call(p, m, node, t.shape) for p, m, t, node in calls], whole, output.shape, input_shape)


def _check_map(output: Any, input_shape: tuple[int, int, int]) -> None:
    if not isinstance(output, Tensor):
        raise SpaceError(f"it returns a {type(output).__name__}, not one feature map")
    shape = tuple(output.shape)
    if output.ndim == 3:
        raise SpaceError(f"it returns tokens {shape}, as transformers do, not a feature map (B, C, h, w)")
    if output.ndim != 4:
        raise SpaceError(f"it returns {shape}, not a feature map (B, C, h, w): leave out pooling and classifier")
    if not _is_map(output.shape, input_shape):
        raise SpaceError(f"it returns {shape}, whose last two axes are not positions: (B, C, h, w) is needed")


def _is_map(shape: torch.Size, input_shape: tuple[int, int, int]) -> bool:
    """Whether the last two axes are height and width, both divided by about the same."""
    if len(shape) != 4:
        return False
    down, across = (size / max(found, 1) for size, found in zip(input_shape[1:], shape[2:], strict=True))
    return min(shape[2:]) <= 2 or 0.6 < down / across < 1.7


def sites_of(trace: Trace, module: nn.Module) -> tuple[FoundSite, ...]:
    """The sites that a trace shows; see `find_sites`."""
    declared = getattr(module, "sites", None)
    if declared is None:
        followed = list(_stem_and_units(list(_elements(trace, _outermost(trace)))))
    else:
        followed = _declared(trace, declared)
    if not followed:
        raise SpaceError(
            "it has no module that all of the signal passes through and that holds convolutions",
            "Declare where blocks may stand: sites = ('stem', 'layer1.0', ...), the names of modules.",
        )
    for call in followed:
        if not _is_map(call.shape, trace.input_shape):
            raise SpaceError(f"after {call.path} there is {tuple(call.shape)}, not a feature map (B, C, h, w)")
    return _numbered(followed, trace.input_shape)


def _declared(trace: Trace, names: Any) -> list[Call]:
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
        raise SpaceError("its `sites` are not a list of names of modules, such as ('stem', 'layer1.0')")
    last = {call.path: call for call in trace.calls}
    for name in names:
        if name not in last:
            raise SpaceError(f"its `sites` name {name!r}, which is no module that is run and returns one tensor")
        if trace.times[name] > 1 or names.count(name) > 1:
            raise SpaceError(f"its `sites` name {name!r}, which is run more than once or named twice")
    found = [last[name] for name in names]
    if [call.node for call in found] != sorted(call.node for call in found):
        raise SpaceError("its `sites` are not in the order in which the network runs")
    return found


@dataclass(frozen=True)
class _Element:
    call: Call
    is_unit: bool
    has_convolutions: bool


def _outermost(trace: Trace) -> str:
    """The module whose parts are looked at: what merely wraps another network is passed by."""
    path = ""
    while len(parts := trace.parts(path)) == 1 and trace.is_series(parts[0].path):
        path = parts[0].path
    return path


def _elements(trace: Trace, path: str) -> Iterator[_Element]:
    """Stem parts, units and what stands between, in the order they run: sequences, and stages of units, are opened."""
    for part in trace.parts(path):
        if part.node not in trace.whole or trace.times[part.path] > 1:
            continue
        convolves = any(isinstance(inner, nn.Conv2d) for inner in part.module.modules())
        is_stem = part.path.rpartition(".")[2].startswith(STEMS)
        inner = list(_elements(trace, part.path)) if trace.is_series(part.path) and not is_stem else []
        units = [element for element in inner if element.is_unit]
        if isinstance(part.module, nn.Sequential):
            if units:
                yield from inner
                continue
            is_unit = False
        elif sum(not trace.is_series(unit.call.path) for unit in units) >= 2:
            yield from inner
            continue
        else:
            is_unit = convolves and bool(trace.parts(part.path)) and not is_stem
        yield _Element(part, is_unit, convolves)


def _stem_and_units(elements: Sequence[_Element]) -> Iterator[Call]:
    """The last call of the stem, then each unit; without units each convolution, with what follows it, is one."""
    has_units = any(element.is_unit for element in elements)
    heads = [i for i, e in enumerate(elements) if e.has_convolutions]
    if not heads:
        return
    begins = [*(i for i in heads[1:] if elements[i].is_unit or not has_units), len(elements)]
    yield elements[begins[0] - 1].call
    for begin, following in pairwise(begins):
        yield elements[begin if has_units else following - 1].call


def _numbered(calls: Sequence[Call], input_shape: tuple[int, int, int]) -> tuple[FoundSite, ...]:
    sites: list[FoundSite] = []
    for call in calls:
        shape = FeatureShape(*call.shape[1:])
        stride = max(1, round(input_shape[1] / shape.height))
        last = sites[-1] if sites else None
        stage = 0 if last is None else last.stage + (last.stage == 0 or stride != last.stride)
        place = 1 if last is None or stage != last.stage else last.place + 1
        sites.append(FoundSite(len(sites) + 1, stage, place, call.path, 0, shape, stride))
    return tuple(replace(s, stage_length=sum(other.stage == s.stage for other in sites)) for s in sites)


def strided_modules(trace: Trace, sites: Sequence[FoundSite]) -> tuple[str, ...]:
    """Names of the modules that make the last stage's map smaller than that of the stage before."""
    first = next(site for site in sites if site.stage == sites[-1].stage)
    ended = [call.path for call in trace.calls]
    begin = ended.index(sites[first.number - 2].path) + 1 if first.number > 1 else 0
    between = trace.calls[begin : ended.index(first.path) + 1]
    return tuple(c.path for c in between if not trace.parts(c.path) and max(_pair(getattr(c.module, "stride", 1))) > 1)


def without_stride(trunk: nn.Module, paths: Sequence[str]) -> None:
    """Gives these modules a stride of 1, in place.

    A convolution with an even kernel is padded to keep the size; a pooling of just what it strides over is left out.
    """
    for path in paths:
        found: Any = trunk.get_submodule(path)
        kernel = _pair(getattr(found, "kernel_size", 1))
        if isinstance(found, (nn.MaxPool2d, nn.AvgPool2d)) and kernel == _pair(found.stride):
            parent, _, name = path.rpartition(".")
            setattr(trunk.get_submodule(parent), name, nn.Identity())
            continue
        if type(found) is nn.Conv2d and kernel[0] % 2 == 0 and _pair(found.padding) == (0, 0):
            found.register_forward_pre_hook(_pad_to_keep_the_size)
        found.stride = (1, 1) if isinstance(found.stride, tuple) else 1


def _pad_to_keep_the_size(convolution: nn.Conv2d, inputs: tuple[Tensor]) -> Tensor:
    """What `padding="same"` does; PyTorch warns of that for even kernels."""
    (high, wide), (down, across) = convolution.kernel_size, convolution.dilation
    total_h, total_w = down * (high - 1), across * (wide - 1)
    left, top = total_w // 2, total_h // 2
    return nn.functional.pad(inputs[0], (left, total_w - left, top, total_h - top))


def _pair(value: Any) -> tuple[Any, Any]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


class BlockAfter:
    """A forward hook: what a module returns goes through the block of its site, `key` among all of the network."""

    def __init__(self, blocks: nn.ModuleDict, key: str) -> None:
        self.blocks, self.key = blocks, key

    def __call__(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        out: Tensor = self.blocks[self.key](output)
        return out
