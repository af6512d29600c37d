"""Identities and cameras as files and tables write them: a label is its text, and a number only where that is plain.

`-1` and the word `junk` mean an image that never counts, `0` and the word `distractor` a gallery image of nobody
searched for: so in every cell, however the others are written (`-1.0` and `0.0` come from tables whose column has a
gap). Other labels that are whole numbers keep them; as soon as one is not, all are names, numbered from 1 in sorted
order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from nas.data.records import DISTRACTOR, JUNK
from nas.errors import DataError

WORDS: Mapping[str, int] = {"junk": JUNK, "distractor": DISTRACTOR}
MISSING = frozenset({"nan", "na", "n/a", "#n/a", "null", "none", "<na>"})
"""How programs write that a cell is empty: images without a label would become one person."""
LONGEST = 15
"""Digits of a number: they fit the whole numbers of arrays and databases, and no set has more."""
_NUMBER = re.compile(r"([+-]?)0*([0-9]+)(?:\.0*)?")
_WHOLE = re.compile(r"[0-9]+")


def identity_numbers(labels: Iterable[str], where: object) -> dict[str, int]:
    """The identity of each label; -1 is junk and 0 a distractor.

    >>> identity_numbers(["0012", "7", "-1.0", "distractor"], "x.csv") == {
    ...     "0012": 12, "7": 7, "-1.0": -1, "distractor": 0}
    True
    >>> identity_numbers(["ann", "1_11", "-1"], "x.csv") == {"1_11": 1, "ann": 2, "-1": -1}
    True

    Raises:
        DataError: two labels are one number (`0012` and `12`) or one word (its accents in NFC and NFD), a number is
            negative, or a label means an empty cell (`nan`); `where` is named.
    """
    found = set(labels)
    reserved = {label: value for label in found if (value := _reserved(label)) is not None}
    return reserved | _numbers(found - set(reserved), "identities", where)


def camera_numbers(labels: Iterable[str], where: object) -> dict[str, int]:
    """The number of each camera label; `DataError` as for identities."""
    return _numbers(set(labels), "cameras", where)


def _reserved(label: str) -> int | None:
    value = WORDS.get(label.lower(), as_number(label))
    return value if value in (JUNK, DISTRACTOR) else None


def as_number(label: str) -> int | None:
    """The whole number a label is to most programs, or None.

    >>> [as_number(text) for text in ("0012", "13.0", "-1", "1_11", "x")]
    [12, 13, -1, None, None]
    """
    found = _NUMBER.fullmatch(label)
    return None if found is None or len(found[2]) > LONGEST else int(found[1] + found[2])


def _numbers(labels: set[str], what: str, where: object) -> dict[str, int]:
    of_number: dict[int, str] = {}
    of_word: dict[str, str] = {}
    for label in sorted(labels):
        other = of_word.setdefault(unicodedata.normalize("NFC", label), label)
        if other != label:
            raise DataError(
                f"{where}: {label!r} is there twice among the {what}, in two ways of writing its accents (NFC and NFD)",
                "Write every label in one way; are they one or two?",
            )
        if label.lower() in MISSING:
            raise DataError(
                f"{where}: {label!r} among the {what} is how programs write an empty cell",
                "Leave these images out, or give them the identity junk; whoever is called so needs another name.",
            )
        number = as_number(label)
        if number is None:
            continue
        if number < 0:
            raise DataError(
                f"{where}: {label!r} among the {what} is negative",
                "Only the identity -1 means something: junk, never used. Give names, or numbers from 1.",
            )
        if number in of_number:
            raise DataError(
                f"{where}: {of_number[number]!r} and {label!r} among the {what} are one number but not one text",
                "Write every label in one way; are they one or two?",
            )
        of_number[number] = label
    if all(_WHOLE.fullmatch(label) and as_number(label) is not None for label in labels):
        return {label: number for number, label in of_number.items()}
    return {label: number for number, label in enumerate(sorted(labels), start=1)}
