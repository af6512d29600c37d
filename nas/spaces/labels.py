"""Names of blocks, backbones and candidates as the literature writes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from nas.errors import NasError
from nas.spaces.blocks import BLOCKS
from nas.spaces.sites import foreign_title, get_topology, is_foreign

MIXED, NO_BLOCK = "mixed", "none"
"""What stands in for a block's name where a candidate has several types, or none."""
_SPECIAL = {"agw": "AGW", MIXED: "several types", NO_BLOCK: "no attention"}
"""Where tables say something else than `BlockSpec.title`."""


def block_title(block: str) -> str:
    """The name of a block type as the literature writes it; an own block's is its class."""
    if block in _SPECIAL:
        return _SPECIAL[block]
    return BLOCKS[block].title if block in BLOCKS else block.rsplit(":", 1)[-1]


def backbone_title(backbone: str) -> str:
    """The backbone as the literature writes it, e.g. ResNet-50."""
    try:
        return foreign_title(backbone) if is_foreign(backbone) else get_topology(backbone).title
    except NasError:
        return backbone


@lru_cache(maxsize=65536)
def short_label(notation: str) -> str:
    """A candidate as the paper's tables write it.

    >>> short_label("resnet50+cnl@6,8,14"), short_label("resnet50"), short_label("resnet50+agw(inner=one)@14+hac@8")
    ('C-NL @ 6,8,14', 'ResNet-50', 'AGW (inner=one) @ 14 + HAC @ 8')
    """
    head, _, recipe = notation.partition("[")
    backbone, *groups = split_groups(head)
    suffix = f" [{recipe}" if recipe else ""
    if not groups:
        return _with_params(backbone, backbone_title) + suffix
    return " + ".join(_group_label(group) for group in groups) + suffix


def split_groups(text: str) -> list[str]:
    """Splits a notation at `+` outside of parentheses (numbers like 1e+5 stay whole)."""
    parts, depth = [""], 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "+" and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _group_label(group: str) -> str:
    block, _, sites = group.rpartition("@")
    return f"{_with_params(block, block_title)} @ {sites}"


def _with_params(text: str, title: Callable[[str], str]) -> str:
    name, bracket, params = text.partition("(")
    return f"{title(name)} ({params}" if bracket else title(name)
