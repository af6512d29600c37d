"""Names that become parts of paths: of studies, their report folders and logs."""

from __future__ import annotations

import re

NAME_RULE = "a study's name is made of letters, digits, '-', '_' and '.', 80 at most"


def is_study_name(name: str) -> bool:
    """Whether a study may have this name: one rule for files, renaming and archives.

    >>> is_study_name("market1501"), is_study_name("../other"), is_study_name("a\\x1b[31m")
    (True, False, False)
    """
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}", name) is not None


def study_name(name: str) -> str:
    """The name, where it may be one.

    Raises:
        ValueError: it may not; says what names are made of.
    """
    if not is_study_name(name):
        raise ValueError(NAME_RULE)
    return name
