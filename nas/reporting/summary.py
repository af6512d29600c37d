"""One page to hand on: answer, what limits it, front, map and rules, as PDF (A3 or A4 across) and as a 16:9 slide.

The page is the report's own, drawn by the browser that draws stills.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go

from nas.errors import StudyError
from nas.reporting.document import Block, Document, FigureBlock, Section, SideBySide
from nas.reporting.html import render_html
from nas.reporting.stills import find_browser
from nas.reporting.story.drawn import figure_block
from nas.reporting.story.question import answered
from nas.reporting.study_data import StudyData

SLIDE_PX = (1600, 900)
PATIENCE_MS, PATIENCE_S = 20_000, 120.0
"""Time of the page's own clock in which figures are drawn, and of ours after which the browser is given up."""
FIGURE_PX = 390


def summary(data: StudyData) -> Document:
    """What one page holds: the answer, what limits it, the adopted rules, and two pictures."""
    figures = SideBySide([_short(figure_block(name, data)) for name in ("pareto_front", "placement_map")])
    blocks: list[Block] = [*answered(data), figures]
    title = str(data.definition.get("title") or data.name)
    return Document(title=title, subtitle=f"study {data.name}", sections=[Section("answer", "The answer", blocks)])


def _short(block: FigureBlock) -> FigureBlock:
    """The figure without its caption, low enough for two of them below the words."""
    if isinstance(block.drawing, str):
        return block
    drawing = go.Figure(block.drawing)
    drawing.update_layout(height=min(FIGURE_PX, int(drawing.layout.height or FIGURE_PX)))
    return replace(block, drawing=drawing, caption="")


def write_summary(data: StudyData, path: Path) -> Path:
    """Writes the summary as `path` says, `.pdf` or `.png` for the slide; a `StudyError` where no browser draws it."""
    browser = find_browser()
    if browser is None:
        raise StudyError(f"no {path.suffix[1:]}: it needs a Chromium or Chrome", "install one or set BROWSER_PATH")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page, drawn = Path(folder) / "summary.html", Path(folder) / f"summary{path.suffix}"
        page.write_text(render_html(summary(data), layout="summary"), encoding="utf-8")
        how = [f"--print-to-pdf={drawn}", "--no-pdf-header-footer"] if path.suffix == ".pdf" else _screenshot(drawn)
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
        command += [f"--virtual-time-budget={PATIENCE_MS}", *how, page.as_uri()]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
            path.write_bytes(drawn.read_bytes())
        except (OSError, subprocess.SubprocessError) as error:
            raise StudyError(f"{path.name} was not drawn: {error}", "html is complete without it") from error
    return path


def _screenshot(drawn: Path) -> list[str]:
    width, height = SLIDE_PX
    return [f"--screenshot={drawn}", f"--window-size={width},{height}", "--hide-scrollbars"]
