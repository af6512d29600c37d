"""Hashes of content: what a file, a text or plain data is, whatever it is called and wherever it lies."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from nas.files.given import refuse_special

SHORT = 16
"""Hexadecimal digits of a short hash: 64 bits, so that among a million kinds of things two are alike by chance once in
37 million tries."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits; `OSError` for a pipe or a device."""
    refuse_special(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of_text(text: str, digits: int = SHORT) -> str:
    """The first digits of the SHA-256 of a text in UTF-8.

    >>> hash_of_text("a")
    'ca978112ca1bbdca'
    """
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def hash_of_data(value: object, digits: int = SHORT) -> str:
    """A hash of plain JSON data that does not depend on the order of keys; what JSON does not know counts as its text.

    >>> hash_of_data({"a": 1, "b": 2}) == hash_of_data({"b": 2, "a": 1})
    True
    >>> hash_of_data({"a": 1})
    '015abd7f5cc57a2d'
    """
    return hash_of_text(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str), digits)
