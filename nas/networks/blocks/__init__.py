"""The attention blocks, one file each, and the registry that finds a block's class by its name.

`nas.spaces.blocks` declares the same names without torch; here they become modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from nas.errors import SpaceError
from nas.networks.blocks.abd import DualAttention
from nas.networks.blocks.agw import NonLocal
from nas.networks.blocks.base import FORMS, AttentionBlock, Form
from nas.networks.blocks.cbam import ConvolutionalBlockAttention
from nas.networks.blocks.cnl import ChannelNonLocal
from nas.networks.blocks.eca import EfficientChannelAttention
from nas.networks.blocks.gc import GlobalContextBlock
from nas.networks.blocks.hac import HarmoniousChannelAttention
from nas.networks.blocks.raga import RelationAwareAttention
from nas.networks.blocks.se import SqueezeExcitation
from nas.networks.shapes import FeatureShape
from nas.spaces import own_code
from nas.spaces.blocks import get_block_spec
from nas.spaces.plugins import find_part

_CLASSES: tuple[type[AttentionBlock], ...] = (
    SqueezeExcitation,
    HarmoniousChannelAttention,
    NonLocal,
    RelationAwareAttention,
    DualAttention,
    ChannelNonLocal,
    EfficientChannelAttention,
    GlobalContextBlock,
    ConvolutionalBlockAttention,
)

BLOCK_CLASSES: Mapping[str, type[AttentionBlock]] = MappingProxyType({cls.spec.name: cls for cls in _CLASSES})
"""The classes of the shipped blocks, by name."""


def get_block(name: str) -> type[AttentionBlock]:
    """The class of a block: shipped, from an entry point in the group `nas.blocks`, or `module:Class`.

    >>> get_block("se").__name__
    'SqueezeExcitation'

    Raises:
        SpaceError: when the name is unknown, or leads to something that is no `AttentionBlock`.
    """
    if name in BLOCK_CLASSES:
        return BLOCK_CLASSES[name]
    loaded = own_code.load(name) if own_code.is_own(name) else _installed(name)
    get_block_spec(name)  # refuses a class without a declaration
    if not (isinstance(loaded, type) and issubclass(loaded, AttentionBlock)):
        raise SpaceError(f"block {name!r} must be a subclass of nas.networks.blocks.AttentionBlock, not {loaded!r}")
    return loaded


@cache
def _installed(name: str) -> Any:
    get_block_spec(name)  # refuses unknown names, with the closest known one
    return find_part("block", name, BLOCK_CLASSES)


__all__ = ["BLOCK_CLASSES", "FORMS", "AttentionBlock", "FeatureShape", "Form", "get_block"]
