"""Hyperparameter values: what they may be, when two are equal, and how they are written.

The notation of a candidate, space files and rules all read and write values through these functions, so a value
has one canonical form everywhere. What a value *means* is left to the block or recipe that owns it.
"""

from __future__ import annotations

import json
import math
import re
from typing import TypeAlias

from nas.errors import SpaceError

ParamValue: TypeAlias = str | int | float | bool
"""A hyperparameter's value: text, whole number, number or switch."""

_BARE_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/+-]*\Z")
_WHOLE = re.compile(r"[+-]?\d+\Z")
_RESERVED = frozenset({"true", "false", "inf", "nan", "infinity", "none", "null"})
_EXACT_WHOLE = 2.0**53


def canonical_value(value: object) -> ParamValue:
    """The one form of a value: NumPy scalars become Python's, whole floats become integers.

    >>> canonical_value(60.0), canonical_value(0.5), canonical_value(True)
    (60, 0.5, True)

    Raises:
        SpaceError: when the value is no text, number or switch, or is not finite.
    """
    plain = value.item() if hasattr(value, "item") and not isinstance(value, (str, bool, int, float)) else value
    if isinstance(plain, (bool, int)):
        return plain
    if isinstance(plain, str):
        return str(plain)
    if not isinstance(plain, float):
        raise SpaceError(f"a value must be text, a number or true/false, not {plain!r}")
    if not math.isfinite(plain):
        raise SpaceError(f"a value must be finite, not {plain!r}")
    return int(plain) if plain.is_integer() and abs(plain) < _EXACT_WHOLE else plain


def same_value(a: ParamValue, b: ParamValue) -> bool:
    """Equality that keeps switches and numbers apart (in Python, `True == 1`).

    >>> same_value(1, 1.0), same_value(1, True)
    (True, False)
    """
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def format_value(value: ParamValue) -> str:
    """A value as the notation writes it; text that could be read as anything else is quoted.

    >>> [format_value(v) for v in (16, 0.0005, True, "half", "a b", "16")]
    ['16', '0.0005', 'true', 'half', '"a b"', '"16"']
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if _BARE_TEXT.match(value) and value.lower() not in _RESERVED:
        return value
    return json.dumps(value)


def parse_value(text: str) -> ParamValue:
    """The inverse of `format_value`.

    >>> parse_value("1e-4"), parse_value("true"), parse_value("half"), parse_value('"16"')
    (0.0001, True, 'half', '16')

    Raises:
        SpaceError: when the text is empty, not finite or a broken quotation.
    """
    if text.startswith('"'):
        return _parse_quoted(text)
    if text in ("true", "false"):
        return text == "true"
    if _WHOLE.match(text):
        return int(text)
    try:
        return canonical_value(float(text))
    except ValueError:
        pass
    if not text:
        raise SpaceError("a value is missing")
    return text


def _parse_quoted(text: str) -> str:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpaceError(f"the quoted value {text} does not end or has a wrong escape") from error
    return str(value)
