"""User text on its way out: terminals, JSON documents and spreadsheets are told nothing by it."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from nas.cli import common
from nas.files.shown import csv_text, shown

HOSTILE = "a [/b] [red]x[/] \x1b]8;;http://robot.example\x07link\x1b[31m \x9b2J \u202eabc"


def test_a_terminal_is_told_nothing() -> None:
    assert "\x1b" not in shown(HOSTILE)
    assert "\x9b" not in shown(HOSTILE)
    assert "\u202e" not in shown(HOSTILE)
    assert shown("Zürich – 東京\n\t√") == "Zürich – 東京\n\t√"


def test_tables_titles_and_lines_show_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A stage may be called `a [/b] c`: that is no markup."""
    common.print_table(["stage", "n"], [[HOSTILE, 1]], title=HOSTILE)
    common.line(HOSTILE)
    common.note(HOSTILE)
    common.emit(HOSTILE)
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "a [/b] [red]x[/]" in text
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)


def test_json_means_the_same_and_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    common.emit_json({"name": HOSTILE, "city": "東京"})
    text = capsys.readouterr().out
    assert json.loads(text) == {"name": HOSTILE, "city": "東京"}
    assert "東京" in text
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)


def test_a_spreadsheet_calculates_nothing() -> None:
    table = pd.DataFrame({"path": ["=cmd()", "+1", "-x", "@a", "a=b", None], "map": [-0.5, 1, 2, 3, 4, 5]})
    read = pd.read_csv(io.StringIO(csv_text(table)))
    assert read["path"].tolist()[:5] == ["'=cmd()", "'+1", "'-x", "'@a", "a=b"]
    assert read["map"].tolist() == [-0.5, 1, 2, 3, 4, 5]
    assert read["path"].isna().tolist()[5]
