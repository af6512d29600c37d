"""A figure of the registry as a block of the report."""

from __future__ import annotations

from nas.reporting.document import FigureBlock
from nas.reporting.figures import FIGURES, StudyFigure
from nas.reporting.study_data import StudyData


def figure_block(
    figure: str | StudyFigure, data: StudyData, name: str | None = None, title: str | None = None
) -> FigureBlock:
    """The figure drawn from the study; `name` and `title` tell two of a kind apart."""
    drawer = FIGURES[figure]() if isinstance(figure, str) else figure
    table = drawer.table(data)
    drawing = drawer.draw(table)
    caption = drawer.caption(table) if not isinstance(drawing, str) else ""
    return FigureBlock(name or drawer.name, title or drawer.title, drawing, caption, table)
