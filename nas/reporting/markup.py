"""Elements of a page that cannot forget to escape: one tree, written as HTML here, shown by Dash in the dashboard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from unicodedata import category

_VOID = {"meta", "link", "br", "input", "img", "col"}


class Html(str):
    """A piece of finished HTML."""

    __slots__ = ()


@dataclass(frozen=True)
class Element:
    """An element with its children (elements, finished HTML, anything else as text); `str` writes it as HTML."""

    name: str
    children: tuple[object, ...] = ()
    attributes: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        written = "".join(
            f" {key}" if value is True else f' {key}="{_escaped(value)}"' for key, value in self.attributes.items()
        )
        if self.name in _VOID:
            return f"<{self.name}{written}>"
        return f"<{self.name}{written}>{''.join(map(_text, self.children))}</{self.name}>"

    _repr_html_ = __str__


def _escaped(value: object) -> str:
    """Text of a page; a terminal that shows the file obeys none of it, and a browser shows what was written.

    >>> _escaped("a < b \u202e \x1b[31m") == "a &lt; b &#x202e; " + "\\\\x1b[31m"
    True
    """
    return "".join(map(_inert, escape(str(value), quote=True)))


def _inert(char: str) -> str:
    kind = category(char)
    if kind == "Cf":  # direction marks and the like: a reference to the character means the same
        return f"&#x{ord(char):x};"
    return repr(char)[1:-1] if kind == "Cc" and char not in "\n\t" else char


def _text(value: object) -> str:
    return str(value) if isinstance(value, Element | Html) else _escaped(value)


def tag(name: str, /, *children: object, **attributes: object) -> Element:
    """An element; `class_` and `data_x` become `class` and `data-x`, None leaves an attribute or a child out.

    >>> str(tag("p", "a < b", class_="note"))
    '<p class="note">a &lt; b</p>'
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    kept = {key: value for key, value in given.items() if value is not None and value is not False}
    return Element(name, tuple(_flat(children)), kept)


def _flat(parts: Iterable[object]) -> Iterator[object]:
    for part in parts:
        if isinstance(part, list | tuple):
            yield from _flat(part)
        elif part is not None:
            yield part


def inline(value: str) -> list[object]:
    """Text in which the parts between backticks are code.

    >>> [str(part) for part in inline("see `a<b`")]
    ['see ', '<code>a&lt;b</code>']
    """
    parts = value.split("`")
    if len(parts) % 2 == 0:  # an odd backtick is only a character
        return [value]
    return [tag("code", part) if i % 2 else part for i, part in enumerate(parts) if part]
