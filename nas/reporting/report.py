"""Writes the report of a study into a folder: page, Markdown, tables, rules, figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

from plotly.offline import get_plotlyjs

from nas.errors import StudyError, unknown_name
from nas.files.whole import write_text
from nas.progress import Progress, silent
from nas.reporting.document import Document
from nas.reporting.files import begin_report, write_figure_tables, write_pareto_csv
from nas.reporting.html import PLOTLY_FILE, render_html
from nas.reporting.latex import render_latex
from nas.reporting.markdown import render_markdown
from nas.reporting.rules_file import write_rules
from nas.reporting.stills import pictures_of
from nas.reporting.story import tell
from nas.reporting.study_data import StudyData
from nas.reporting.summary import write_summary

FORMATS: tuple[str, ...] = ("html", "md", "csv", "rules", "latex", "png", "svg", "pdf", "slide")
"""What can be written; `png` and `svg` are stills and need kaleido and a Chromium, as do the summary and its slide."""

DEFAULT_FORMATS: tuple[str, ...] = ("html", "md", "csv", "rules", "png")
"""What is written where nothing is asked for: pictures for the Markdown only where they can be drawn."""


def write_report(
    data: StudyData,
    folder: Path,
    formats: Iterable[str] | None = None,
    *,
    plotlyjs: str = "inline",
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Writes the report of a study, finished or not.

    Args:
        folder: where to write; made when missing, files of an earlier report are replaced.
        formats: which of `FORMATS`; None: `DEFAULT_FORMATS`, the pictures where a browser is here to draw them.
        plotlyjs: `inline` (one file) or `directory` (plotly.min.js beside the page).

    Returns:
        format -> file (`figures` -> folder).

    Raises:
        StudyError: for an unknown format, a wanted still that cannot be drawn, or a folder that holds files of these
            names that are of no report.
    """
    wanted = _checked(DEFAULT_FORMATS if formats is None else formats)
    begin_report(folder)
    tell_progress = progress or silent
    document = tell(data)
    written: dict[str, Path] = {"figures": folder / "figures"}
    write_figure_tables(document.figures, folder / "figures")
    stills = [fmt for fmt in wanted if fmt in ("png", "svg")]
    files = [fmt for fmt in wanted if fmt not in stills]

    def drawn(done: int, total: int, what: str = "") -> None:
        tell_progress(done, total + len(files), what)

    pictures = pictures_of(document.figures, folder, stills, drawn, needed=formats is not None)
    written |= dict.fromkeys(stills if pictures else (), folder / "figures")
    steps: dict[str, Callable[[], Path]] = {
        "html": lambda: _write_page(document, folder, plotlyjs, pictures),
        "md": lambda: write_text(folder / "report.md", render_markdown(document, pictures)),
        "csv": lambda: write_pareto_csv(data, folder / "pareto.csv"),
        "rules": lambda: write_rules(data, folder / "rules.yaml"),
        "pdf": lambda: write_summary(data, folder / "summary.pdf"),
        "slide": lambda: write_summary(data, folder / "summary.png"),
        "latex": lambda: write_text(folder / "tables.tex", render_latex(data)),
    }
    before = len(pictures) * len(stills)
    for done, fmt in enumerate(files, start=before + 1):
        written[fmt] = steps[fmt]()
        tell_progress(done, before + len(files), str(written[fmt].name))
    return written


def _checked(formats: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(formats))
    for fmt in wanted:
        if fmt not in FORMATS:
            raise StudyError(unknown_name("report format", fmt, FORMATS))
    return wanted


def _write_page(document: Document, folder: Path, plotlyjs: str, pictures: Mapping[str, PurePosixPath]) -> Path:
    if plotlyjs not in ("inline", "directory"):
        raise StudyError(unknown_name("way to include plotly.js", plotlyjs, ("inline", "directory")))
    if plotlyjs == "directory":
        write_text(folder / PLOTLY_FILE, get_plotlyjs())
    return write_text(folder / "report.html", render_html(document, plotlyjs=plotlyjs, pictures=pictures))
