"""Escaping cannot be forgotten, whatever the text."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from nas.files.shown import latex_text
from nas.reporting.document import code, words
from nas.reporting.markup import Html, inline, tag


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.text += "".join(value or "" for _, value in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


plain_text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)


@given(plain_text)
def test_text_stays_text(text: str) -> None:
    found = read(str(tag("p", text)))
    assert found.names == ["p"]
    assert found.text == text


@given(plain_text)
def test_attributes_stay_attributes(text: str) -> None:
    found = read(str(tag("p", title=text)))
    assert found.names == ["p"]
    assert found.text == text


@given(plain_text)
def test_inline_makes_code_and_nothing_else(text: str) -> None:
    assert set(read(str(tag("p", inline(text)))).names) <= {"p", "code"}


@given(plain_text)
def test_user_text_cannot_end_its_code(text: str) -> None:
    assert code(text).strip("`").count("`") == 0
    assert "`" not in words(text)


def test_finished_html_is_not_escaped_twice() -> None:
    assert str(tag("p", tag("b", "x"), Html("<i>"))) == "<p><b>x</b><i></p>"


@given(plain_text)
def test_latex_has_no_command_of_the_users(text: str) -> None:
    escaped = latex_text(text)
    for char in "&%#_":
        assert escaped.count(char) == escaped.count("\\" + char)
