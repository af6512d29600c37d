"""The page to hand on: one page of PDF, a slide of 16:9."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from nas.errors import StudyError
from nas.reporting import stills
from nas.reporting.study_data import StudyData
from nas.reporting.summary import summary, write_summary


def test_a_summary_holds_answer_figures_and_rules(full: StudyData) -> None:
    (section,) = summary(full).sections
    kinds = [type(block).__name__ for block in section.blocks]
    assert "SideBySide" in kinds
    assert any(full.answer.sentence in str(block) for block in section.blocks)
    adopted = sum(finding["verdict"] == "adopted" for finding in full.findings)
    assert (" adopted:" in str(section.blocks)) == bool(adopted)


@pytest.mark.slow
def test_it_is_one_page_and_one_slide(full: StudyData, tmp_path: Path) -> None:
    page = write_summary(full, tmp_path / "summary.pdf").read_bytes()
    assert len(re.findall(rb"/Type\s*/Page[^s]", page)) == 1
    with Image.open(write_summary(full, tmp_path / "summary.png")) as slide:
        assert slide.size == (1600, 900)
        assert len(slide.convert("L").resize((64, 36)).getcolors() or []) > 3, "something is drawn"


def test_without_a_browser_it_says_so(full: StudyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stills, "_BROWSERS", ())
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    with pytest.raises(StudyError, match="no pdf: it needs a Chromium"):
        write_summary(full, tmp_path / "summary.pdf")
