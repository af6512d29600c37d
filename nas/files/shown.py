"""Text from people on its way out: to a terminal that would obey it, to a spreadsheet that would calculate with it.

Markdown and LaTeX are escaped here too; only HTML has a module of its own, `nas.reporting.markup`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from unicodedata import category

if TYPE_CHECKING:
    import pandas as pd

# Numbers in brackets are no link unless something of a link follows; `<` before a space or a digit opens no tag.
_MARKDOWN = re.compile(r"(\[[-+−\d., %]+\](?![(\[:]))|<(?=[\w/!?])|([\\*_\[\]>|#~]|&(?=#?\w+;))")
_LATEX = str.maketrans(
    {char: rf"\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "–": "--", "−": "$-$", "±": r"$\pm$", "×": r"$\times$"}
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def shown(text: str) -> str:
    """Text without anything that a terminal would obey: control characters and direction marks are spelt out.

    Spaces of every width stay: numbers are grouped by narrow ones.

    >>> shown("stage \x1b[31mred"), shown("12\u202f936") == "12\u202f936"
    ('stage \\\\x1b[31mred', True)
    """
    return "".join(c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else repr(c)[1:-1] for c in text)


def json_text(document: str) -> str:
    """A JSON document in which what a terminal would obey is written as JSON's own escape, which means the same."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in document)


def printable(text: str, longest_word: int = 300, longest: int = 1200) -> str:
    """Text from a file as part of a sentence: nothing a terminal would obey, nothing pages long.

    >>> printable("the key '\x1b[31m' is unknown")
    "the key '\\\\x1b[31m' is unknown"
    >>> printable("not " + "9" * 1000, longest_word=12)
    'not 99999999...9999'
    """
    words = (_shortened(word, longest_word) for word in shown(text).split(" "))
    return _shortened(" ".join(words), longest)


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{text[: longest * 2 // 3]}...{text[len(text) - longest // 3 :]}"


def latex_text(text: object) -> str:
    """Any text as LaTeX text, on one line.

    >>> latex_text("a_b & 5 %")
    'a\\\\_b \\\\& 5 \\\\%'
    """
    return " ".join(str(text).split()).translate(_LATEX)


def markdown_text(text: str) -> str:
    """Text as Markdown, with the parts between backticks kept as code.

    >>> markdown_text("a*b `c*d`")
    'a\\\\*b `c*d`'
    >>> markdown_text("+0.2 [+0.1, +0.3] <b> [x](y)")
    '+0.2 [+0.1, +0.3] &lt;b\\\\> \\\\[x\\\\](y)'
    """
    parts = shown(text).split("`")
    if len(parts) % 2 == 0:  # an odd backtick is only a character
        return "\\`".join(map(_no_markdown, parts))
    return "`".join(part if i % 2 else _no_markdown(part) for i, part in enumerate(parts))


def _no_markdown(text: str) -> str:
    return _MARKDOWN.sub(lambda found: found[1] or (f"\\{found[2]}" if found[2] else "&lt;"), text)


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV, without its index, in which no text is a formula or tells a terminal anything.

    Spreadsheets calculate cells that begin with = + - @ or a tab, wherever they came from (OWASP, CSV injection); an
    apostrophe before such a text keeps it one. Numbers stay numbers.
    """
    safe = table.copy()
    for column in safe.select_dtypes(exclude="number"):
        safe[column] = safe[column].map(_inert, na_action="ignore")
    return safe.to_csv(index=False)


def _inert(value: object) -> object:
    if not isinstance(value, str):
        return value
    return shown(f"'{value}" if value.startswith(_FORMULA) else value)
