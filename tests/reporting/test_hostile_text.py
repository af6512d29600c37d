"""Text that people give a study - its title, its question, names of stages - is text in every form that shows it."""

from __future__ import annotations

import csv
from html.parser import HTMLParser
from pathlib import Path

import pytest
from search_builders import open_study, study_file, work

from nas import reporting
from nas.cli.main import main
from nas.reporting import Study
from nas.spaces import FORMATS

MARK = "EVIL"
HOSTILE = (
    f"<script>{MARK}()</script> <img src=x onerror={MARK}()> [{MARK}](javascript:{MARK}) ![{MARK}](http://{MARK}/x) "
    f"`{MARK}` **{MARK}** \\input{{{MARK}}} $\\write18{{{MARK}}}$ % {MARK} & {MARK} _ # ~ ^ | [/b] [red]{MARK} "
    f'"{MARK}" &lt;{MARK}&gt; {{{MARK}}} {{{{{MARK}}}}}'
)
CONTROL = f"=cmd|' /C {MARK}'!A0 \x1b[31m{MARK}\x1b[0m \u202e{MARK}"


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a report of a study with hostile text, and the study's database."""
    folder = tmp_path_factory.mktemp("hostile")
    stages = [{"sweep": {"candidates": 4, "seeds": 2}, "name": f"{CONTROL} {HOSTILE}"}]
    path = study_file(folder, stages, title=f"{HOSTILE} {CONTROL}", question=f"{CONTROL} {HOSTILE}?")
    definition, repository, context = open_study(path)
    work(context)
    data = reporting.load_study_data(repository.database, definition.name)
    reporting.write_report(data, folder / "report", ("html", "md", "csv", "rules"))
    return folder / "report", definition.database


class Page(HTMLParser):
    """Elements and attributes that a browser would see, without the report's own scripts and styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.bad: list[str] = []
        self.text: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag if tag in ("script", "style") else ""
        for name, value in attrs:
            if name.startswith("on") or (name in ("src", "href") and MARK in (value or "")):
                self.bad.append(f"<{tag} {name}={value!r:.80}>")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.text.append(data)
        elif self._inside == "script" and data.startswith(MARK):
            self.bad.append(data[:80])


def test_html_shows_it_as_text(reported: tuple[Path, str]) -> None:
    page = Page()
    page.feed((reported[0] / "report.html").read_text())
    page.close()
    assert page.bad == []
    assert f"<script>{MARK}()</script>" in "".join(page.text)  # whole, as it was written


def test_markdown_shows_it_as_text(reported: tuple[Path, str]) -> None:
    text = (reported[0] / "report.md").read_text()
    assert MARK in text
    outside = "".join(text.split("`")[::2])  # what is code is text
    for active in (f"<script>{MARK}", f"<img src=x onerror={MARK}", f"[{MARK}](javascript", f"![{MARK}](http"):
        assert active not in outside, active


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_reports_hold_nothing_that_a_terminal_obeys(reported: tuple[Path, str], name: str) -> None:
    text = (reported[0] / name).read_text()
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_csv_has_no_formula_and_tells_a_terminal_nothing(reported: tuple[Path, str]) -> None:
    for path in reported[0].rglob("*.csv"):
        assert b"\x1b" not in path.read_bytes()
        with path.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "@", "\t", "\r"))], path


def test_a_terminal_obeys_nothing(reported: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("status", "replayed"), ("studies",)):
        assert main([*command, "--db", reported[1]]) == 0
        said = capsys.readouterr()
        assert "\x1b[31m" not in said.out + said.err
        assert "\u202e" not in said.out + said.err


@pytest.mark.parametrize("form", FORMATS)
def test_rules_in_every_form_hold_no_command(reported: tuple[Path, str], form: str) -> None:
    text = FORMATS[form](Study.open(reported[1], "replayed").rules())
    assert f"\\input{{{MARK}}}" not in text or form in ("yaml", "json", "text")
    assert "\x1b" not in text
