"""Plain JSON data out of whatever callers hand in: no NaN, no NUL, no tuples, no NumPy.

Standard JSON has no NaN. PostgreSQL refuses it, and NUL inside text, SQLite accepts both: what is cleaned here is the
same in both databases, in files and on stdout.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from nas.files.hashes import hash_of_data

JsonDict: TypeAlias = Mapping[str, object]
"""Plain data that is passed on as it is: who looks into it says what is expected."""


def clean_text(text: str) -> str:
    """Text that every engine stores: no NUL, no lone surrogates (file names may carry them).

    >>> clean_text("a\\0b")
    'a\\ufffdb'
    """
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def clean(value: object) -> Any:
    """Plain JSON data: NaN and infinity become None, tuples lists, NumPy scalars numbers, paths text.

    >>> clean({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(value, Mapping):
        return {clean_text(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean(item) for item in value]
    if isinstance(value, str):
        return clean_text(value)
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return clean(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    return clean_text(str(value))


def dump_json(value: object) -> str:
    """The JSON text that is stored."""
    return json.dumps(clean(value), ensure_ascii=False, allow_nan=False)


def content_id(value: object) -> str:
    """A hash of plain data that does not depend on the order of keys (32 hexadecimal digits).

    >>> content_id({"a": 1, "b": 2}) == content_id({"b": 2, "a": 1})
    True
    """
    return hash_of_data(clean(value), digits=32)


def finite(value: float | None) -> float | None:
    """A number as it is stored: NaN and infinity mean "not measured", NULL.

    >>> finite(float("nan")) is None, finite(0.5)
    (True, 0.5)
    """
    return None if value is None or not math.isfinite(value) else float(value)
