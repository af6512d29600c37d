"""Blocks as rules name them: `agw` for any AGW block, `agw(inner=half)` for those with that hyperparameter.

Rules must be readable where an own block cannot be imported, so nothing here looks a block up to run it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from nas.errors import SpaceError, unknown_name
from nas.spaces.blocks import BLOCKS, PUBLISHED, START, Params, block_names, get_block_spec
from nas.spaces.notation import parse_block
from nas.spaces.values import format_value, same_value


def matches(pattern: str, block: str, params: Params) -> bool:
    """Whether a block with its hyperparameters is what the pattern names.

    >>> matches("agw(inner=half)", "agw", (("inner", "one"),))
    False
    """
    name, wanted = _split(pattern)
    values = {START: PUBLISHED, **dict(params)}
    return name == block and all(key in values and same_value(values[key], value) for key, value in wanted)


def matches_any(patterns: Iterable[str], block: str, params: Params) -> bool:
    """Whether any of the patterns names a block with its hyperparameters."""
    return any(matches(pattern, block, params) for pattern in patterns)


def pattern_name(pattern: str) -> str:
    """The name of the block in a pattern."""
    return _split(pattern)[0]


def title(pattern: str) -> str:
    """A block as sentences call it.

    >>> title("agw(inner=one)"), title("my.blocks:Spatial")
    ('AGW non-local (inner=one)', 'Spatial')
    """
    name, params = _split(pattern)
    text = BLOCKS[name].title if name in BLOCKS else name.split(":")[-1]
    return text + (f" ({', '.join(f'{key}={format_value(value)}' for key, value in params)})" if params else "")


def check_block(pattern: str) -> None:
    """Refuses a misspelt block, hyperparameter or value; an own block (`module:Class`) is not looked up."""
    name, params = _split(pattern)
    if ":" in name:
        return
    if name not in tuple(block_names()):
        raise SpaceError(unknown_name("block", name, block_names()))
    for key, value in params:
        get_block_spec(name).param(key).choose(value, name)


@cache
def _split(pattern: str) -> tuple[str, Params]:
    return parse_block(pattern)


def _valid(pattern: str) -> str:
    try:
        check_block(pattern)
    except SpaceError as error:
        raise ValueError(error.message) from error
    return pattern


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _some(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if not patterns:
        raise ValueError("name at least one block")
    return tuple(sorted(set(patterns)))


BlockPattern = Annotated[str, AfterValidator(_valid)]
"""A block name or pattern, as a field."""

_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}

BlockPatterns = Annotated[
    tuple[BlockPattern, ...], BeforeValidator(_as_list), AfterValidator(_some), WithJsonSchema(_SCHEMA)
]
"""One or more block names or patterns, sorted, as a field."""
