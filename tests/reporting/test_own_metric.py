"""A study that is judged by a number of its own: figures, tables, sentences and files name it, and never mAP."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pytest

from nas.reporting.figures import FIGURES
from nas.reporting.latex import render_latex, systems_latex
from nas.reporting.markdown import render_markdown
from nas.reporting.report import write_report
from nas.reporting.rules_file import rule_set
from nas.reporting.story import tell
from nas.reporting.story.question import question
from nas.reporting.study_data import StudyData
from nas.results.columns import MAP, Metric
from nas.shrinking import ShrinkSettings
from nas.spaces.rule_formats import FORMATS

GAIN = {"python": "mine:score", "judged": "gain", "metrics": {"gain": {"unit": "dB"}}}
_NUMBERS = re.compile(r'"bdata":"[^"]*"')
"""Columns of numbers in a figure, in letters."""
LOSS = {"python": "mine:score", "judged": "loss", "metrics": {"loss": {"better": "less"}}}


@pytest.fixture(scope="module")
def gains(full: StudyData) -> StudyData:
    """The full study, as if its numbers were a gain in dB."""
    findings = [
        {**row, "evidence": row["evidence"] | {"unit": "dB"}, "reason": str(row["reason"]).replace("mAP", "dB")}
        for row in full.findings
    ]
    return replace(full, definition=dict(full.definition) | {"objective": GAIN}, findings=findings)


def test_nothing_of_a_report_says_map(gains: StudyData, tmp_path: Path) -> None:
    write_report(gains, tmp_path, ["html", "md", "rules", "latex"])
    for name in ("report.md", "report.html", "tables.tex", "rules.yaml"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "mAP" not in _NUMBERS.sub("", text).partition("plotly.js v")[0], name
    text = render_markdown(tell(gains), {})
    assert "mAP" not in text
    assert "gain (dB)" in text
    assert "gain (dB)" in render_latex(gains)
    assert "mAP" in str(question(replace(gains, definition={})).blocks)


def test_a_metric_called_loss_leaves_the_column_of_losses(full: StudyData) -> None:
    objective = {**LOSS, "metrics": {"loss": {}}}
    text = systems_latex(replace(full, definition=dict(full.definition) | {"objective": objective}))
    head = next(line for line in text.splitlines() if line.startswith("attention @ positions"))
    assert head.count("&") == 3
    assert head.count("loss") == 2


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_says_map(gains: StudyData, name: str) -> None:
    figure = FIGURES[name]()
    table = figure.table(gains)
    drawing = figure.draw(table)
    said = figure.caption(table) + figure.title
    said += drawing if isinstance(drawing, str) else str(go.Figure(drawing).to_json())
    assert "mAP" not in _NUMBERS.sub("", said)


def test_axes_name_the_metric_with_its_unit_and_direction(full: StudyData, gains: StudyData) -> None:
    front = FIGURES["pareto_front"]()
    assert front(gains).layout.yaxis.title.text.startswith("gain (dB), more is better")  # type: ignore[union-attr]
    error = FIGURES["error_distribution"]()
    assert error(gains).layout.xaxis.title.text.startswith("-gain (dB), less")  # type: ignore[union-attr]
    losses = replace(full, definition=dict(full.definition) | {"objective": LOSS})
    assert front(losses).layout.yaxis.title.text.startswith("-loss, more")  # type: ignore[union-attr]
    assert error(losses).layout.xaxis.title.text.startswith("loss, less")  # type: ignore[union-attr]
    assert error(full).layout.xaxis.title.text.startswith("Error 1 - mAP, less")  # type: ignore[union-attr]


def test_the_error_of_another_metric_is_its_negative(full: StudyData, gains: StudyData) -> None:
    own, of_map = (FIGURES["error_distribution"]().table(data)["error"] for data in (gains, full))
    assert (of_map - own).to_numpy() == pytest.approx(1.0)


@pytest.mark.parametrize("form", FORMATS)
def test_rules_in_every_form_name_the_unit(gains: StudyData, form: str) -> None:
    text = FORMATS[form](rule_set(gains))
    assert "dB" in text
    assert "mAP" not in text


def test_what_stands_behind_a_number() -> None:
    assert (MAP.title, MAP.suffix) == ("mAP", "mAP")
    assert (Metric(words="gain", unit="dB").title, Metric(words="gain", unit="dB").suffix) == ("gain (dB)", "dB")
    assert ShrinkSettings().unit == "mAP"
