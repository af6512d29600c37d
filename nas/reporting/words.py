"""Texts of users and of ourselves as blocks of a report take them: one line, a part between backticks is code."""

from __future__ import annotations


def code(text: object) -> str:
    """User text as inline code.

    >>> code("a`b")
    '`a´b`'
    """
    cleaned = words(text)
    return f"`{cleaned}`" if cleaned else "–"


def words(text: object) -> str:
    """User text as plain words: one line, without backticks.

    >>> words("at most `3`")
    'at most ´3´'
    """
    return " ".join(str(text).replace("`", "´").split())
