"""HTML that cannot forget to escape: everything that is not `Html` already is text."""

from __future__ import annotations

from html import escape

_VOID = {"meta", "link", "br", "input", "img", "col"}


class Html(str):
    """A piece of finished HTML."""

    __slots__ = ()


def text(value: object) -> Html:
    """Any value as HTML text."""
    return value if isinstance(value, Html) else Html(escape(str(value), quote=True))


def join(parts: object) -> Html:
    """Pieces in a row; text among them is escaped."""
    return Html("".join(text(part) for part in parts)) if isinstance(parts, (list, tuple)) else text(parts)


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element; `class_` and `data_x` become `class` and `data-x`, None leaves an attribute out.

    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    pairs = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()]
    written = "".join(
        f" {key}" if value is True else f' {key}="{escape(str(value), quote=True)}"'
        for key, value in pairs
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(list(children))}</{name}>")


def inline(value: str) -> Html:
    """Text in which the parts between backticks are code.

    >>> inline("see `a<b`")
    'see <code>a&lt;b</code>'
    """
    parts = value.split("`")
    if len(parts) % 2 == 0:  # an odd backtick is only a character
        return text(value)
    return join([tag("code", part) if i % 2 else text(part) for i, part in enumerate(parts)])
